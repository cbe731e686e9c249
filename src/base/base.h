/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. base: what every other module stands on: status and error text, log, labelled memory,
 * counter-based randomness, phase timers. Configuration has its own header, config.h.
 *
 * Nothing here communicates; every function is local. Nothing here knows MPI or HDF5.
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

/* ---- status ------------------------------------------------------------------------------- */

/* Records the reason of a failure in this thread's error record and returns status.
 * The text says what, where, expected and found, and what to do; no newline, no "error:". */
int lj_fail(int status, const char *format, ...) LJ_PRINTF(2, 3);

/* Moves a text from one thread's record to another's: the reader calls it with a copy. */
void lj_error_set(const char *text);

#define LJ_TRY(call)                \
    do {                            \
        int lj_try_status = (call); \
        if (lj_try_status != LJ_OK) \
            return lj_try_status;   \
    } while (0)

/* A broken invariant ends the job with 70: a message, then the abort hook that comm installs. */
#define LJ_CHECK(condition, ...)                        \
    do {                                                \
        if (!(condition))                               \
            lj_broken(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)
_Noreturn void lj_broken(const char *file, int line, const char *format, ...) LJ_PRINTF(3, 4);
void lj_set_abort_hook(void (*hook)(int exit_code));

/* Fault injection for tests: the environment variable LJ_FAULT=point:rank:step makes the named
 * point fail on that rank at that step; LJ_FAULT=point:rank:step:stall makes it stand still there for
 * good. Returns LJ_OK, or the failure with a text that says so.
 *   step  the step being worked on; -1 where there is none */
int lj_fault(const char *point, int64_t step);
void lj_fault_set_rank(int rank);

/* ---- log ---------------------------------------------------------------------------------- */

/* Messages go to standard error and, once opened, to log.txt; from the speaking process only
 * (comm makes rank 0 the speaker). One call, one line; no newline in format. */
void lj_say(const char *format, ...) LJ_PRINTF(1, 2);
void lj_warn(const char *format, ...) LJ_PRINTF(1, 2);
/* The same into log.txt alone: what a terminal shows otherwise. */
void lj_log_only(const char *format, ...) LJ_PRINTF(1, 2);
int lj_log_open(const char *path) LJ_MUST_USE; /* appends */
void lj_log_close(void);

/* ---- memory ------------------------------------------------------------------------------- */

/* 64-byte aligned zeroed memory, accounted under label (a string that outlives it). Thread-safe.
 * Returns NULL and records LJ_ERR_RESOURCE's text if there is none; 0 bytes give a valid pointer. */
void *lj_alloc(size_t bytes, const char *label);
void lj_free(void *block); /* accepts NULL */

/* count * size with overflow checked: an impossible product fails like exhausted memory. */
void *lj_alloc_array(int64_t count, size_t size, const char *label);

struct lj_memory_use {
    const char *label;
    size_t bytes; /* open now */
    size_t peak_bytes;
    int64_t blocks; /* open now */
};
/* Open and peak bytes per label. Returns the number of labels; writes at most capacity of them. */
int lj_memory_report(struct lj_memory_use *use, int capacity);
/* The most bytes that were open at once. */
size_t lj_memory_peak(void);
/* Number of lj_alloc calls so far: constant while training. */
int64_t lj_memory_calls(void);

/* ---- randomness --------------------------------------------------------------------------- */

/* Everything random is philox4x64 keyed by (seed, purpose) and counted by what it is for, never by
 * rank or time (Salmon et al. 2011). The purposes: */
enum lj_purpose {
    LJ_DRAW_INIT = 1,  /* (parameter, block, 0): initial weights */
    LJ_DRAW_SLICES,    /* (step, 0, 0) */
    LJ_DRAW_ORDER,     /* (epoch, what, index): order of samples */
    LJ_DRAW_VIEW,      /* (epoch, sample, view) */
    LJ_DRAW_DROP_PATH, /* (step, place in the batch, view and layer) */
    LJ_DRAW_TEST,      /* tests and benchmarks */
};

struct lj_rng {
    uint64_t key[2];
    uint64_t counter[4]; /* counter[3] counts the draws of four */
    uint64_t block[4];
    int used; /* of block */
};

/* A stream named by (seed, purpose; a, b, c); equal names give equal numbers, anywhere. */
void lj_rng_begin(struct lj_rng *rng, int64_t seed, enum lj_purpose purpose, uint64_t a, uint64_t b,
                  uint64_t c);
uint64_t lj_rng_bits(struct lj_rng *rng);
double lj_rng_uniform(struct lj_rng *rng); /* [0, 1), 53 bits */
double lj_rng_between(struct lj_rng *rng, double low, double high);
int64_t lj_rng_below(struct lj_rng *rng, int64_t n); /* 0 .. n-1, n >= 1, unbiased */
bool lj_rng_chance(struct lj_rng *rng, double probability);

/* Keyed bijection of 0 .. n-1 (Feistel network, cycle walking): position i of the order named by
 * (seed, purpose; a, b). No table. Cost: a few philox blocks. */
int64_t lj_permute(int64_t seed, enum lj_purpose purpose, uint64_t a, uint64_t b, int64_t n,
                   int64_t i);

/* ---- fixed point ---------------------------------------------------------------------------- */

/* A float32 or double sum rounded once to 64-bit fixed point at 2^-32; sums of such integers do not
 * depend on their order. What is not finite, or not below 2^29 in magnitude, contributes 0 and adds 1
 * to *nonfinite; it is never converted. */
int64_t lj_to_fixed(double value, int64_t *nonfinite);
/* The same for one of `addends` numbers whose sum must not wrap: the limit is 2^30 / addends, at most
 * 2^29. */
int64_t lj_to_fixed_of(int64_t addends, double value, int64_t *nonfinite);
static inline double lj_from_fixed(int64_t value)
{
    return (double)value * 0x1p-32;
}

/* ---- phases ------------------------------------------------------------------------------- */

/* Where a rank's time goes. Phases of the main thread exclude each other: begin stops the phase
 * that was running, end resumes it. */
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
double lj_now_s(void); /* monotonic clock */
void lj_phase_begin(enum lj_phase phase);
void lj_phase_end(void);
enum lj_phase lj_phase_current(void);
double lj_phase_seconds(enum lj_phase phase);
const char *lj_phase_name(enum lj_phase phase);
void lj_phase_reset(void); /* all seconds to zero; the running phase starts anew */

/* ---- progress ----------------------------------------------------------------------------- */

/* Something got done: long loops say so, so that a watchdog tells work from standing still. Costs a look
 * at the clock. Local; from any thread. */
void lj_progress(void);
/* When that was last, by lj_now_s; 0: never. From any thread. */
double lj_progress_s(void);
/* Also called at each lj_progress, by the thread that calls it; NULL: nothing. For comm. */
void lj_set_progress_hook(void (*hook)(void));

/* ---- threads --------------------------------------------------------------------------------- */

/* Sets the number of OpenMP threads of this process: wanted, or with 0 what OMP_NUM_THREADS says, else
 * 1. Errors: LJ_ERR_CONFIG when the process is bound to fewer processing units than that, unless the
 * environment has LJ_OVERSUBSCRIBE; the text says which flags of mpirun help.
 *   threads  out */
int lj_threads_use(int64_t wanted, int *threads) LJ_MUST_USE;
/* The processing units this process is bound to, as a list like "0-3,8"; returns their number. */
int lj_threads_binding(char *text, size_t capacity);

/* ---- HDF5 lock ----------------------------------------------------------------------------------- */

/* The one process-wide lock around every HDF5 call of the program: Debian's parallel HDF5 is not
 * thread-safe. Knows nothing of HDF5 itself; whoever opens a file silences HDF5's error stack
 * (H5Eset_auto2) and turns failures into our own messages. Not recursive. */
void lj_hdf5_lock(void);
void lj_hdf5_unlock(void);

/* ---- small helpers ------------------------------------------------------------------------ */

static inline int64_t lj_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t lj_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
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
