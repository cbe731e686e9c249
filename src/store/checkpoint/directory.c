/* SPDX-License-Identifier: Apache-2.0 */
/* Where checkpoints lie: run directories, names of files, the newest good one, rotation. Files with
 * other names are never touched.
 *
 * Rotation keeps a number of good checkpoints. Comparing the checksums of all their bytes at every
 * rotation would cost more than writing one, so it remembers what was found damaged when the run
 * looked for the newest, and looks only at size and header of the others. */
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

/* A file as it was when it was found damaged; one that was written anew is another. */
struct file_state {
    dev_t device;
    ino_t number;
    off_t bytes;
    struct timespec changed;
};
enum { DAMAGED_MAX = 256 }; /* more than these are not remembered, only warned about */
static struct file_state damaged[DAMAGED_MAX];
static int damaged_count;

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

static bool state_of(const char *path, struct file_state *state)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    *state = (struct file_state){.device = info.st_dev,
                                 .number = info.st_ino,
                                 .bytes = info.st_size,
                                 .changed = info.st_mtim};
    return true;
}

static bool is_remembered(const struct file_state *state)
{
    for (int i = 0; i < damaged_count; i++)
        if (damaged[i].device == state->device && damaged[i].number == state->number &&
            damaged[i].bytes == state->bytes &&
            damaged[i].changed.tv_sec == state->changed.tv_sec &&
            damaged[i].changed.tv_nsec == state->changed.tv_nsec)
            return true;
    return false;
}

static void remember_damaged(const char *path)
{
    struct file_state state;
    if (damaged_count < DAMAGED_MAX && state_of(path, &state) && !is_remembered(&state))
        damaged[damaged_count++] = state;
}

/* Checks every byte, and that the step is that of the name. */
static int check_whole(const char *path, int64_t step)
{
    int status = lj_checkpoint_verify(path);
    if (status == LJ_OK)
        status = check_header(path, step);
    if (status == LJ_ERR_CHECKPOINT)
        remember_damaged(path);
    return status;
}

/* Does a checkpoint count as good, as far as a look at its header tells? */
static bool seems_good(const char *path, int64_t step)
{
    struct file_state state;
    return state_of(path, &state) && !is_remembered(&state) && check_header(path, step) == LJ_OK;
}

/* Verifies all, so that damage to an older one, too, is known before it is needed. */
static int pick_newest(const char *dir, const struct steps *steps, char path[LJ_PATH_MAX])
{
    for (int64_t i = 0; i < steps->count; i++) {
        char candidate[LJ_PATH_MAX];
        LJ_TRY(lj_checkpoint_path(dir, steps->step[i], candidate));
        if (check_whole(candidate, steps->step[i]) != LJ_OK)
            lj_warn("skipping a damaged checkpoint: %s", lj_error_text());
        else if (!path[0])
            memcpy(path, candidate, sizeof candidate);
    }
    if (path[0] || steps->count == 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: none of %lld checkpoints is good; move them away to start anew, or bring "
                   "back a copy",
                   dir, (long long)steps->count);
}

int lj_checkpoint_newest(const char *dir, char path[LJ_PATH_MAX])
{
    struct steps steps;
    path[0] = 0;
    int status = list_steps(dir, &steps);
    if (status == LJ_OK)
        status = pick_newest(dir, &steps, path);
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
            strcmp(entry->d_name + length - 4, ".tmp") != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)length - 5, entry->d_name + 1);
        if (step_of_name(name) >= 0 &&
            snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) < LJ_PATH_MAX)
            remove_file(path);
    }
    closedir(listing);
}

void lj_checkpoint_rotate(const char *dir, int64_t newest, int keep)
{
    struct steps steps;
    if (list_steps(dir, &steps) != LJ_OK) {
        lj_warn("old checkpoints are not removed: %s", lj_error_text());
        lj_free(steps.step);
        return;
    }
    int64_t good = 1; /* the new one */
    for (int64_t i = 0; i < steps.count; i++) {
        char path[LJ_PATH_MAX];
        int64_t step = steps.step[i];
        if (step == newest || lj_checkpoint_path(dir, step, path) != LJ_OK)
            continue;
        if (good >= keep)
            remove_file(path);
        else if (seems_good(path, step))
            good++;
    }
    lj_free(steps.step);
    remove_leftovers(dir);
}
