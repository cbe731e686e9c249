/* SPDX-License-Identifier: Apache-2.0 */
/* run.trace: an object of JSON in the Trace Event Format, with complete events ("ph": "X") and
 * names of processes and threads ("ph": "M"). A rank is a process there, a track one of its
 * threads. Times are microseconds of rank 0's clock, rounded to nanoseconds at both ends of a span,
 * so that spans inside others stay inside. */
#include "run/trace.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Spans of all ranks together, of about 110 bytes each in the file; a rank has room for at least so
 * many, whatever their number, and at most for so many. */
enum { SPANS_TOTAL = 1 << 18, SPANS_LEAST = 256, SPANS_MOST = 1 << 16 };
enum { PIECE = 4096 };     /* spans that travel to rank 0 at once */
enum { AGAIN_MOST = 999 }; /* traces of runs that continue from the same checkpoint */

/* What rank 0 must know of a rank before it receives its spans. All doubles, to be gathered. */
struct share {
    double count, left_out;
    struct lj_clock begin, end;
};
enum { SHARE_NUMBERS = (int)(sizeof(struct share) / sizeof(double)) };

/* LJ_TRACE_SPANS is for the tests. */
static int64_t capacity_of(int size)
{
    const char *lower = getenv("LJ_TRACE_SPANS");
    if (lower)
        return lj_max_i64(strtoll(lower, NULL, 10), 1);
    return lj_min_i64(lj_max_i64(SPANS_TOTAL / size, SPANS_LEAST), SPANS_MOST);
}

/* ---- begin ------------------------------------------------------------------------------- */

/* The name of the file before its ending and the ending, if it has one. */
static void cut_ending(const char *path, int *stem, const char **ending)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    bool has = dot && dot > path && dot > (slash ? slash + 1 : path);
    *ending = has ? dot : path + strlen(path);
    *stem = (int)(*ending - path);
}

/* Puts the name of the checkpoint that the run continues from into that of its trace, and a number
 * if it has continued from there before. */
static int name_by_checkpoint(char path[LJ_PATH_MAX], const struct lj_config *config)
{
    char directory[LJ_PATH_MAX], last[LJ_PATH_MAX] = "";
    const char *ending;
    int stem = 0, of_step = 0;
    if (!config->run_dir[0])
        return LJ_OK;
    LJ_TRY(lj_checkpoint_directory(config->run_dir, directory));
    LJ_TRY(lj_checkpoint_last(directory, last));
    if (!last[0])
        return LJ_OK;
    const char *name = strrchr(last, '/') + 1;
    cut_ending(name, &of_step, &ending);
    cut_ending(config->run_trace, &stem, &ending);
    snprintf(path, LJ_PATH_MAX, "%.*s-%.*s%s", stem, config->run_trace, of_step, name, ending);
    for (int k = 2; access(path, F_OK) == 0 && k <= AGAIN_MOST; k++)
        snprintf(path, LJ_PATH_MAX, "%.*s-%.*s-%d%s", stem, config->run_trace, of_step, name, k,
                 ending);
    return LJ_OK;
}

static int check_name(const char *path)
{
    char directory[LJ_PATH_MAX + 1];
    snprintf(directory, LJ_PATH_MAX, "%s", path);
    char *slash = strrchr(directory, '/');
    snprintf(slash ? slash + 1 : directory, 2, ".");
    if (access(path, F_OK) == 0)
        return lj_fail(LJ_ERR_CONFIG, "run.trace: %s exists; name a file that does not", path);
    if (access(directory, W_OK | X_OK) != 0)
        return lj_fail(LJ_ERR_CONFIG, "run.trace: %s cannot be made in %s: %s", path, directory,
                       strerror(errno));
    return LJ_OK;
}

static struct lj_clock compare_clock(struct lj_comm *comm)
{
    struct lj_clock clock;
    lj_clock_offset(comm, &clock.offset_s, &clock.error_s);
    clock.at_s = lj_now_s();
    return clock;
}

static int choose_name(char path[LJ_PATH_MAX], const struct lj_config *config)
{
    snprintf(path, LJ_PATH_MAX, "%s", config->run_trace);
    if (access(path, F_OK) == 0)
        LJ_TRY(name_by_checkpoint(path, config));
    return check_name(path);
}

int lj_run_trace_begin(struct lj_run_trace *trace, struct lj_comm *comm,
                       const struct lj_config *config)
{
    if (!config->run_trace[0])
        return LJ_OK;
    LJ_TRY(lj_agree(comm, lj_comm_is_root(comm) ? choose_name(trace->path, config) : LJ_OK));
    trace->begin = compare_clock(comm);
    int status = lj_agree(comm, lj_trace_start(capacity_of(comm->size)));
    if (status != LJ_OK)
        lj_trace_stop();
    return status;
}

/* ---- writing, rank 0 --------------------------------------------------------------------- */

/* A time of a rank's clock in nanoseconds of rank 0's after `origin`. Between two comparisons the
 * clocks drift evenly. */
static long long nanoseconds(const struct share *share, double at_s, double origin_s)
{
    double span = share->end.at_s - share->begin.at_s;
    double part = span > 0 ? (at_s - share->begin.at_s) / span : 0;
    double offset = share->begin.offset_s + part * (share->end.offset_s - share->begin.offset_s);
    return llround((at_s - offset - origin_s) * 1e9);
}

static void put_span(FILE *file, int rank, const struct share *share, const struct lj_span *span,
                     double origin_s)
{
    long long begin = nanoseconds(share, span->begin_s, origin_s);
    long long length = nanoseconds(share, span->end_s, origin_s) - begin;
    fprintf(file,
            ",\n{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"ts\":%lld.%03lld,\"dur\":%lld.%03lld,"
            "\"name\":\"%s\",\"args\":{\"step\":%lld",
            rank, span->track, begin / 1000, begin % 1000, length / 1000, length % 1000, span->name,
            (long long)span->step);
    if (span->track != LJ_TRACK_PHASES)
        fprintf(file, ",\"bytes\":%lld", (long long)span->bytes);
    fprintf(file, "}}");
}

static void put_names(FILE *file, int rank)
{
    static const char *const track[LJ_TRACK_COUNT] = {
        "phases", "communication: small", "communication: gradient",
        "communication: gradient, next bucket", "communication: weights"};
    fprintf(file,
            "%s\n{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":"
            "\"rank %d\"}}",
            rank == 0 ? "" : ",", rank, rank);
    for (int i = 0; i < LJ_TRACK_COUNT; i++)
        fprintf(file,
                ",\n{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\",\"args\":"
                "{\"name\":\"%s\"}}",
                rank, i, track[i]);
}

/* What a reader must know: what was recorded, the bound, and how well clocks were aligned. */
static void put_head(FILE *file, const struct share *share, int size, int64_t every)
{
    double left_out = 0;
    for (int r = 0; r < size; r++)
        left_out += share[r].left_out;
    fprintf(file,
            "{\"displayTimeUnit\":\"ms\",\n\"otherData\":{\"program\":\"lejepa_mpi %s\","
            "\"ranks\":%d,\"steps_recorded\":\"one of %lld\",\"every\":%lld,"
            "\"spans_of_a_rank_at_most\":%lld,\"spans_left_out\":%.0f,\n"
            "\"clock\":\"rank 0's, which began with the run; that of another rank is less "
            "offset_us of its own, measured by messages at begin and end, between them linear\","
            "\n\"clocks\":[",
            LJ_VERSION, size, (long long)every, (long long)every, (long long)capacity_of(size),
            left_out);
    for (int r = 0; r < size; r++)
        fprintf(file, "%s\n{\"rank\":%d,\"offset_us\":[%.3f,%.3f],\"error_us\":[%.3f,%.3f]}",
                r ? "," : "", r, 1e6 * share[r].begin.offset_s, 1e6 * share[r].end.offset_s,
                1e6 * share[r].begin.error_s, 1e6 * share[r].end.error_s);
    fprintf(file, "]},\n\"traceEvents\":[");
    for (int r = 0; r < size; r++)
        put_names(file, r);
}

/* The first moment of any rank. */
static double origin_of(const struct share *share, int size)
{
    double origin = INFINITY;
    for (int r = 0; r < size; r++)
        origin = fmin(origin, share[r].begin.at_s - share[r].begin.offset_s);
    return origin;
}

/* ---- end --------------------------------------------------------------------------------- */

/* What the ranks recorded travels to rank 0, which writes it, if it has a file. Collective. */
static void collect(struct lj_comm *comm, const struct share *share, struct lj_span *piece,
                    FILE *file)
{
    double origin_s = origin_of(share, comm->size);
    for (int r = 0; r < comm->size; r++)
        for (int64_t done = 0; done < (int64_t)share[r].count; done += PIECE) {
            int64_t count = lj_min_i64((int64_t)share[r].count - done, PIECE);
            struct lj_span *mine = lj_trace_recorded()->event + (comm->rank == r ? done : 0);
            struct lj_span *span = comm->rank == r ? mine : piece;
            lj_pass_to_root(comm, r, span, count * (int64_t)sizeof *span);
            for (int64_t i = 0; i < count && file; i++)
                put_span(file, r, &share[r], &span[i], origin_s);
            if (lj_comm_is_root(comm) || comm->rank == r)
                lj_progress();
        }
}

static int close_file(FILE *file, const char *unfinished, const char *path)
{
    fprintf(file, "]}\n");
    bool good = !ferror(file);
    if (fclose(file) == 0 && good && rename(unfinished, path) == 0)
        return LJ_OK;
    int reason = errno;
    unlink(unfinished);
    return lj_fail(LJ_ERR_RESOURCE,
                   "run.trace: %s cannot be written: %s; free space or name "
                   "another place",
                   path, strerror(reason));
}

/* Everything is gathered, even if rank 0 has no file: the others do not know. */
static int write_file(struct lj_comm *comm, const char *path, const struct share *share,
                      struct lj_span *piece, int64_t every)
{
    char unfinished[LJ_PATH_MAX];
    FILE *file = NULL;
    int status = lj_fault("trace", -1);
    snprintf(unfinished, sizeof unfinished, "%.4000s.tmp", path);
    if (lj_comm_is_root(comm) && status == LJ_OK) {
        file = fopen(unfinished, "w");
        if (!file)
            status = lj_fail(LJ_ERR_RESOURCE, "run.trace: %s cannot be made: %s", unfinished,
                             strerror(errno));
    }
    if (file)
        put_head(file, share, comm->size, every);
    collect(comm, share, piece, file);
    if (file)
        status = close_file(file, unfinished, path);
    return lj_agree(comm, status);
}

static void say_written(const char *path, const struct share *share, int size, int64_t every)
{
    double count = 0;
    for (int r = 0; r < size; r++)
        count += share[r].count;
    char steps[64] = "every step";
    if (every > 1)
        snprintf(steps, sizeof steps, "one step of %lld", (long long)every);
    lj_say("trace: %s, %.0f spans of %d rank%s, %s; https://ui.perfetto.dev opens it", path, count,
           size, size == 1 ? "" : "s", steps);
}

int lj_run_trace_write(const struct lj_run_trace *trace, struct lj_comm *comm)
{
    const struct lj_trace *mine = lj_trace_recorded();
    if (!mine->event)
        return LJ_OK;
    lj_trace_step(-1);
    struct share *share = lj_alloc_array(comm->size, sizeof *share, "trace");
    struct lj_span *piece =
        lj_alloc_array(lj_comm_is_root(comm) ? PIECE : 0, sizeof *piece, "trace");
    int status = lj_agree(comm, share && piece ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        int64_t every = lj_all_max(comm, mine->every);
        lj_trace_thin(every);
        struct share here = {.count = (double)mine->count,
                             .left_out = (double)mine->left_out,
                             .begin = trace->begin,
                             .end = compare_clock(comm)};
        lj_all_gather_f64(comm, (const double *)&here, SHARE_NUMBERS, (double *)share);
        status = write_file(comm, trace->path, share, piece, every);
        if (status == LJ_OK)
            say_written(trace->path, share, comm->size, every);
    }
    lj_trace_stop();
    lj_free(piece);
    lj_free(share);
    return status;
}
