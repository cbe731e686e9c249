/* SPDX-License-Identifier: Apache-2.0 */
/* Where checkpoints lie: run directories, names of files, the newest good one, rotation. Files with
 * other names are never touched.
 *
 * Comparing the checksums of all bytes of a file costs as much as reading it. So a run does that
 * only with the checkpoint that it continues from and, before they count for rotation, with others
 * that it did not write. What was found is remembered for as long as the file stays as it was. */
#include "store/checkpoint/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Steps found in a directory, descending. */
struct steps {
    int64_t *step; /* (count) owned; grows while the directory is read */
    int64_t count, capacity;
};

/* A file that was verified or written, as it was then; one that was written anew is another. */
struct verdict {
    dev_t device;
    ino_t number;
    off_t bytes;
    struct timespec changed;
    bool good;
};
enum { VERDICTS_MAX = 4096 }; /* more are not remembered; then headers decide */
static struct verdict verdicts[VERDICTS_MAX];
static int verdict_count;

/* What a checkpoint is read into. */
struct target {
    const struct lj_params *params;
    struct lj_checkpoint_arrays *arrays;
};

/* Step of "step-NNNNNNNNN.h5" (nine digits or more); -1 for any other name. */
static int64_t step_of_name(const char *name)
{
    if (strncmp(name, "step-", 5) != 0)
        return -1;
    size_t digits = strspn(name + 5, "0123456789");
    if (digits < 9 || digits > 18 || strcmp(name + 5 + digits, ".h5") != 0)
        return -1;
    return strtoll(name + 5, NULL, 10);
}

int lj_checkpoint_path(const char *dir, int64_t step, char path[LJ_PATH_MAX])
{
    int length = snprintf(path, LJ_PATH_MAX, "%s/step-%09lld.h5", dir, (long long)step);
    if (length >= LJ_PATH_MAX)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path longer than %d bytes; choose a shorter run.dir",
                       dir, LJ_PATH_MAX - 24);
    return LJ_OK;
}

int lj_checkpoint_directory(const char *run, char dir[LJ_PATH_MAX])
{
    if (snprintf(dir, LJ_PATH_MAX, "%s/checkpoints", run) >= LJ_PATH_MAX)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path longer than %d bytes; choose a shorter run.dir",
                       run, LJ_PATH_MAX - 36);
    return LJ_OK;
}

static bool is_directory(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* The directory of checkpoints that a user means by a directory: of that run, or itself. */
static int find_directory(const char *where, char dir[LJ_PATH_MAX])
{
    LJ_TRY(lj_checkpoint_directory(where, dir));
    if (!is_directory(dir))
        snprintf(dir, LJ_PATH_MAX, "%s", where);
    return LJ_OK;
}

static int holds_none(const char *where)
{
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: holds no checkpoint; give a checkpoint file or the directory of a run",
                   where);
}

static int append(struct steps *steps, int64_t step)
{
    if (steps->count == steps->capacity) {
        int64_t capacity = 2 * steps->capacity + 16;
        int64_t *grown = lj_alloc_array(capacity, sizeof *grown, "list of checkpoints");
        if (!grown)
            return LJ_ERR_RESOURCE;
        if (steps->count > 0)
            memcpy(grown, steps->step, (size_t)steps->count * sizeof *grown);
        lj_free(steps->step);
        steps->step = grown;
        steps->capacity = capacity;
    }
    steps->step[steps->count++] = step;
    return LJ_OK;
}

static int newer_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Steps of the checkpoints in dir, descending; none when there is no such directory. */
static int list_steps(const char *dir, struct steps *steps)
{
    *steps = (struct steps){0};
    DIR *listing = opendir(dir);
    if (!listing && errno == ENOENT)
        return LJ_OK;
    if (!listing)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: directory of checkpoints cannot be read: %s", dir,
                       strerror(errno));
    int status = LJ_OK;
    for (struct dirent *entry; status == LJ_OK && (entry = readdir(listing));)
        if (step_of_name(entry->d_name) >= 0)
            status = append(steps, step_of_name(entry->d_name));
    closedir(listing);
    if (steps->count > 1)
        qsort(steps->step, (size_t)steps->count, sizeof *steps->step, newer_first);
    return status;
}

/* Checks the header, which HDF5 does not open in a file that is shorter than it says, and that its
 * step is that of the name. */
static int check_header(const char *path, int64_t step)
{
    struct lj_checkpoint_header header;
    LJ_TRY(lj_checkpoint_read_header(path, &header));
    int64_t found = header.step;
    lj_checkpoint_header_free(&header);
    if (found == step)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT, "%s: holds step %lld, not that of its name", path,
                   (long long)found);
}

/* ---- what is known of files -------------------------------------------------------------- */

static bool state_of(const char *path, struct verdict *state)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    *state = (struct verdict){.device = info.st_dev,
                              .number = info.st_ino,
                              .bytes = info.st_size,
                              .changed = info.st_mtim};
    return true;
}

/* The verdict on a file as it is now; NULL: there is none. */
static struct verdict *verdict_on(const char *path)
{
    struct verdict now;
    if (!state_of(path, &now))
        return NULL;
    for (int i = 0; i < verdict_count; i++)
        if (verdicts[i].device == now.device && verdicts[i].number == now.number &&
            verdicts[i].bytes == now.bytes && verdicts[i].changed.tv_sec == now.changed.tv_sec &&
            verdicts[i].changed.tv_nsec == now.changed.tv_nsec)
            return &verdicts[i];
    return NULL;
}

static void remember(const char *path, bool good)
{
    struct verdict *known = verdict_on(path);
    if (!known && verdict_count < VERDICTS_MAX && state_of(path, &verdicts[verdict_count]))
        known = &verdicts[verdict_count++];
    if (known)
        known->good = good;
}

static void forget(const char *path)
{
    struct verdict *known = verdict_on(path);
    if (known)
        *known = verdicts[--verdict_count];
}

/* ---- the newest good one ----------------------------------------------------------------- */

/* Checks header and every byte. A file that is good may still not fit what it is read into.
 *   target  in   NULL: it is not read into anything
 *   good    out  the file is undamaged
 * Errors: LJ_ERR_CHECKPOINT: damaged, or it does not fit. */
static int check_whole(const char *path, int64_t step, const struct target *target, bool *good)
{
    int status = check_header(path, step);
    *good = false;
    if (status == LJ_OK && target)
        status = lj_checkpoint_read(path, target->params, target->arrays);
    else if (status == LJ_OK)
        status = lj_checkpoint_verify(path);
    *good = status == LJ_OK;
    if (status == LJ_ERR_CHECKPOINT && target && check_header(path, step) == LJ_OK &&
        lj_checkpoint_verify(path) == LJ_OK) {
        *good = true; /* again, for its message: */
        status = lj_checkpoint_read(path, target->params, target->arrays);
    }
    if (*good || status == LJ_ERR_CHECKPOINT)
        remember(path, *good);
    return status;
}

static void warn_of_damage(void)
{
    lj_warn("skipping a damaged checkpoint: %s", lj_error_text());
}

/* The first good one, and whether it fits; *next: the one after it. */
static int pick_good(const char *dir, const struct steps *steps, const struct target *target,
                     char path[LJ_PATH_MAX], int64_t *next)
{
    for (*next = 0; *next < steps->count;) {
        char candidate[LJ_PATH_MAX];
        bool good;
        int64_t step = steps->step[(*next)++];
        LJ_TRY(lj_checkpoint_path(dir, step, candidate));
        int status = check_whole(candidate, step, target, &good);
        if (good)
            memcpy(path, candidate, sizeof candidate);
        if (good || status != LJ_ERR_CHECKPOINT)
            return status;
        warn_of_damage();
    }
    return LJ_OK;
}

/* Damage to older ones that shows at a look is known before they are needed. */
static int pick_newest(const char *dir, const struct steps *steps, const struct target *target,
                       char path[LJ_PATH_MAX])
{
    int64_t i;
    LJ_TRY(pick_good(dir, steps, target, path, &i));
    for (; i < steps->count; i++) {
        char older[LJ_PATH_MAX];
        LJ_TRY(lj_checkpoint_path(dir, steps->step[i], older));
        if (check_header(older, steps->step[i]) != LJ_OK)
            warn_of_damage();
    }
    if (path[0] || steps->count == 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: none of %lld checkpoints is good; move them away to start anew, or bring "
                   "back a copy",
                   dir, (long long)steps->count);
}

static int find_newest(const char *dir, const struct target *target, char path[LJ_PATH_MAX])
{
    struct steps steps;
    path[0] = 0;
    int status = list_steps(dir, &steps);
    if (status == LJ_OK)
        status = pick_newest(dir, &steps, target, path);
    lj_free(steps.step);
    return status;
}

int lj_checkpoint_newest(const char *dir, char path[LJ_PATH_MAX])
{
    return find_newest(dir, NULL, path);
}

int lj_checkpoint_load(const char *where, const struct lj_params *params,
                       struct lj_checkpoint_arrays *arrays, char path[LJ_PATH_MAX])
{
    const struct target target = {params, arrays};
    if (is_directory(where))
        return find_newest(where, &target, path);
    snprintf(path, LJ_PATH_MAX, "%s", where);
    return lj_checkpoint_read(where, params, arrays);
}

int lj_checkpoint_last(const char *dir, char path[LJ_PATH_MAX])
{
    struct steps steps;
    path[0] = 0;
    int status = list_steps(dir, &steps);
    if (status == LJ_OK && steps.count > 0)
        status = lj_checkpoint_path(dir, steps.step[0], path);
    lj_free(steps.step);
    return status;
}

int lj_checkpoint_resolve(const char *where, char path[LJ_PATH_MAX])
{
    char dir[LJ_PATH_MAX];
    LJ_TRY(find_directory(where, dir)); /* fails for a path that is too long */
    if (!is_directory(where)) {
        snprintf(path, LJ_PATH_MAX, "%s", where);
        return LJ_OK;
    }
    LJ_TRY(lj_checkpoint_newest(dir, path));
    return path[0] ? LJ_OK : holds_none(where);
}

/* Paths in ascending order of steps. */
static int list_files(const char *dir, const struct steps *steps, struct lj_checkpoint_list *list)
{
    list->path = lj_alloc_array(steps->count, sizeof *list->path, "list of checkpoints");
    if (!list->path)
        return LJ_ERR_RESOURCE;
    list->count = steps->count;
    for (int64_t i = 0; i < steps->count; i++)
        LJ_TRY(lj_checkpoint_path(dir, steps->step[steps->count - 1 - i], list->path[i]));
    return LJ_OK;
}

static int list_directory(const char *where, struct lj_checkpoint_list *list)
{
    char dir[LJ_PATH_MAX];
    struct steps steps = {0};
    int status = find_directory(where, dir);
    if (status == LJ_OK)
        status = list_steps(dir, &steps);
    if (status == LJ_OK)
        status = steps.count > 0 ? list_files(dir, &steps, list) : holds_none(where);
    lj_free(steps.step);
    return status;
}

int lj_checkpoint_list(const char *where, struct lj_checkpoint_list *list)
{
    *list = (struct lj_checkpoint_list){0};
    if (is_directory(where)) {
        int status = list_directory(where, list);
        if (status != LJ_OK)
            lj_checkpoint_list_free(list);
        return status;
    }
    list->path = lj_alloc_array(1, sizeof *list->path, "list of checkpoints");
    if (!list->path)
        return LJ_ERR_RESOURCE;
    list->count = 1;
    snprintf(list->path[0], sizeof list->path[0], "%s", where);
    return LJ_OK;
}

void lj_checkpoint_list_free(struct lj_checkpoint_list *list)
{
    lj_free(list->path);
    *list = (struct lj_checkpoint_list){0};
}

static void remove_file(const char *path)
{
    forget(path);
    if (unlink(path) != 0)
        lj_warn("%s: an old checkpoint cannot be removed: %s", path, strerror(errno));
}

/* Removes temporary files. Their writers were killed: only one at a time writes, and that
 * is this one. */
static void remove_leftovers(const char *dir)
{
    DIR *listing = opendir(dir);
    if (!listing)
        return;
    for (struct dirent *entry; (entry = readdir(listing));) {
        char name[64], path[LJ_PATH_MAX];
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] != '.' || length < 5 || length > sizeof name ||
            !lj_ends_with(entry->d_name, ".tmp"))
            continue;
        snprintf(name, sizeof name, "%.*s", (int)length - 5, entry->d_name + 1);
        if (step_of_name(name) >= 0 &&
            snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) < LJ_PATH_MAX)
            remove_file(path);
    }
    closedir(listing);
}

/* Does an older checkpoint count? */
static bool counts(const char *path, int64_t step)
{
    bool good;
    const struct verdict *known = verdict_on(path);
    if (known)
        return known->good;
    if (verdict_count == VERDICTS_MAX)
        return check_header(path, step) == LJ_OK;
    if (check_whole(path, step, NULL, &good) != LJ_OK)
        lj_warn("a damaged checkpoint does not count: %s", lj_error_text());
    return good;
}

static void remove_oldest(const char *dir, const struct steps *steps, int64_t newest, int keep)
{
    int64_t good = 1; /* the new one */
    for (int64_t i = 0; i < steps->count; i++) {
        char path[LJ_PATH_MAX];
        int64_t step = steps->step[i];
        if (step == newest || lj_checkpoint_path(dir, step, path) != LJ_OK)
            continue;
        if (good >= keep)
            remove_file(path);
        else if (counts(path, step))
            good++;
    }
}

void lj_checkpoint_rotate(const char *dir, int64_t newest, int keep)
{
    struct steps steps;
    char path[LJ_PATH_MAX];
    if (lj_checkpoint_path(dir, newest, path) == LJ_OK)
        remember(path, true);
    if (list_steps(dir, &steps) != LJ_OK)
        lj_warn("old checkpoints are not removed: %s", lj_error_text());
    else if (steps.count > keep)
        remove_oldest(dir, &steps, newest, keep);
    lj_free(steps.step);
    remove_leftovers(dir);
}
