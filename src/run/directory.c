/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of a run and its files. Rank 0 picks it and tells the others. */
#include "run/state.h"

#include "kernels/kernels.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A stamp may miss nine renewals, as when a file system stands still, before others take over. */
static const struct lj_lock_times lock_times = {.patience_s = 5, .renew_s = 30, .stale_s = 300};

int lj_run_make_dirs(const char *path)
{
    char prefix[LJ_PATH_MAX];
    snprintf(prefix, sizeof prefix, "%s", path);
    for (char *slash = prefix + 1;; slash++) {
        if (*slash != '/' && *slash != 0)
            continue;
        char separator = *slash;
        *slash = 0;
        if (mkdir(prefix, 0777) != 0 && errno != EEXIST)
            return lj_fail(LJ_ERR_RESOURCE,
                           "%s: cannot make the directory: %s; set run.dir to a "
                           "place you may write to",
                           prefix, strerror(errno));
        *slash = separator;
        if (!separator)
            return LJ_OK;
    }
}

/* Makes a new directory runs/<date-time>; with -1, -2, ... behind it if that one exists. */
static int make_new_dir(char path[LJ_PATH_MAX])
{
    LJ_TRY(lj_run_make_dirs("runs"));
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    char stamp[64];
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &local);
    for (int i = 0; i < 1000; i++) {
        snprintf(path, LJ_PATH_MAX, i ? "runs/%s-%d" : "runs/%s", stamp, i);
        if (mkdir(path, 0777) == 0)
            return LJ_OK;
        if (errno != EEXIST)
            break;
    }
    return lj_fail(LJ_ERR_RESOURCE, "%s: cannot make the run directory: %s; set run.dir", path,
                   strerror(errno));
}

static int open_on_root(struct lj_run_state *run, char resume_from[LJ_PATH_MAX])
{
    char path[LJ_PATH_MAX];
    if (run->config->run_dir[0])
        snprintf(run->dir, sizeof run->dir, "%.4000s", run->config->run_dir);
    else
        LJ_TRY(make_new_dir(run->dir));
    LJ_TRY(lj_checkpoint_directory(run->dir, run->checkpoints));
    LJ_TRY(lj_run_make_dirs(run->checkpoints));
    LJ_TRY(lj_run_lock_take(&run->lock, run->dir, &lock_times));
    snprintf(path, sizeof path, "%.4000s/log.txt", run->dir);
    LJ_TRY(lj_log_open(path));
    return lj_checkpoint_last(run->checkpoints, resume_from);
}

int lj_run_open_dir(struct lj_run_state *run, char resume_from[LJ_PATH_MAX])
{
    lj_root_section_begin(run->comm);
    int status = lj_comm_is_root(run->comm) ? open_on_root(run, resume_from) : LJ_OK;
    LJ_TRY(lj_root_section_end(run->comm, status));
    lj_broadcast(run->comm, run->dir, sizeof run->dir, 0);
    lj_broadcast(run->comm, run->checkpoints, sizeof run->checkpoints, 0);
    lj_broadcast(run->comm, resume_from, LJ_PATH_MAX, 0);
    memcpy(run->config->run_dir, run->dir, sizeof run->config->run_dir);
    return LJ_OK;
}

const char *lj_run_index_cache(const struct lj_run_state *run, char path[LJ_PATH_MAX], bool eval)
{
    const char *dir = run->config->run_dir;
    path[0] = 0;
    if (dir[0])
        snprintf(path, LJ_PATH_MAX, "%.4000s/%sindex.cache", dir, eval ? "eval-" : "");
    return path;
}

/* Is this a line of a step that the checkpoint contains? */
static bool keeps_line(const char *line, int64_t first)
{
    json_t *object = json_loads(line, 0, NULL);
    json_t *step = object ? json_object_get(object, "step") : NULL;
    bool keep = step && json_is_integer(step) && json_integer_value(step) <= first;
    json_decref(object);
    return keep;
}

/* Cuts metrics.jsonl behind the lines of steps 1 .. first, which the checkpoint contains. A killed
 * run may have logged later steps, which this one will do again. */
static int cut_metrics(const char *path, int64_t first)
{
    char line[LJ_PATH_MAX];
    FILE *file = fopen(path, "r");
    if (!file)
        return LJ_OK;
    long end = 0;
    while (fgets(line, sizeof line, file) && strchr(line, '\n') && keeps_line(line, first))
        end = ftell(file);
    fclose(file);
    if (truncate(path, end) != 0)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be cut to step %lld: %s", path,
                       (long long)first, strerror(errno));
    return LJ_OK;
}

int lj_run_open_files(struct lj_run_state *run, int64_t first)
{
    char path[LJ_PATH_MAX];
    if (!lj_comm_is_root(run->comm))
        return LJ_OK;
    snprintf(path, sizeof path, "%.4000s/config.yaml", run->dir);
    FILE *yaml = fopen(path, "w");
    if (!yaml)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s", path, strerror(errno));
    fprintf(yaml, "# bits hold for this level and precision: kernels %s, precision %s\n",
            lj_isa_name(lj_isa_selected()), lj_precision_word(run->info.config->precision));
    lj_config_write_yaml(run->info.config, yaml);
    if (fclose(yaml) != 0)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s", path, strerror(errno));
    lj_archive_keep_index(run->archive, lj_run_index_cache(run, path, false));
    if (run->eval_query)
        lj_archive_keep_index(run->eval_query, lj_run_index_cache(run, path, true));
    snprintf(path, sizeof path, "%.4000s/metrics.jsonl", run->dir);
    LJ_TRY(cut_metrics(path, first));
    run->metrics = fopen(path, "a");
    if (!run->metrics)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s", path, strerror(errno));
    if (run->config->log_tensorboard == LJ_LOG_TENSORBOARD_FALSE)
        return LJ_OK;
    return lj_tensorboard_open(&run->tensorboard, run->dir, first, lj_wall_s());
}
