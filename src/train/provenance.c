/* SPDX-License-Identifier: Apache-2.0 */
/* Where a checkpoint comes from, as JSON in its attribute provenance: the program, its ranks, the
 * archive and the type of its pixels, what rounds in its own way, what continuations changed, the
 * file that the first weights came from, if it was one, in how many steps prototypes were held, the
 * labels of a classifier's classes, and a hash of which row has which label, where labels train.
 * Changes and file are handed on from checkpoint to checkpoint. Root only. */
#include "train/trainer.h"

#include "kernels/kernels.h"
#include "store/store.h"

#include <stdio.h>

static void hex_of(char text[17], uint64_t value)
{
    snprintf(text, 17, "%016llx", (unsigned long long)value);
}

int lj_trainer_note_source(struct lj_trainer *t, const struct lj_weights_source *source)
{
    char xxh3[17];
    hex_of(xxh3, source->xxh3);
    json_decref(t->source);
    t->source = json_pack("{s:s, s:s, s:b}", "file", source->file, "xxh3", xxh3, "projector",
                          source->whole);
    return t->source ? LJ_OK
                     : lj_fail(LJ_ERR_RESOURCE, "%s: its name cannot be noted in checkpoints",
                               source->file);
}

/* The label of each class of a classifier; NULL: no memory. */
static json_t *labels_of_classes(const struct lj_trainer *t)
{
    json_t *labels = json_array();
    for (int64_t k = 0; labels && k < t->classes.classes; k++)
        json_array_append_new(labels, json_integer(t->classes.label[k]));
    return labels;
}

json_t *lj_trainer_provenance(const struct lj_trainer *t)
{
    const struct lj_matmul matmul = {.batch = 1, .m = 1, .n = 1, .k = 1};
    char fingerprint[17], libraries[128], processor[64];
    hex_of(fingerprint, lj_archive_info(t->archive)->fingerprint);
    lj_matmul_libraries(libraries, sizeof libraries);
    lj_processor_name(processor, sizeof processor);
    json_t *object =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:O}", "program",
                  "lejepa_mpi " LJ_VERSION, "ranks", t->comm->size, "archive_fingerprint",
                  fingerprint, "pixels", lj_archive_info(t->archive)->type, "kernels",
                  lj_isa_name(lj_isa_selected()), "matmuls", lj_matmul_backend(&matmul),
                  "libraries", libraries, "processor", processor, "changes", t->changes);
    if (object && t->source)
        json_object_set(object, "weights_from", t->source);
    if (object && lj_model_classifies(&t->config))
        json_object_set_new(object, "classes", labels_of_classes(t));
    if (object && lj_buckets_without_prototypes(t) < t->model->params.buckets)
        json_object_set_new(object, "held_steps", json_integer((json_int_t)t->held_steps));
    if (object && t->classes.classes > 0) {
        char labels[17];
        hex_of(labels, t->classes.hash);
        json_object_set_new(object, "labels_xxh3", json_string(labels));
    }
    if (!object)
        lj_fail(LJ_ERR_RESOURCE, "out of memory for a checkpoint's provenance");
    return object;
}

char *lj_trainer_provenance_text(const struct lj_trainer *t)
{
    json_t *object = lj_trainer_provenance(t);
    size_t length = object ? json_dumpb(object, NULL, 0, 0) : 0;
    char *text = length > 0 ? lj_alloc(length + 1, "provenance") : NULL;
    if (text)
        json_dumpb(object, text, length, 0);
    json_decref(object);
    return text;
}
