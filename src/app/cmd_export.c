/* SPDX-License-Identifier: Apache-2.0 */
/* export: the encoder of a checkpoint as safetensors, with timm's names. */
#include "app/app.h"

#include "eval/eval.h"
#include "models/models.h"
#include "store/store.h"

#include <stdio.h>

int lj_command_export(struct lj_comm *comm, struct lj_config *config,
                      const struct lj_call_words *words)
{
    (void)words;
    static struct lj_pretrained pretrained; /* holds a configuration: too large for the stack */
    int status = LJ_OK;
    if (!config->arg_checkpoint[0] || !config->arg_out[0])
        status = lj_fail(LJ_ERR_CONFIG, "export: give checkpoint= and out=FILE.safetensors");
    LJ_TRY(lj_agree(comm, status));
    LJ_TRY(lj_pretrained_load(&pretrained, comm, config->arg_checkpoint, false));
    if (lj_comm_is_root(comm)) {
        char metadata[256];
        snprintf(metadata, sizeof metadata,
                 "{\"format\": \"pt\", \"creator\": \"lejepa_mpi %s\", \"step\": \"%lld\"}",
                 LJ_VERSION, (long long)pretrained.step);
        status = lj_safetensors_write(config->arg_out, &pretrained.model->params,
                                      pretrained.weights, "projector.", metadata);
        if (status == LJ_OK)
            lj_say("%s: encoder of step %lld", config->arg_out, (long long)pretrained.step);
    }
    lj_pretrained_free(&pretrained);
    return lj_agree(comm, status);
}
