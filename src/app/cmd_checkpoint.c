/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint ls, checkpoint verify: what a run directory holds, and whether it is whole. Rank 0 works. */
#include "app.h"

#include "lejepa/store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_checkpoint_name(const char *name)
{
    size_t length = strlen(name);
    return strncmp(name, "step-", 5) == 0 && length > 8 && strcmp(name + length - 3, ".h5") == 0;
}

/* Prints one line on a file; reads every byte of it when asked to verify. */
static int look_at(const char *path, bool verify)
{
    struct lj_checkpoint_head head;
    int status = verify ? lj_checkpoint_verify(path) : LJ_OK;
    if (status == LJ_OK)
        status = lj_checkpoint_read_head(path, &head);
    if (status != LJ_OK) {
        printf("%s  damaged: %s\n", path, lj_error_text());
        return status;
    }
    printf("%s  step %lld%s\n", path, (long long)head.step, verify ? "  verified" : "");
    lj_checkpoint_head_free(&head);
    return LJ_OK;
}

/* The directory of checkpoints of a run, or the path itself. */
static void find_dir(const char *where, char dir[LJ_PATH_MAX])
{
    struct stat info;
    snprintf(dir, LJ_PATH_MAX, "%.4000s/checkpoints", where);
    if (stat(dir, &info) != 0)
        snprintf(dir, LJ_PATH_MAX, "%.4000s", where);
}

static int look_at_all(const char *where, bool verify)
{
    char path[LJ_PATH_MAX], dir[LJ_PATH_MAX];
    int found = 0, bad = 0;
    find_dir(where, dir);
    DIR *listing = opendir(dir);
    for (struct dirent *entry; listing && (entry = readdir(listing));)
        if (is_checkpoint_name(entry->d_name)) {
            snprintf(path, sizeof path, "%.3800s/%.250s", dir, entry->d_name);
            found++;
            bad += look_at(path, verify) != LJ_OK;
        }
    if (listing)
        closedir(listing);
    if (found == 0)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: holds no checkpoint; give a run directory or a file",
                       where);
    if (bad > 0)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: %d of %d checkpoints are damaged; train ignores them", where, bad,
                       found);
    return LJ_OK;
}

int lj_command_checkpoint(struct lj_comm *comm, struct lj_config *config,
                          const struct lj_call_words *words)
{
    (void)config;
    int status = LJ_OK;
    struct stat info;
    bool verify = words->verb && strcmp(words->verb, "verify") == 0;
    if (!words->file || (!verify && strcmp(words->verb, "ls") != 0))
        status =
            lj_fail(LJ_ERR_CONFIG, "checkpoint: expected `checkpoint ls RUN_DIR` or `checkpoint "
                                   "verify RUN_DIR or FILE`");
    else if (lj_comm_is_root(comm) && stat(words->file, &info) == 0 && !S_ISDIR(info.st_mode))
        status = look_at(words->file, verify);
    else if (lj_comm_is_root(comm))
        status = look_at_all(words->file, verify);
    return lj_agree(comm, status);
}
