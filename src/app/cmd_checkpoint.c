/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint ls, checkpoint verify: the checkpoints of a run, or one file. Rank 0 works. `ls` reads
 * what a checkpoint says of itself; `verify` compares the checksum of every tensor, too. */
#include "app/app.h"

#include "store/store.h"

#include <stdio.h>
#include <string.h>

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

/* A single file that is damaged keeps its own message. */
static int look_at_all(const char *where, bool verify)
{
    struct lj_checkpoint_list list;
    int64_t bad = 0;
    int status = LJ_OK;
    LJ_TRY(lj_checkpoint_list(where, &list));
    for (int64_t i = 0; i < list.count; i++) {
        int found = look_at(list.path[i], verify);
        bad += found != LJ_OK;
        status = found != LJ_OK ? found : status;
    }
    bool directory = strcmp(list.path[0], where) != 0; /* a file's own message says it all */
    if (bad > 0 && directory)
        status = lj_fail(LJ_ERR_CHECKPOINT,
                         "%s: %lld of %lld checkpoints are damaged; training goes on from the "
                         "newest good one",
                         where, (long long)bad, (long long)list.count);
    lj_checkpoint_list_free(&list);
    return status;
}

int lj_command_checkpoint(struct lj_comm *comm, struct lj_config *config,
                          const struct lj_call_words *words)
{
    (void)config;
    int status = LJ_OK;
    if (words->paths == 0)
        status = lj_fail(LJ_ERR_CONFIG, "checkpoint: give ls or verify, then a run directory or a "
                                        "checkpoint file");
    else if (lj_comm_is_root(comm))
        status =
            look_at_all(words->path[0], !words->action || strcmp(words->action, "verify") == 0);
    return lj_agree(comm, status);
}
