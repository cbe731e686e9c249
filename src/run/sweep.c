/* SPDX-License-Identifier: Apache-2.0 */
/* Many runs in one job. Groups of ranks take one run after the other; run.dir/sweep holds of each:
 *
 *     NAME.claim   made by the group that took it in this job: creating a file is what file systems
 *                  let only one of many do, and needs no rank that stands by to be asked
 *     NAME.json    how it ended, for the next job
 *     STOP         made by a group that was asked to stop, for the others
 *
 * An error that all ranks of a group agree on ends its run, and the group goes on. What ends a
 * process (a signal, MPI's failure, an internal error, the watchdog) ends the whole job; the note
 * then still says that the run was begun, and the next job tries it again, but not for ever. */
#include "run/run.h"

#include "run/lock.h"
#include "run/notes.h"
#include "run/signals.h"
#include "run/state.h"

#include "lejepa/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TRIES_MAX = 3 };

/* What a sweep does about a run. */
enum plan { RUNS, IS_DONE, GIVEN_UP };

struct sweep {
    struct lj_comm *group; /* NULL: this rank has no part */
    const struct lj_config *config;
    const struct lj_grid *grid;
    struct lj_config point; /* of the present run */
    struct lj_run_lock lock;
    int64_t *plan; /* (points) enum plan, of this job */
    int64_t *code; /* (points) given; until the end, of the runs of groups that this rank leads */
    double begun_s;
    bool passed_on; /* this rank, waiting for others, has asked them to stop */
};

static const struct lj_lock_times lock_times = {.patience_s = 5, .renew_s = 30, .stale_s = 300};

/* ---- notes ------------------------------------------------------------------------------- */

static void note_path(const struct sweep *s, int k, const char *suffix, char path[LJ_PATH_MAX])
{
    char name[LJ_GRID_NAME_MAX];
    lj_grid_name(s->grid, k, name);
    snprintf(path, LJ_PATH_MAX, "%.3700s/sweep/%s%s", s->config->run_dir, name, suffix);
}

/* Notes on the present run: what it is now, and what the last job wrote. A root's work.
 *   path  out  of the note */
static int look_at_run(struct sweep *s, int k, struct lj_run_note *now, struct lj_run_note *last,
                       char path[LJ_PATH_MAX])
{
    LJ_TRY(lj_grid_config(s->grid, k, &s->point));
    lj_run_note_now(now, &s->point);
    note_path(s, k, ".json", path);
    lj_run_note_read(last, path);
    return LJ_OK;
}

/* ---- what to run ------------------------------------------------------------------------- */

static enum plan plan_of(const struct lj_run_note *now, const struct lj_run_note *last)
{
    if (lj_run_note_finished(now, last))
        return IS_DONE;
    return lj_run_note_failures(now, last) >= TRIES_MAX ? GIVEN_UP : RUNS;
}

static int plan_run(struct sweep *s, int k)
{
    struct lj_run_note now, last;
    char note[LJ_PATH_MAX], path[LJ_PATH_MAX];
    LJ_TRY(look_at_run(s, k, &now, &last, note));
    enum plan plan = plan_of(&now, &last);
    s->plan[k] = plan;
    s->code[k] = plan != GIVEN_UP ? 0 : last.code < 0 ? -LJ_ERR_COMM : last.code;
    LJ_CHECK(plan != GIVEN_UP || s->code[k] != 0, "%s: given up, and good", s->point.run_dir);
    note_path(s, k, ".claim", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be removed: %s", path, strerror(errno));
    if (plan == GIVEN_UP)
        lj_warn("%s has failed %d times and got no further: left out; remove %s to try again",
                s->point.run_dir, last.tries, note);
    lj_progress();
    return LJ_OK;
}

static int plan_all(struct sweep *s)
{
    char path[LJ_PATH_MAX];
    if (!s->config->run_dir[0])
        return lj_fail(LJ_ERR_CONFIG, "sweep: set run.dir, where the runs will be and the same "
                                      "command finds them again");
    snprintf(path, sizeof path, "%.3700s/sweep", s->config->run_dir);
    LJ_TRY(lj_run_make_dirs(path));
    LJ_TRY(lj_run_lock_take(&s->lock, s->config->run_dir, &lock_times));
    lj_stop_sweep_remove(s->config->run_dir);
    for (int k = 0; k < lj_grid_points(s->grid); k++)
        LJ_TRY(plan_run(s, k));
    return LJ_OK;
}

/* ---- the runs of a group ----------------------------------------------------------------- */

/* Is the run this group's? *mine becomes 0 or 1. Root of the group. */
static int claim(const struct sweep *s, int k, int64_t *mine)
{
    char path[LJ_PATH_MAX];
    note_path(s, k, ".claim", path);
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0666);
    *mine = file >= 0;
    if (file < 0 && errno != EEXIST)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be made: %s", path, strerror(errno));
    if (file >= 0)
        close(file);
    return LJ_OK;
}

/* Seconds that the sweep may still take; 0: no limit; below 0: none. */
static double seconds_left(const struct sweep *s)
{
    double limit = s->config->run_max_seconds;
    double left = s->begun_s + limit - lj_now_s();
    return limit == 0 ? 0 : left > 0 ? left : -1;
}

/* A failure stands in the run's log.txt, too. */
static void say_end(const struct sweep *s, int status, const char *error, double seconds)
{
    char duration[32];
    lj_duration_text(duration, seconds);
    if (status != LJ_OK && status != LJ_STOPPED)
        lj_warn("the run failed with code %d after %s, others go on: %s", -status, duration, error);
    lj_log_close();
    if (status == LJ_OK)
        lj_say("finished after %s; %s/log.txt", duration, s->point.run_dir);
}

/* The weights of a run that goes on are not those of init=, but were made from those of the init=
 * that it began with: it must still be the same. */
static int check_init(const struct sweep *s, const struct lj_run_note *now,
                      const struct lj_run_note *last)
{
    if (!now->from[0] || !last->init_known || strcmp(now->init, last->init) == 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "init=%s: the run began with init=%s and has checkpoints; give init= as it was, "
                   "or remove %s to begin anew",
                   now->init, last->init, s->point.run_dir);
}

/* Notes that the run begins. Root of the group.
 *   note     out  to be completed when it has ended
 *   goes_on  out  0 or 1: it continues from weights of its own, and needs no init= */
static int begin_run(struct sweep *s, int k, struct lj_run_note *note, char path[LJ_PATH_MAX],
                     int64_t *goes_on)
{
    struct lj_run_note last;
    LJ_TRY(look_at_run(s, k, note, &last, path));
    int status = check_init(s, note, &last);
    *goes_on = note->from[0] && last.init_known && status == LJ_OK;
    note->tries = lj_run_note_failures(note, &last) + 1;
    if (note->from[0])
        memcpy(note->init, last.init, sizeof note->init);
    lj_run_note_write(note, path, "");
    lj_say("begins, on %d rank%s", s->group->size, s->group->size == 1 ? "" : "s");
    return status;
}

/* Trains with the settings of the present point. Collective over the group. */
static int train(struct sweep *s, int64_t goes_on)
{
    lj_broadcast(s->group, &goes_on, sizeof goes_on, 0);
    if (goes_on)
        s->point.arg_init[0] = 0;
    if (s->config->run_max_seconds > 0)
        s->point.run_max_seconds = fmax(seconds_left(s), 1);
    int status = lj_run_train(s->group, &s->point, s->config->run_dir, NULL);
    lj_progress_set_turns(1);
    return status;
}

/* Makes one run. Returns LJ_STOPPED if it was stopped. Collective over the group. */
static int make_run(struct sweep *s, int k)
{
    struct lj_run_note note;
    char name[LJ_GRID_NAME_MAX], path[LJ_PATH_MAX], error[2048] = "";
    bool root = lj_comm_is_root(s->group);
    int64_t goes_on = 0;
    LJ_TRY(lj_grid_config(s->grid, k, &s->point));
    lj_grid_name(s->grid, k, name);
    lj_log_set_run(name);
    double begun_s = lj_now_s();
    int status = lj_agree(s->group, root ? begin_run(s, k, &note, path, &goes_on) : LJ_OK);
    if (status == LJ_OK)
        status = train(s, goes_on);
    if (status != LJ_OK)
        snprintf(error, sizeof error, "%s", lj_error_text());
    if (root) {
        s->code[k] = note.code = -status;
        note.tries = status == LJ_STOPPED ? 0 : note.tries;
        say_end(s, status, error, lj_now_s() - begun_s);
        lj_run_note_write(&note, path, error);
    }
    lj_log_set_run("");
    return status == LJ_STOPPED ? LJ_STOPPED : LJ_OK;
}

/* Shall this rank's group take no more runs? */
static bool wants_stop(const struct sweep *s)
{
    bool asked = lj_comm_is_root(s->group) && lj_stop_sweep(s->config->run_dir);
    return asked || lj_signals_stop() || seconds_left(s) < 0;
}

/* Takes runs until there are no more. Collective over the group. */
static int make_runs(struct sweep *s)
{
    for (int k = 0; k < lj_grid_points(s->grid); k++) {
        int64_t mine = 0;
        if (s->plan[k] != RUNS)
            continue;
        if (lj_all_max(s->group, wants_stop(s))) {
            if (lj_comm_is_root(s->group))
                lj_stop_sweep_ask(s->config->run_dir);
            return LJ_STOPPED;
        }
        LJ_TRY(lj_agree(s->group, lj_comm_is_root(s->group) ? claim(s, k, &mine) : LJ_OK));
        lj_broadcast(s->group, &mine, sizeof mine, 0);
        if (mine)
            LJ_TRY(make_run(s, k));
    }
    return LJ_OK;
}

/* A rank that has nothing to do may be the one that a signal reaches. */
static void pass_on_stop(void *data)
{
    struct sweep *s = data;
    if (!lj_signals_stop() || s->passed_on)
        return;
    s->passed_on = true;
    lj_stop_sweep_ask(s->config->run_dir);
}

/* ---- the sweep --------------------------------------------------------------------------- */

int lj_sweep_groups(int size, int64_t ranks, int points)
{
    if (ranks > 0)
        return (int)lj_max_i64(size / ranks, 1);
    int groups = size < points ? size : points;
    while (size % groups != 0)
        groups--;
    return groups;
}

static int split(struct sweep *s, struct lj_comm *comm)
{
    int ranks = 0, given = 0;
    LJ_TRY(lj_run_read_ranks("ranks", s->config->arg_ranks, 1, &ranks, &given));
    int points = lj_grid_points(s->grid), groups = lj_sweep_groups(comm->size, ranks, points);
    if (ranks > comm->size)
        return lj_fail(LJ_ERR_CONFIG, "ranks=%d: the job has %d", ranks, comm->size);
    LJ_TRY(lj_comm_groups(comm, groups, ranks > 0 ? ranks : comm->size / groups, &s->group));
    int64_t done = 0;
    for (int k = 0; k < points; k++)
        done += s->plan[k] == IS_DONE;
    lj_say("sweep: %d runs, of which %lld are finished; %d at once, on %d ranks each", points,
           (long long)done, groups, ranks > 0 ? ranks : comm->size / groups);
    if (ranks > 0 && comm->size % ranks != 0)
        lj_warn("ranks=%d does not divide %d ranks: %d of them have nothing to do", ranks,
                comm->size, comm->size % ranks);
    return LJ_OK;
}

/* Collective. */
static int sweep(struct sweep *s, struct lj_comm *comm)
{
    int points = lj_grid_points(s->grid);
    const char *level;
    if (s->config->run_trace[0])
        return lj_fail(LJ_ERR_CONFIG,
                       "run.trace=%s: runs of a sweep would all write it; trace one of them, by "
                       "`train`",
                       s->config->run_trace);
    LJ_TRY(lj_runtime_agree(comm, &level));
    lj_root_section_begin(comm);
    LJ_TRY(lj_root_section_end(comm, lj_comm_is_root(comm) ? plan_all(s) : LJ_OK));
    lj_broadcast(comm, s->plan, points * (int64_t)sizeof *s->plan, 0);
    LJ_TRY(split(s, comm));
    lj_log_set_speaker(s->group && lj_comm_is_root(s->group));
    int status = s->group ? make_runs(s) : LJ_OK;
    lj_comm_destroy(s->group);
    lj_wait_for_all(comm, pass_on_stop, s);
    if (lj_comm_is_root(comm))
        lj_stop_sweep_remove(s->config->run_dir);
    lj_log_set_speaker(lj_comm_is_root(comm));
    lj_sum_exact(comm, NULL, s->code, points);
    status = lj_agree(comm, status);
    if (status != LJ_STOPPED)
        return status;
    return lj_fail(LJ_STOPPED, "stopped on request; resubmit with run.dir=%s to continue the sweep",
                   s->config->run_dir);
}

int lj_sweep(struct lj_comm *comm, const struct lj_config *config, const struct lj_grid *grid,
             int64_t *code)
{
    struct sweep *s = lj_alloc(sizeof *s, "sweep");
    int64_t *plan = lj_alloc_array(lj_grid_points(grid), sizeof *plan, "sweep");
    int status = lj_agree(comm, s && plan ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        s->config = config;
        s->grid = grid;
        s->plan = plan;
        s->code = code;
        s->begun_s = lj_now_s();
        lj_signals_install();
        status = sweep(s, comm);
        lj_signals_restore();
        lj_run_lock_release(&s->lock);
    }
    lj_free(plan);
    lj_free(s);
    return status;
}
