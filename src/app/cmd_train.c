/* SPDX-License-Identifier: Apache-2.0 */
/* train */
#include "app/app.h"

#include "lejepa/run.h"

#include "train/train.h"

#include <stdio.h>

/* A newcomer who gives no archive sees what is learnt: now and then some test rows are predicted
 * from some of the others, which takes about a hundredth of the time. Not on ranks without a lane,
 * which would need memory for the weights. */
static void evaluate_example(struct lj_config *config, int ranks)
{
    int64_t lanes;
    if (lj_trainer_lanes(config, ranks, &lanes) != LJ_OK || lanes < ranks)
        return; /* a wrong setting is told of by the run */
    config->eval_every = 200;
    if (config->eval_where[0] || config->eval_archive[0] || config->eval_holdout > 0)
        return;
    snprintf(config->eval_where, sizeof config->eval_where, "split=1");
    config->eval_bank = 1000;
    config->eval_queries = 500;
}

int lj_command_train(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words)
{
    bool example = !config->data_archive[0];
    LJ_TRY(lj_agree(comm, lj_use_example(config)));
    if (example && config->eval_every == 0 && !lj_words_set(words, "eval.every"))
        evaluate_example(config, comm->size);
    return lj_train(comm, config);
}
