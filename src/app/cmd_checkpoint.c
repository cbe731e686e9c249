/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint ls, checkpoint verify: the checkpoints of a run, or one file. Rank 0 works. `ls` reads what a
 * checkpoint says of itself; `verify` compares the checksum of every tensor, too. */
#include "app/app.h"

#include "store/store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Step of "step-NNNNNNNNN.h5"; -1 for another name. */
static int64_t step_of(const char *name)
{
    long long step = -1;
    int end = 0;
    if (sscanf(name, "step-%18lld.h5%n", &step, &end) != 1 || end == 0 || name[end])
        return -1;
    return step;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Steps of the checkpoints in dir, at most capacity; returns how many there are. */
static int64_t read_steps(const char *dir, int64_t *steps, int64_t capacity)
{
    int64_t found = 0;
    DIR *listing = opendir(dir);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        int64_t step = step_of(entry->d_name);
        if (step < 0)
            continue;
        if (found < capacity)
            steps[found] = step;
        found++;
    }
    if (listing)
        closedir(listing);
    return found;
}

/* Prints a line on one file. */
static int look_at(const char *path, bool verify)
{
    struct lj_checkpoint_header header;
    int status = verify ? lj_checkpoint_verify(path) : LJ_OK;
    if (status == LJ_OK)
        status = lj_checkpoint_read_header(path, &header);
    if (status != LJ_OK) {
        printf("%s: damaged: %s\n", path, lj_error_text());
        return status;
    }
    printf("%s: %sstep %lld, seed %lld, %s\n", path, verify ? "good, " : "", (long long)header.step,
           (long long)header.seed, header.provenance);
    lj_checkpoint_header_free(&header);
    return LJ_OK;
}

static int look_at_all(const char *where, const char *dir, bool verify)
{
    int64_t count = read_steps(dir, NULL, 0), bad = 0;
    if (count == 0)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: holds no checkpoint; give the directory of a run",
                       where);
    int64_t *steps = lj_alloc_array(count, sizeof *steps, "checkpoints");
    if (!steps)
        return LJ_ERR_RESOURCE;
    count = lj_min_i64(count, read_steps(dir, steps, count));
    qsort(steps, (size_t)count, sizeof *steps, ascending);
    for (int64_t i = 0; i < count; i++) {
        char path[LJ_PATH_MAX];
        snprintf(path, sizeof path, "%.4000s/step-%09lld.h5", dir, (long long)steps[i]);
        bad += look_at(path, verify) != LJ_OK;
    }
    lj_free(steps);
    return bad ? lj_fail(LJ_ERR_CHECKPOINT,
                         "%s: %lld of %lld checkpoints are damaged; training goes on from the "
                         "newest good one",
                         where, (long long)bad, (long long)count)
               : LJ_OK;
}

static int look(const char *where, bool verify)
{
    char dir[LJ_PATH_MAX];
    struct stat info;
    if (stat(where, &info) == 0 && !S_ISDIR(info.st_mode))
        return look_at(where, verify);
    snprintf(dir, sizeof dir, "%.4000s/checkpoints", where);
    if (stat(dir, &info) != 0)
        snprintf(dir, sizeof dir, "%.4000s", where);
    return look_at_all(where, dir, verify);
}

int lj_command_checkpoint(struct lj_comm *comm, struct lj_config *config,
                          const struct lj_call_words *words)
{
    (void)config;
    int status = LJ_OK;
    if (!words->file)
        status = lj_fail(LJ_ERR_CONFIG, "checkpoint: give ls or verify, then a run directory or a "
                                        "checkpoint file");
    else if (lj_comm_is_root(comm))
        status = look(words->file, !words->action || strcmp(words->action, "verify") == 0);
    return lj_agree(comm, status);
}
