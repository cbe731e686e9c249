/* SPDX-License-Identifier: Apache-2.0 */
/* The self-test: the same small training on 1, 2, .. P of the ranks at hand, compared bit for
 * bit. */
#include "train/trainer.h"

#include "lejepa/runtime.h"

#include <stdio.h>
#include <string.h>

enum { STEPS = 4 };

struct outcome {
    uint64_t weights, average; /* hashes; average: where there is none, of the weights */
    double loss[STEPS];
};

/* Takes over the objective and what it reads, but for what makes it large. */
static int take_objective(struct lj_config *config, const struct lj_config *given)
{
    static const char *const beginning[] = {
        "objective",       "loss.",         "predict.",         "dino.",
        "vicreg.",         "simclr.",       "target.",          "supervised.",
        "data.unlabelled", "train.average", "optim.encoder_lr", "data.labels"};
    char text[LJ_TEXT_MAX], word[LJ_TEXT_MAX + 128];
    int count = 0;
    const struct lj_key *key = lj_config_keys(&count);
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < sizeof beginning / sizeof *beginning; k++) {
            if (strncmp(key[i].name, beginning[k], strlen(beginning[k])) != 0)
                continue;
            lj_config_value_text(given, &key[i], text, sizeof text);
            snprintf(word, sizeof word, "%s=%s", key[i].name, text);
            LJ_TRY(lj_config_assign(config, word));
        }
    return LJ_OK;
}

/* 8 lanes of 8 samples of a model small enough for a minute on any machine, every feature on. */
static int small_config(struct lj_config *config, const struct lj_config *given)
{
    static const char *const values[] = {
        "model=vit",        "model.width=48",       "model.depth=2",         "model.heads=3",
        "model.patch=7",    "model.drop_path=0.2",  "views.global=2",        "views.local=2",
        "batch.size=64",    "projector.hidden=128", "projector.out=16",      "projector.norm=batch",
        "sigreg.slices=64", "optim.lr=1e-3",        "optim.warmup_epochs=0", "guard.stall_s=0",
    };
    lj_config_defaults(config);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        LJ_TRY(lj_config_assign(config, values[i]));
    config->train_steps = STEPS;
    config->threads = given->threads;
    config->precision = given->precision;
    memcpy(config->data_archive, given->data_archive, sizeof config->data_archive);
    memcpy(config->data_images, given->data_images, sizeof config->data_images);
    memcpy(config->data_where, given->data_where, sizeof config->data_where);
    config->data_axes = given->data_axes;
    LJ_TRY(take_objective(config, given));
    config->comm_gradients = given->comm_gradients;
    config->comm_exchange = given->comm_exchange;
    config->dino_freeze_epochs = 0; /* prototypes train in these few steps, too */
    return LJ_OK;
}

static int train_small(struct lj_comm *comm, const struct lj_config *config,
                       struct lj_archive *archive, struct outcome *outcome)
{
    struct lj_trainer *trainer = NULL;
    LJ_TRY(lj_trainer_create(&trainer, comm, config, archive, NULL));
    int status = LJ_OK;
    for (int step = 0; status == LJ_OK && step < STEPS; step++) {
        struct lj_step_report report = {0};
        status = lj_trainer_step(trainer, step, false, &report);
        if (status == LJ_OK && report.nonfinite > 0)
            status = lj_fail(LJ_ERR_NUMERIC, "selftest: step %d is not finite", step);
        outcome->loss[step] = report.term[0];
    }
    outcome->weights = lj_trainer_hash(trainer);
    lj_trainer_swap_average(trainer);
    outcome->average = lj_trainer_hash(trainer);
    lj_trainer_destroy(trainer);
    return status;
}

/* Trains on the first `size` ranks; the outcome of its rank 0 reaches everybody. */
static int train_on(struct lj_comm *comm, int size, const struct lj_config *config,
                    struct lj_archive *archive, struct outcome *outcome)
{
    struct lj_comm *part = NULL;
    LJ_TRY(lj_comm_first(comm, size, &part));
    int status = part ? train_small(part, config, archive, outcome) : LJ_OK;
    lj_comm_destroy(part);
    LJ_TRY(lj_agree(comm, status));
    lj_broadcast(comm, outcome, sizeof *outcome, 0);
    return LJ_OK;
}

/* 1, 2, 3, 4, then powers of two, and at last all ranks. */
static int next_size(int size, int all)
{
    int next = size < 4 ? size + 1 : 2 * size;
    return size < all && next > all ? all : next;
}

static int compare_sizes(struct lj_comm *comm, const struct lj_config *config,
                         struct lj_archive *archive)
{
    struct outcome first, now;
    int differ = 0;
    for (int size = 1; size <= comm->size; size = next_size(size, comm->size)) {
        memset(&now, 0, sizeof now);
        LJ_TRY(train_on(comm, size, config, archive, &now));
        if (size == 1)
            first = now;
        bool same = memcmp(&first, &now, sizeof now) == 0;
        differ += !same;
        lj_say("ranks %3d: weights %016llx  loss %.17g  %s", size, (unsigned long long)now.weights,
               now.loss[STEPS - 1], same ? "same bits" : "DIFFERENT");
    }
    if (differ)
        return lj_fail(LJ_ERR_BUG,
                       "selftest: %d rank counts gave other bits than one rank; please "
                       "report this with the lines above",
                       differ);
    lj_say("selftest passed: the same bits on 1 to %d ranks", comm->size);
    return LJ_OK;
}

/* With labels only where the objective needs them. Collective. */
static int open_archive(struct lj_comm *comm, const struct lj_config *config,
                        struct lj_archive **archive)
{
    struct lj_archive_options options = {.files = config->data_archive,
                                         .images = config->data_images,
                                         .labels = config->data_labels,
                                         .unlabelled = &config->data_unlabelled,
                                         .skip_labels = !lj_trainer_needs_labels(config),
                                         .where = config->data_where,
                                         .axes = config->data_axes,
                                         .stretch = LJ_DATA_STRETCH_NONE,
                                         .nan = LJ_DATA_NAN_ERROR};
    LJ_TRY(lj_archive_open(archive, comm, &options));
    return lj_trainer_leave_labelled(*archive, comm, config);
}

static void say_what(const struct lj_comm *comm, const struct lj_config *config)
{
    char average[64] = "";
    if (config->train_average > 0)
        snprintf(average, sizeof average, " train.average=%g", config->train_average);
    lj_say("selftest: objective=%s%s, %d steps of a small model", config->objective, average,
           STEPS);
    if (comm->size == 1)
        lj_say("selftest on one rank compares nothing; launch it as mpirun -n 4 lejepa_mpi "
               "selftest");
}

int lj_selftest(struct lj_comm *comm, const struct lj_config *given)
{
    const char *isa = "";
    struct lj_archive *archive = NULL;
    struct lj_config *config = lj_alloc(sizeof *config, "selftest");
    int status = config ? small_config(config, given) : LJ_ERR_RESOURCE;
    status = lj_agree(comm, status);
    if (status == LJ_OK)
        status = lj_runtime_agree(comm, &isa);
    if (status == LJ_OK)
        status = lj_agree(comm, lj_runtime_resolve_precision(config));
    if (status == LJ_OK) {
        say_what(comm, config);
        status = open_archive(comm, config, &archive);
    }
    if (status == LJ_OK)
        status = compare_sizes(comm, config, archive);
    lj_archive_close(archive);
    lj_free(config);
    return status;
}
