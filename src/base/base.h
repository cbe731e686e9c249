/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. base: what every other module stands on: status and error text, log, labelled
 * memory, counter-based randomness, phase timers. Configuration has its own header, config.h.
 *
 * Every function here is local: none communicates. Nothing here knows MPI or HDF5.
 *
 *     int status = do_something();             functions return LJ_OK or a negative LJ_ERR_*
 *     return lj_fail(LJ_ERR_DATA, "...")       where the reason is known, once
 *     LJ_TRY(call)                             where it is only passed on
 */
#ifndef LEJEPA_BASE_BASE_H
#define LEJEPA_BASE_BASE_H

#include "lejepa/base.h"

#include <stdarg.h>

/* One alphabet of sizes, used everywhere and never for anything else:
 *   B samples of the global batch   G lanes            n samples of one lane (B / G)
 *   V views   T tokens   C width    H W image height and width
 *   D projection width   M slices   K useful knots     P ranks
 * rank and size are the MPI values only. */

/* ---- status ------------------------------------------------------------------------------ */

/* Stores the reason of a failure in this thread's error record and returns status. Local;
 * thread-safe.
 *   status  in  a negative LJ_ERR_*, returned as it is
 *   format  in  what failed, where, what was expected and found, and what to do; no newline, no
 *               "error:"; may quote lj_error_text(); cut off after 2047 bytes */
int lj_fail(int status, const char *format, ...) LJ_PRINTF(2, 3);

/* Sets this thread's error record to a copy of text. A thread that waited for another one calls it,
 * to take over the text of that other thread's failure. Local. */
void lj_error_set(const char *text);

/* Returns from the calling function if the call fails; the failure's text stays as it is. */
#define LJ_TRY(call)                \
    do {                            \
        int lj_try_status = (call); \
        if (lj_try_status != LJ_OK) \
            return lj_try_status;   \
    } while (0)

/* Ends the job with exit code 70 unless the condition holds: for invariants, whose breaking is an
 * error of the program and never of the user. The rest is a format and its arguments. */
#define LJ_CHECK(condition, ...)                        \
    do {                                                \
        if (!(condition))                               \
            lj_broken(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)
/* What LJ_CHECK calls: prints the message, calls the abort hook, exits with 70. */
_Noreturn void lj_broken(const char *file, int line, const char *format, ...) LJ_PRINTF(3, 4);
/* The hook ends the other processes of the job too, by MPI_Abort; comm installs it. */
void lj_set_abort_hook(void (*hook)(int exit_code));

/* Fault injection for tests: the environment variable LJ_FAULT=point:rank:step makes the named
 * point fail on that rank at that step; with LJ_FAULT=point:rank:step:stall the process sleeps
 * there for ever. Local.
 *   point  in  name of the place in the code
 *   step   in  the step being worked on; -1 where there is none
 * Errors: LJ_ERR_RESOURCE if the fault is asked for here; its text says that LJ_FAULT is set. */
int lj_fault(const char *point, int64_t step);
/* The same for a place that is slow and healthy: LJ_FAULT=point:rank:step:slow makes it sleep for
 * half a second. */
void lj_fault_slow(const char *point, int64_t step);
/* The same for a place where a library may crash: LJ_FAULT=point:rank:step:crash raises SIGSEGV. */
void lj_fault_crash(const char *point, int64_t step);
/* The rank that lj_fault compares with; 0 until it is set. */
void lj_fault_set_rank(int rank);

/* ---- log --------------------------------------------------------------------------------- */

/* Messages go to standard error and, once it is open, to log.txt; from the speaking process only
 * (lj_log_set_speaker). One call prints one line; no newline in format. Local. */
void lj_say(const char *format, ...) LJ_PRINTF(1, 2);
/* The same with "lejepa_mpi: warning: " in front. */
void lj_warn(const char *format, ...) LJ_PRINTF(1, 2);
/* A line into log.txt only, not to standard error: for what a progress bar already shows there. */
void lj_log_only(const char *format, ...) LJ_PRINTF(1, 2);
/* For one of several runs at once: lines on standard error begin with [name], and what lj_say says
 * goes to log.txt only, once it is open. "": the run is the only one. */
void lj_log_set_run(const char *name);
/* Does the name end so? */
bool lj_ends_with(const char *name, const char *end);
/* Is it one of the names? names ends with NULL. */
bool lj_is_one_of(const char *name, const char *const *names);
/* Reads numbers separated by commas, such as "0.5,1,2".
 *   values  out  (most)
 * Returns how many they are; -1: they are none, not finite, more than `most`, or it is another
 * text. */
int lj_read_numbers(const char *text, int most, double *values);
/* "1h05m" or "3m20s", for what is left of a run. */
void lj_duration_text(char text[32], double seconds);
/* A bar of 24 characters, of which a share from 0 to 1 is filled. */
void lj_bar_text(char bar[32], double share);
/* Opens log.txt, to append to it; closes the one opened before.
 * Errors: LJ_ERR_RESOURCE: path cannot be opened. */
int lj_log_open(const char *path) LJ_MUST_USE;
/* Closes it; nothing if none is open. */
void lj_log_close(void);

/* ---- memory ------------------------------------------------------------------------------ */

/* Allocates zeroed memory at a 64-byte boundary and counts it under a label. Local; thread-safe.
 *   bytes  in  0 gives a valid pointer, too
 *   label  in  borrowed for good: a string literal
 * Returns memory that the caller owns and frees by lj_free; or NULL, with a text for
 * LJ_ERR_RESOURCE in the error record. */
void *lj_alloc(size_t bytes, const char *label);
/* Frees what lj_alloc or lj_alloc_array returned; accepts NULL. Thread-safe. */
void lj_free(void *block);

/* lj_alloc of count * size bytes. A negative count or a product that overflows fails as
 * exhausted memory does. */
void *lj_alloc_array(int64_t count, size_t size, const char *label);

/* Memory allocated under one label. */
struct lj_memory_use {
    const char *label; /* as given to lj_alloc */
    size_t bytes;      /* allocated and not yet freed */
    size_t peak_bytes; /* the largest `bytes` so far */
    int64_t blocks;    /* allocations not yet freed */
};
/* Memory by label. Local; thread-safe.
 *   use  out  (capacity) in the order in which the labels were first used
 * Returns the number of labels, which may be larger than capacity. */
int lj_memory_report(struct lj_memory_use *use, int capacity);
/* The most bytes that were allocated at once, over all labels. */
size_t lj_memory_peak(void);
/* The peaks become what is allocated now: another run begins. Local; thread-safe. */
void lj_memory_reset_peaks(void);
/* Calls of lj_alloc so far. The number does not change while steps are trained. */
int64_t lj_memory_calls(void);

/* ---- randomness -------------------------------------------------------------------------- */

/* Random numbers come from philox4x64 (Salmon et al. 2011). Its key is (seed, purpose), its counter
 * says what the number is for; rank and time never enter. The purposes, and the three numbers a, b,
 * c that name a stream of each: */
enum lj_purpose {
    LJ_DRAW_INIT = 1,  /* parameter, chunk of 4096 elements, 0: initial weights */
    LJ_DRAW_SLICES,    /* step, 0, 0: directions of SIGReg */
    LJ_DRAW_ORDER,     /* epoch, which order: a use of lj_permute */
    LJ_DRAW_VIEW,      /* epoch, sample, view */
    LJ_DRAW_DROP_PATH, /* step, place in the global batch, view and layer in one number */
    LJ_DRAW_TEST,      /* tests and benchmarks */
    LJ_DRAW_HOLDOUT,   /* group of rows of an archive, its size, 0: the row held out; seed 0 */
    LJ_DRAW_LABELS,    /* draw, class: the order in which a probe gets to know its rows */
    LJ_DRAW_BOOTSTRAP, /* draw, 0, 0: test rows with replacement */
};

/* A stream at some position. Owned by the caller; one thread at a time. */
struct lj_rng {
    uint64_t key[2];     /* seed, purpose */
    uint64_t counter[4]; /* a, b, c, and the number of philox calls so far */
    uint64_t block[4];   /* output of the last philox call */
    int used;            /* how many of `block` were handed out */
};

/* Goes to the beginning of the stream named by (seed, purpose; a, b, c). Equal names give equal
 * numbers, on any rank and thread. Local. */
void lj_rng_begin(struct lj_rng *rng, int64_t seed, enum lj_purpose purpose, uint64_t a, uint64_t b,
                  uint64_t c);
/* The next 64 random bits. Each of the four functions below takes one such draw
 * (lj_rng_below more, rarely). */
uint64_t lj_rng_bits(struct lj_rng *rng);
/* Uniform in [0, 1), 53 bits. */
double lj_rng_uniform(struct lj_rng *rng);
/* Uniform in [low, high). */
double lj_rng_between(struct lj_rng *rng, double low, double high);
/* Uniform in 0 .. n-1, without bias; n >= 1. */
int64_t lj_rng_below(struct lj_rng *rng, int64_t n);
/* True with this probability. */
bool lj_rng_chance(struct lj_rng *rng, double probability);

/* A pseudo-random order of 0 .. n-1 (a bijection), named by (seed, purpose; a, b):
 * returns the number at position i of it, 0 <= i < n. Local; needs no table. Cost: about
 * 4 to 16 philox calls. */
int64_t lj_permute(int64_t seed, enum lj_purpose purpose, uint64_t a, uint64_t b, int64_t n,
                   int64_t i);

/* ---- state ------------------------------------------------------------------------------- */

/* An array that an objective carries from step to step, and a checkpoint from run to run. */
struct lj_state_array {
    const char *name, *description; /* in checkpoints */
    int64_t count;
    float *values; /* (count) */
};
/* The most arrays of an objective. */
enum { LJ_STATE_ARRAYS_MAX = 4 };

/* ---- fixed point ------------------------------------------------------------------------- */

/* Rounds one of `addends` numbers once to 64-bit fixed point: returns the integer nearest to
 * value * 2^32. Sums of such integers do not depend on their order. A value that is not finite, or
 * not below 2^30 / addends (at most 2^29) in magnitude, so that the sum might overflow, gives 0 and
 * adds 1 to *nonfinite. Local. */
int64_t lj_to_fixed(int64_t addends, double value, int64_t *nonfinite);
/* The value of a fixed-point number, rounded to double. */
static inline double lj_from_fixed(int64_t value)
{
    return (double)value * 0x1p-32;
}

/* ---- phases ------------------------------------------------------------------------------ */

/* What a rank's main thread spends its time on. Exactly one phase is running at any time:
 * lj_phase_begin interrupts the phase that was running, lj_phase_end goes on with it. */
enum lj_phase {
    LJ_PHASE_SETUP,
    LJ_PHASE_WAIT_DATA,
    LJ_PHASE_VIEWS,
    LJ_PHASE_FORWARD,
    LJ_PHASE_PROJECTOR,
    LJ_PHASE_LOSS,
    LJ_PHASE_SMALL_ALLREDUCE,
    LJ_PHASE_BACKWARD,
    LJ_PHASE_GRADIENT_COMM,
    LJ_PHASE_OPTIMISER,
    LJ_PHASE_WEIGHT_COMM,
    LJ_PHASE_EVALUATION,
    LJ_PHASE_CHECKPOINT,
    LJ_PHASE_OTHER,
    LJ_PHASE_COUNT
};
/* Seconds of the monotonic clock. From any thread. */
double lj_now_s(void);
/* Begins a phase, inside the running one. Main thread only; at most 15 levels deep. */
void lj_phase_begin(enum lj_phase phase);
/* Ends the phase begun last and goes on with the one around it. Main thread only. */
void lj_phase_end(void);
/* The running phase. From any thread. */
enum lj_phase lj_phase_current(void);
/* Seconds of a phase so far, up to the last change of phase. Main thread only. */
double lj_phase_seconds(enum lj_phase phase);
/* Its name in tables and messages; a string literal. */
const char *lj_phase_name(enum lj_phase phase);
/* Sets the seconds of all phases to zero, also of the running one. Main thread only. */
void lj_phase_reset(void);

/* ---- trace ------------------------------------------------------------------------------- */

/* What this rank did when, for run.trace: spans of the main thread and of messages under way. Spans
 * of one track follow or contain each other, and never overlap otherwise. */
enum lj_track {
    LJ_TRACK_PHASES,        /* of the main thread, one inside the other, inside their step */
    LJ_TRACK_COLLECTIVES,   /* small ones */
    LJ_TRACK_GRADIENT_ONE,  /* a bucket under way, and */
    LJ_TRACK_GRADIENT_NEXT, /* the other one that may be */
    LJ_TRACK_WEIGHTS,
    LJ_TRACK_COUNT
};
struct lj_span {
    double begin_s, end_s; /* by lj_now_s */
    int64_t step;          /* that was running at its end; -1: before the first or after the last */
    int64_t bytes;         /* that this rank put in */
    int32_t track;         /* enum lj_track */
    char name[28];
};
/* What is recorded. */
struct lj_trace {
    struct lj_span *event; /* (count) in the order of their ends; NULL: nothing is recorded */
    int64_t count;
    int64_t every;    /* of so many steps one is recorded, beginning with the first; a power of 2 */
    int64_t left_out; /* spans of recorded steps that there was no room for */
};
/* Begins to record at most so many spans; before, nothing is. When they are full, every other step
 * is forgotten. Local; main thread, as all of these. Errors: LJ_ERR_RESOURCE. */
int lj_trace_start(int64_t events) LJ_MUST_USE;
/* Forgets all and ends recording; nothing if there is none. */
void lj_trace_stop(void);
/* A step begins, which ends the one before; -1: none begins. */
void lj_trace_step(int64_t step);
/* Records a span, unless nothing is recorded of this step. Cost: some 50 ns.
 *   name   in  copied; at most 27 bytes
 *   bytes  in  0 where there is nothing to count */
void lj_trace_add(enum lj_track track, const char *name, double begin_s, double end_s,
                  int64_t bytes);
/* Forgets all but one of so many steps, a power of two, not below that of lj_trace_recorded. */
void lj_trace_thin(int64_t every);
/* Owned by the recorder. */
const struct lj_trace *lj_trace_recorded(void);

/* ---- progress ---------------------------------------------------------------------------- */

/* Notes that work went on: a lane, a bucket, a chunk. Long loops call it, so that the watchdog can
 * tell a slow rank from a stuck one. Local; from any thread. Cost: one look at the clock, and the
 * hook. */
void lj_progress(void);
/* The calling thread begins (ends) work that goes on beside the main thread's, as the writing of a
 * checkpoint does. Its lj_progress counts for this work alone and calls no hook, so that neither
 * hides that the other stands still. One such thread at a time. */
void lj_progress_beside(bool begins);
/* The time of its last lj_progress by lj_now_s; 0: there is no such work. From any thread. */
double lj_progress_beside_s(void);
/* The main thread begins (ends) to wait for other ranks, whose work it cannot see. For comm. */
void lj_progress_wait(bool begins);
/* Says how many pieces of work (lanes, tiles), at least 1, another rank may do one after the other
 * before it meets the ranks that wait for it. Returns what was said before; 1 at the start. Main
 * thread. */
int64_t lj_progress_set_turns(int64_t turns);
/* That number while the main thread waits, 0 while it works. From any thread. */
int64_t lj_progress_turns(void);
/* The time of the last lj_progress by lj_now_s; 0: there was none. From any thread. */
double lj_progress_s(void);
/* Sets a function that each lj_progress calls, on its caller's thread; NULL: none. For comm. */
void lj_set_progress_hook(void (*hook)(void));

/* ---- threads ----------------------------------------------------------------------------- */

/* Sets the number of OpenMP threads of this process. Local.
 *   wanted   in   how many; 0: OMP_NUM_THREADS if it is set, else 1
 *   threads  out  how many it is
 * Errors: LJ_ERR_CONFIG when the process is bound to fewer processing units than threads and
 * LJ_OVERSUBSCRIBE is not in the environment; the text says which options of mpirun help. */
int lj_threads_use(int64_t wanted, int *threads) LJ_MUST_USE;
/* The processing units (hardware threads) this process may run on. Local.
 *   text  out  (capacity) a list like "0-3,8"; "?" where the system does not tell
 * Returns their number; 0 where the system does not tell. */
int lj_threads_binding(char *text, size_t capacity);

/* ---- HDF5 lock --------------------------------------------------------------------------- */

/* The one lock of this process around every HDF5 call of the program, because Debian's parallel
 * HDF5 is not thread-safe. Threads have it in the order in which they asked. It guards calls only:
 * whoever opens a file also silences HDF5's error stack (H5Eset_auto2) and turns failures into our
 * own messages. Not recursive. */
void lj_hdf5_lock(void);
void lj_hdf5_unlock(void);

/* What HDF5 is at, for a process that outlives this one: HDF5 may crash on a damaged file. */
struct lj_hdf5_note {
    bool inside;     /* the lock is held */
    char file[4096]; /* path of the file last looked at; "": none so far */
};
/* From now on the note says it. Local; before other threads exist.
 *   note  in  memory shared with that process, borrowed; NULL: nobody asks */
void lj_hdf5_note_in(struct lj_hdf5_note *note);
/* HDF5 looks at this file next. Local; under the lock. */
void lj_hdf5_looks_at(const char *path);

/* ---- checked sizes ----------------------------------------------------------------------- */

/* Sum and product of sizes that a file names, none of them negative. False, and *result as it was,
 * if the result does not fit. */
static inline bool lj_add_sizes(int64_t a, int64_t b, int64_t *result)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *result = sum;
    return true;
}
static inline bool lj_multiply_sizes(int64_t a, int64_t b, int64_t *result)
{
    int64_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *result = product;
    return true;
}

/* ---- small helpers ----------------------------------------------------------------------- */

static inline int64_t lj_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t lj_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
/* For qsort. */
static inline int lj_ascending_f64(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
/* The smallest multiple of `multiple` that is not below value; value >= 0, multiple >= 1. */
static inline int64_t lj_round_up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}
/* The i-th of `count` indices spaced evenly over 0 .. of-1, count <= of: floor(i of / count). */
static inline int64_t lj_evenly(int64_t i, int64_t count, int64_t of)
{
    return of / count * i + of % count * i / count;
}

#endif
