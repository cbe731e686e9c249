/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of checkpoints: names, the newest good one, rotation. Files with other names are
 * never touched. */
#include "store/publish.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Steps found in a directory, descending. */
struct steps {
    int64_t *step; /* (count) owned, from malloc: grows while the directory is read */
    int64_t count, capacity;
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

int lj_checkpoint_path(char path[LJ_PATH_MAX], const char *dir, int64_t step)
{
    int length = snprintf(path, LJ_PATH_MAX, "%s/step-%09lld.h5", dir, (long long)step);
    if (length >= LJ_PATH_MAX)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path longer than %d bytes; choose a shorter run.dir",
                       dir, LJ_PATH_MAX - 24);
    return LJ_OK;
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

/* Steps of the checkpoints in dir; none when there is no such directory. */
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

/* The file is whole, and is what its name says. */
static int check_named(const char *path, int64_t step)
{
    struct lj_checkpoint_header header;
    LJ_TRY(lj_checkpoint_verify(path));
    LJ_TRY(lj_checkpoint_read_header(path, &header));
    int64_t found = header.step;
    lj_checkpoint_header_free(&header);
    if (found == step)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT, "%s: holds step %lld, not that of its name", path,
                   (long long)found);
}

/* All are verified, so that damage to an older one, too, is known before it is needed. */
static int pick_newest(const char *dir, const struct steps *steps, char path[LJ_PATH_MAX])
{
    for (int64_t i = 0; i < steps->count; i++) {
        char candidate[LJ_PATH_MAX];
        LJ_TRY(lj_checkpoint_path(candidate, dir, steps->step[i]));
        if (check_named(candidate, steps->step[i]) != LJ_OK)
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

static void remove_file(const char *path)
{
    if (unlink(path) != 0)
        lj_warn("%s: an old checkpoint cannot be removed: %s", path, strerror(errno));
}

/* Temporary files in dir belong to writers that were killed: the one writer is here. */
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
    int64_t kept = 1; /* the new one */
    for (int64_t i = 0; i < steps.count; i++) {
        char path[LJ_PATH_MAX];
        if (steps.step[i] == newest || kept++ < keep)
            continue;
        if (lj_checkpoint_path(path, dir, steps.step[i]) == LJ_OK)
            remove_file(path);
    }
    lj_free(steps.step);
    remove_leftovers(dir);
}
