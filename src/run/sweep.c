/* SPDX-License-Identifier: Apache-2.0 */
/* Many runs in one job. Groups of ranks take one run after the other; run.dir/sweep holds of each:
 *
 *     NAME.claim   made by the group that took it in this job: creating a file is what file systems
 *                  let only one of many do, and needs no rank that stands by to be asked
 *     NAME.json    how it ended, for the next job
 *
 * An error that all ranks of a group agree on ends its run, and the group goes on. What ends a
 * process (a signal, MPI's failure, an internal error, the watchdog) ends the whole job; the note
 * then still says that the run was begun, and the next job tries it again, but not for ever. */
#include "run/run.h"

#include "run/lock.h"
#include "run/signals.h"
#include "run/state.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

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
};

static const struct lj_lock_times lock_times = {.patience_s = 5, .renew_s = 30, .stale_s = 300};

/* ---- notes ------------------------------------------------------------------------------- */

static void note_path(const struct sweep *s, int k, const char *suffix, char path[LJ_PATH_MAX])
{
    char name[LJ_GRID_NAME_MAX];
    lj_grid_name(s->grid, k, name);
    snprintf(path, LJ_PATH_MAX, "%.3700s/sweep/%s%s", s->config->run_dir, name, suffix);
}

/* A word for the settings that a run's weights depend on. */
static void settings_text(const struct lj_config *c, char text[32])
{
    char value[LJ_TEXT_MAX];
    int count = 0;
    const struct lj_key *key = lj_config_keys(&count);
    uint64_t hash = 0;
    for (int i = 0; i < count; i++)
        if (key[i].role == LJ_KEY_BITS) {
            lj_config_value_text(c, &key[i], value, sizeof value);
            hash = XXH3_64bits_withSeed(value, strlen(value), hash);
        }
    snprintf(text, 32, "%016llx", (unsigned long long)hash);
}

/* The last checkpoint of the present run; "" if there is none. */
static void last_checkpoint(const struct sweep *s, char path[LJ_PATH_MAX])
{
    char dir[LJ_PATH_MAX];
    if (lj_checkpoint_directory(s->point.run_dir, dir) != LJ_OK ||
        lj_checkpoint_last(dir, path) != LJ_OK)
        path[0] = 0;
}

static bool text_is(const json_t *object, const char *name, const char *text)
{
    const char *there = json_string_value(json_object_get(object, name));
    return there && strcmp(there, text) == 0;
}

/* Tries so far from where the run is now; how the last one ended, LJ_ERR_COMM if the job ended
 * with it. settings, from: what the present run has */
static int tries_so_far(const struct sweep *s, int k, const char *settings, const char *from,
                        int64_t *code)
{
    char path[LJ_PATH_MAX];
    note_path(s, k, ".json", path);
    json_t *note = json_load_file(path, 0, NULL), *ended = json_object_get(note, "code");
    int tries = 0;
    *code = json_is_integer(ended) ? json_integer_value(ended) : -LJ_ERR_COMM;
    if (text_is(note, "settings", settings) && (text_is(note, "from", from) || *code == 0))
        tries = (int)json_integer_value(json_object_get(note, "tries"));
    else
        *code = -LJ_ERR_COMM;
    json_decref(note);
    return tries;
}

/* code: exit code of the run; -1: it has begun */
static void write_note(const struct sweep *s, int k, const char *settings, const char *from,
                       int tries, int64_t code, const char *error)
{
    char path[LJ_PATH_MAX];
    note_path(s, k, ".json", path);
    json_t *note =
        json_pack("{s:s, s:s, s:i, s:o, s:s}", "settings", settings, "from", from, "tries", tries,
                  "code", code < 0 ? json_null() : json_integer(code), "error", error);
    if (!note || json_dump_file(note, path, JSON_INDENT(1)) != 0)
        lj_warn("%s: cannot be written: %s; the next job may repeat this run", path,
                strerror(errno));
    json_decref(note);
}

/* ---- what to run ------------------------------------------------------------------------- */

static int plan_run(struct sweep *s, int k)
{
    char settings[32], from[LJ_PATH_MAX], path[LJ_PATH_MAX];
    LJ_TRY(lj_grid_config(s->grid, k, &s->point));
    settings_text(&s->point, settings);
    last_checkpoint(s, from);
    int64_t code;
    int tries = tries_so_far(s, k, settings, from, &code);
    if (tries > 0 && code == 0 && from[0]) /* unless its directory was removed */
        s->plan[k] = IS_DONE;
    else
        s->plan[k] = tries >= TRIES_MAX ? GIVEN_UP : RUNS;
    s->code[k] = s->plan[k] == GIVEN_UP ? code : 0;
    note_path(s, k, ".claim", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be removed: %s", path, strerror(errno));
    if (s->plan[k] == GIVEN_UP) {
        note_path(s, k, ".json", path);
        lj_warn("%s has failed %d times and got no further: left out; remove %s to try again",
                s->point.run_dir, tries, path);
    }
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

/* Makes one run. Returns LJ_STOPPED if it was stopped. Collective over the group. */
static int make_run(struct sweep *s, int k)
{
    char name[LJ_GRID_NAME_MAX], settings[32], from[LJ_PATH_MAX], error[2048] = "";
    bool root = lj_comm_is_root(s->group);
    int64_t before;
    int tries = 0;
    LJ_TRY(lj_grid_config(s->grid, k, &s->point));
    if (s->config->run_max_seconds > 0)
        s->point.run_max_seconds = fmax(seconds_left(s), 1);
    lj_grid_name(s->grid, k, name);
    lj_log_set_run(name);
    if (root) {
        settings_text(&s->point, settings);
        last_checkpoint(s, from);
        tries = tries_so_far(s, k, settings, from, &before) + 1;
        write_note(s, k, settings, from, tries, -1, "");
        lj_say("begins, on %d rank%s", s->group->size, s->group->size == 1 ? "" : "s");
    }
    double begun_s = lj_now_s();
    int status = lj_train(s->group, &s->point);
    lj_progress_set_turns(1);
    if (status != LJ_OK)
        snprintf(error, sizeof error, "%s", lj_error_text());
    if (root) {
        s->code[k] = -status;
        say_end(s, status, error, lj_now_s() - begun_s);
        write_note(s, k, settings, from, status == LJ_STOPPED ? 0 : tries, -status, error);
    }
    lj_log_set_run("");
    return status == LJ_STOPPED ? LJ_STOPPED : LJ_OK;
}

/* Takes runs until there are no more. Collective over the group. */
static int make_runs(struct sweep *s)
{
    for (int k = 0; k < lj_grid_points(s->grid); k++) {
        int64_t mine = 0;
        if (s->plan[k] != RUNS)
            continue;
        if (lj_all_max(s->group, lj_signals_stop() || seconds_left(s) < 0))
            return LJ_STOPPED;
        LJ_TRY(lj_agree(s->group, lj_comm_is_root(s->group) ? claim(s, k, &mine) : LJ_OK));
        lj_broadcast(s->group, &mine, sizeof mine, 0);
        if (mine)
            LJ_TRY(make_run(s, k));
    }
    return LJ_OK;
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
    int64_t ranks = s->config->arg_ranks;
    int points = lj_grid_points(s->grid), groups = lj_sweep_groups(comm->size, ranks, points);
    if (ranks > comm->size)
        return lj_fail(LJ_ERR_CONFIG, "ranks=%lld: the job has %d", (long long)ranks, comm->size);
    LJ_TRY(lj_comm_groups(comm, groups, ranks > 0 ? (int)ranks : comm->size / groups, &s->group));
    int64_t done = 0;
    for (int k = 0; k < points; k++)
        done += s->plan[k] == IS_DONE;
    lj_say("sweep: %d runs, of which %lld are finished; %d at once, on %d ranks each", points,
           (long long)done, groups, ranks > 0 ? (int)ranks : comm->size / groups);
    if (ranks > 0 && comm->size % ranks != 0)
        lj_warn("ranks=%lld does not divide %d ranks: %lld of them have nothing to do",
                (long long)ranks, comm->size, (long long)(comm->size % ranks));
    return LJ_OK;
}

/* Collective. */
static int sweep(struct sweep *s, struct lj_comm *comm)
{
    int points = lj_grid_points(s->grid);
    lj_root_section_begin(comm);
    LJ_TRY(lj_root_section_end(comm, lj_comm_is_root(comm) ? plan_all(s) : LJ_OK));
    lj_broadcast(comm, s->plan, points * (int64_t)sizeof *s->plan, 0);
    LJ_TRY(split(s, comm));
    lj_log_set_speaker(s->group && lj_comm_is_root(s->group));
    int status = s->group ? make_runs(s) : LJ_OK;
    lj_comm_destroy(s->group);
    lj_wait_for_all(comm);
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
