/* SPDX-License-Identifier: Apache-2.0 */
/* What made a checkpoint, as JSON text in it: program, archive, and what rounds in its own way. */
#include "train/trainer.h"

#include "kernels/kernels.h"

#include <jansson.h>
#include <stdio.h>

static void archive_text(const struct lj_trainer *t, char text[32])
{
    snprintf(text, 32, "%016llx", (unsigned long long)lj_archive_info(t->archive)->fingerprint);
}

json_t *lj_trainer_provenance(const struct lj_trainer *t)
{
    const struct lj_matmul matmul = {.batch = 1, .m = 1, .n = 1, .k = 1};
    char archive[32], libraries[128];
    archive_text(t, archive);
    lj_matmul_libraries(libraries, sizeof libraries);
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:O}", "program", "lejepa_mpi " LJ_VERSION,
                     "ranks", t->comm->size, "archive_fingerprint", archive, "kernels",
                     lj_isa_name(lj_isa_selected()), "matmuls", lj_matmul_backend(&matmul),
                     "libraries", libraries, "changes", t->changes);
}

int lj_trainer_provenance_text(const struct lj_trainer *t, char **text)
{
    json_t *object = lj_trainer_provenance(t);
    size_t length = object ? json_dumpb(object, NULL, 0, 0) : 0;
    *text = length ? lj_alloc(length + 1, "provenance") : NULL;
    if (*text)
        json_dumpb(object, *text, length, 0);
    json_decref(object);
    if (length == 0)
        return lj_fail(LJ_ERR_RESOURCE, "out of memory: provenance");
    return *text ? LJ_OK : LJ_ERR_RESOURCE;
}
