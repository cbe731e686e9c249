/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of training rows become classes 0, 1, ... in ascending order of labels, which may have
 * gaps. Every rank has the labels of all rows, so that all find the same by themselves. */
#include "train/trainer.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* More labels than that are names of rows. */
enum { CLASSES_MAX = 65536 };

bool lj_trainer_needs_labels(const struct lj_config *config)
{
    return lj_objective_asks(config->objective, LJ_NEED_LABELS);
}

/* Place of a label among the classes, or where it would have to stand. */
static int64_t place_of(const struct lj_trainer_labels *c, int32_t label)
{
    int64_t low = 0, high = c->classes;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (c->label[middle] < label)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int too_many(const struct lj_trainer *t)
{
    return lj_fail(LJ_ERR_DATA,
                   "%s: dataset %s has more than %d labels, which are no classes; choose another "
                   "data.labels",
                   t->config.data_archive, lj_archive_info(t->archive)->labels, CLASSES_MAX);
}

/* A new class at its place. */
static void insert(struct lj_trainer_labels *c, int64_t at, int32_t label)
{
    int64_t behind = c->classes - at;
    memmove(c->label + at + 1, c->label + at, (size_t)behind * sizeof *c->label);
    memmove(c->rows + at + 1, c->rows + at, (size_t)behind * sizeof *c->rows);
    c->label[at] = label;
    c->rows[at] = 0;
    c->classes++;
}

/* XXH3-64 of the labelled rows: number of the row, label. */
static void hash_labels(struct lj_trainer *t)
{
    int64_t rows = lj_archive_info(t->archive)->selected;
    XXH3_state_t *state = XXH3_createState();
    LJ_CHECK(state, "no memory for a checksum");
    XXH3_64bits_reset(state);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t pair[2] = {lj_archive_row(t->archive, i), lj_archive_label(t->archive, i)};
        if (pair[1] >= 0)
            XXH3_64bits_update(state, pair, sizeof pair);
    }
    t->classes.hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
}

/* The classes of all selected rows, and how many rows have none. */
static int collect(struct lj_trainer *t)
{
    struct lj_trainer_labels *c = &t->classes;
    int64_t rows = lj_archive_info(t->archive)->selected;
    c->label = lj_alloc_array(CLASSES_MAX, sizeof *c->label, "labels");
    c->rows = lj_alloc_array(CLASSES_MAX, sizeof *c->rows, "labels");
    if (!c->label || !c->rows)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < rows; i++) {
        int32_t label = lj_archive_label(t->archive, i);
        if (label < 0) {
            c->unlabelled++;
            continue;
        }
        int64_t at = place_of(c, label);
        if (at == c->classes || c->label[at] != label) {
            if (c->classes == CLASSES_MAX)
                return too_many(t);
            insert(c, at, label);
        }
        c->rows[at]++;
    }
    return LJ_OK;
}

static int check_labels(const struct lj_trainer *t)
{
    const struct lj_config *c = &t->config;
    if (lj_archive_info(t->archive)->has_labels)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: objective=%s needs labels, and there are none (data.labels=%s); name their "
                   "dataset by data.labels=NAME or FILE:NAME",
                   c->data_archive, c->objective, c->data_labels);
}

static int check_classes(const struct lj_trainer *t)
{
    const struct lj_config *config = &t->config;
    const struct lj_trainer_labels *c = &t->classes;
    int64_t rows = lj_archive_info(t->archive)->selected - c->unlabelled;
    const char *name = lj_archive_info(t->archive)->labels;
    if (c->classes < 2)
        return lj_fail(LJ_ERR_DATA,
                       "%s: %lld of %lld rows that train have a label in %s, of %lld class%s; "
                       "objective=%s needs at least 2 classes; choose another data.labels or "
                       "data.where",
                       config->data_archive, (long long)rows, (long long)(rows + c->unlabelled),
                       name, (long long)c->classes, c->classes == 1 ? "" : "es", config->objective);
    if (t->objective_kind->classifies && config->supervised_classes &&
        config->supervised_classes != c->classes)
        return lj_fail(LJ_ERR_CONFIG,
                       "supervised.classes=%lld, but the rows that train have labels of %lld "
                       "classes in %s; set it to 0",
                       (long long)config->supervised_classes, (long long)c->classes, name);
    return LJ_OK;
}

static bool has_label(void *archive, int64_t index)
{
    return lj_archive_label(archive, index) >= 0;
}

int lj_trainer_leave_labelled(struct lj_archive *archive, struct lj_comm *comm,
                              const struct lj_config *config)
{
    if (!lj_trainer_needs_labels(config) || !lj_archive_info(archive)->has_labels)
        return LJ_OK;
    return lj_archive_narrow(archive, comm, has_label, archive);
}

static int find_locally(struct lj_trainer *t)
{
    struct lj_config *c = &t->config;
    LJ_TRY(lj_objective_find(c->objective, &t->objective_kind));
    if (t->objective_kind->needs & LJ_NEED_LABELS) {
        LJ_TRY(check_labels(t));
        LJ_TRY(collect(t));
        LJ_TRY(check_classes(t));
        hash_labels(t);
    }
    c->supervised_classes = t->objective_kind->classifies ? t->classes.classes : 0;
    return LJ_OK;
}

static void say_classes(const struct lj_trainer *t)
{
    const struct lj_trainer_labels *c = &t->classes;
    const struct lj_archive_info *info = lj_archive_info(t->archive);
    int64_t fewest = c->rows[0], most = c->rows[0];
    char left_out[64] = "";
    for (int64_t k = 1; k < c->classes; k++) {
        fewest = lj_min_i64(fewest, c->rows[k]);
        most = lj_max_i64(most, c->rows[k]);
    }
    if (c->unlabelled > 0)
        snprintf(left_out, sizeof left_out, "; %lld have no label and do not train",
                 (long long)c->unlabelled);
    lj_say("labels: %s, %lld classes, %d to %d, of %lld to %lld rows each, %lld in all%s",
           info->labels, (long long)c->classes, c->label[0], c->label[c->classes - 1],
           (long long)fewest, (long long)most, (long long)info->selected, left_out);
}

int lj_trainer_find_classes(struct lj_trainer *t)
{
    LJ_TRY(lj_agree(t->comm, find_locally(t)));
    if (t->classes.unlabelled > 0)
        LJ_TRY(lj_archive_narrow(t->archive, t->comm, has_label, t->archive));
    if (t->classes.classes > 0)
        say_classes(t);
    return LJ_OK;
}

void lj_trainer_take_labels(struct lj_trainer *t)
{
    for (int64_t i = 0; i < (t->end_lane - t->first_lane) * t->n; i++) {
        int32_t label = lj_archive_label(t->archive, t->batch.draws[i].index);
        t->labels[i] = (int32_t)place_of(&t->classes, label);
    }
}
