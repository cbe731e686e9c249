/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app: the file that the command embed writes. */
#ifndef LEJEPA_APP_EMBED_H
#define LEJEPA_APP_EMBED_H

#include "eval/eval.h"

/* What is embedded, and by what. Everything is borrowed. */
struct lj_embed_job {
    const struct lj_embedder *embedder;
    const struct lj_pretrained *pretrained;
    const struct lj_config *config; /* the run's, with what the words say */
    struct lj_archive *archive;
};

/* What made the embeddings, as a JSON object: equal objects mean equal embeddings, names of files
 * apart. Local. Returns text owned by the caller (lj_free); NULL: LJ_ERR_RESOURCE. */
char *lj_embed_provenance(const struct lj_embed_job *job);

/* Embeds the selected rows into the file out, with progress on standard error; goes on where an
 * embed of the same was killed. Collective. Errors: those of lj_embed and of writing; the text says
 * whether rows are kept for the next one. */
int lj_embed_to_file(struct lj_comm *comm, const struct lj_embed_job *job) LJ_MUST_USE;

#endif
