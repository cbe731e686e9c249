/* SPDX-License-Identifier: Apache-2.0 */
/* Private to train: everything a step touches, all of it allocated before the first step
 * (but for what MPI, HDF5 and oneDNN's packing gemm take inside a call). */
#ifndef LEJEPA_TRAINER_H
#define LEJEPA_TRAINER_H

#include "optim/optim.h"
#include "train/train.h"

#include <jansson.h>

/* What a checkpoint holds of a training, beside what the objective carries on. */
enum {
    LJ_SNAPSHOT_WEIGHTS,
    LJ_SNAPSHOT_MOMENT1,
    LJ_SNAPSHOT_MOMENT2,
    LJ_SNAPSHOT_AVERAGE, /* only where the trainer keeps one */
    LJ_SNAPSHOT_ARRAYS
};

struct lj_checkpoint_header; /* of store */
struct lj_checkpoint;        /* likewise */
struct lj_writer;            /* of writer.c */
struct lj_weights_source;    /* likewise */

struct lj_trainer {
    struct lj_config config;
    struct lj_comm *comm;
    struct lj_archive *archive; /* borrowed */
    struct lj_model *model;
    struct lj_ledger ledger;

    int64_t lanes, first_lane, end_lane; /* G; this rank's */
    int64_t n;                           /* samples of a lane */
    bool failed;                         /* this rank has no batch: it only joins collectives */
    int64_t views[2];                    /* global, local */
    int workers;                         /* lanes worked on at once: OpenMP threads */
    bool by_lane; /* memory.recompute: lanes, of which this rank has more than workers */

    struct lj_plan *plan[LJ_PASS_KINDS]; /* NULL: this run has no such pass */
    float **arena[LJ_PASS_KINDS];        /* (arenas) memory of a plan: one for each of my lanes, for
                                            each worker where the encoder runs lane by lane */
    int arenas[LJ_PASS_KINDS];
    /* By memory.recompute: bytes that activations and sums of gradients set aside take on this rank
     * with that setting; 0: none, or the encoder cannot be trained so. */
    int64_t recompute_bytes[LJ_MEMORY_RECOMPUTE_LANES + 1];
    void **scratch;                /* (workers) memory that plans and view making use in between */
    struct lj_layer_clock **clock; /* (workers) of (kinds): where the passes' time went */
    /* Batch statistics of the global batch; a node is a layer's place in the network. */
    int64_t **sync_sums; /* (workers) of the node at work: sums of its two passes, nonfinite ones */
    int64_t sync_count;  /* the most integers of a node's sums; 0: no node has any */
    int64_t sync_stride; /* from the sums of the node's global views to those of local ones */
    int64_t sync_bytes;  /* of one node's allreduce, mean over all such nodes */
    struct lj_ledger_entry *sync_ledger;
    float statistic_share[LJ_PASS_KINDS]; /* of struct lj_pass */

    struct lj_view_recipe recipe[2]; /* global, local */
    float mean[LJ_CHANNELS_MAX], std[LJ_CHANNELS_MAX];
    bool has_range; /* root: least and most are known, which older checkpoints do not say */
    float least[LJ_CHANNELS_MAX], most[LJ_CHANNELS_MAX]; /* pixels of training */
    struct lj_loader *loader;                            /* NULL on ranks without lanes */
    struct lj_batch batch;
    struct lj_trainer_labels classes; /* empty unless the objective needs labels */
    int32_t *labels;                  /* (my lanes, n) class of each sample; NULL likewise */
    int64_t *redraws;          /* (my lanes) crops of the step's views that were drawn again */
    struct lj_redraws redrawn; /* of them, on this rank */
    struct lj_ledger_entry *redraws_ledger; /* NULL: views.redraw is 0 */

    float *weights; /* all, or my shards: struct lj_shard */
    bool gathers;   /* new weights are on their way: lj_pass_weights completes them */
    void *packed;   /* their packed forms, made after every change; NULL where none pays */
    bool bf16;      /* precision: bf16 */
    struct lj_objective *objective;
    const struct lj_objective_kind *objective_kind; /* its row of the table */
    struct lj_gradsync *gradsync;
    struct lj_optim *optim;
    float *average; /* running average of the weights, (shard); NULL: lj_averages says no */
    /* Of an objective that compares with projections by that average, on ranks with lanes: */
    float *target;       /* the average, laid out like weights */
    void *target_packed; /* its packed forms; NULL where none pays */
    double target_decay; /* of the update that is on its way */
    float *averaged;     /* (my lanes) (global views, n, D) the target's projections, or cosines */
    bool by_target;      /* the passes at work are the target's */
    struct lj_schedule schedule;
    double epoch_steps;                  /* may be a fraction */
    int64_t steps;                       /* of the whole run */
    int64_t held_steps;                  /* the first ones, in which prototypes are held: as
                                            settings say, or as a release before found */
    int64_t first_step;                  /* of this process: 0, or the one after the checkpoint's */
    int64_t step;                        /* being worked on */
    float *snapshot[LJ_SNAPSHOT_ARRAYS]; /* root: whole arrays of a checkpoint that is written or
                                            read; elsewhere copies of my shards */
    struct lj_state_array snapshot_state[LJ_STATE_ARRAYS_MAX]; /* root: likewise */
    char *snapshot_config, *snapshot_provenance;               /* its texts */
    struct lj_writer *writer;                                  /* root; else NULL */
    bool writes;     /* a checkpoint was begun, and not yet waited for; on all ranks */
    json_t *changes; /* root: array of what continuations changed, for provenance */
    json_t *source;  /* root: the file of the first weights; NULL: they were drawn */
};

static inline int64_t lj_my_lanes(const struct lj_trainer *t)
{
    return t->failed ? 0 : t->end_lane - t->first_lane;
}

/* An encoder that does not learn is what evaluation and export take it for, running statistics
 * too. */
static inline bool lj_encoder_is_frozen(const struct lj_trainer *t)
{
    return t->config.optim_encoder_lr == 0;
}

/* This rank's shard as optim takes it. */
static inline struct lj_shard_layout lj_trainer_shards(const struct lj_trainer *t)
{
    const struct lj_shard *shard = lj_gradsync_shard(t->gradsync);
    return (struct lj_shard_layout){.buckets = shard->buckets,
                                    .first = shard->first,
                                    .count = shard->count,
                                    .offset = shard->shard_offset,
                                    .weights = shard->weights_first,
                                    .elements = shard->elements};
}

static inline int lj_encoder_buckets(const struct lj_trainer *t)
{
    int buckets = 0;
    while (buckets < t->model->params.buckets && t->model->segment[buckets].net == LJ_NET_ENCODER)
        buckets++;
    return buckets;
}

/* Those of the networks in front of the prototypes: all, where there are none. */
static inline int lj_buckets_without_prototypes(const struct lj_trainer *t)
{
    int buckets = t->model->params.buckets;
    while (t->model->config.prototypes > 0 && t->model->segment[buckets - 1].net == LJ_NET_HEAD)
        buckets--;
    return buckets;
}

static inline int lj_net_of(int part)
{
    static const int net[LJ_PASS_KINDS] = {
        [LJ_PASS_GLOBAL] = LJ_NET_ENCODER,      [LJ_PASS_LOCAL] = LJ_NET_ENCODER,
        [LJ_PASS_PROJECTOR] = LJ_NET_PROJECTOR, [LJ_PASS_HEAD] = LJ_NET_HEAD,
        [LJ_PASS_TARGET] = LJ_NET_PROJECTOR,    [LJ_PASS_TARGET_HEAD] = LJ_NET_HEAD};
    return net[part];
}

/* Is it a pass of the target alone? */
static inline bool lj_is_of_target(int part)
{
    return part == LJ_PASS_TARGET || part == LJ_PASS_TARGET_HEAD;
}

/* Does this run have the pass `part`, and does it go through `net`, now that the passes at work are
 * the target's or are not? The encoder has one pass for each size of views, the projector one for
 * all views. */
static inline bool lj_passes_net(const struct lj_trainer *t, int part, int net)
{
    bool of_target = part == LJ_PASS_GLOBAL || lj_is_of_target(part);
    bool at_work = t->by_target ? of_target : !lj_is_of_target(part);
    return t->plan[part] && at_work && lj_net_of(part) == net;
}

/* The passes whose outputs the objective sees: of the trained network, and of the target. */
static inline enum lj_pass_kind lj_last_part(const struct lj_trainer *t)
{
    return t->plan[LJ_PASS_HEAD] ? LJ_PASS_HEAD : LJ_PASS_PROJECTOR;
}

static inline enum lj_pass_kind lj_last_target_part(const struct lj_trainer *t)
{
    return t->plan[LJ_PASS_TARGET_HEAD] ? LJ_PASS_TARGET_HEAD : LJ_PASS_TARGET;
}

/* Floats of what the objective sees of a lane by the target. */
static inline int64_t lj_averaged_floats(const struct lj_trainer *t)
{
    return t->views[0] * t->n * lj_model_width(t->model, lj_net_of((int)lj_last_target_part(t)));
}

/* Does the objective compare with projections by an average of the weights? */
static inline bool lj_has_target(const struct lj_trainer *t)
{
    return t->objective_kind && (t->objective_kind->needs & LJ_NEED_AVERAGE);
}

static inline bool lj_averages(const struct lj_trainer *t)
{
    return t->config.train_average > 0 || lj_has_target(t);
}

static inline int64_t lj_views_per_sample(const struct lj_trainer *t)
{
    return t->views[0] + t->views[1];
}

/* One lane's run through a part; k counts my lanes. */
struct lj_pass lj_trainer_pass(const struct lj_trainer *t, enum lj_pass_kind part, int64_t k,
                               int worker);

/* passes.c: the parts of a step that run lane by lane. */

/* The views of all my lanes, straight into the encoder's inputs. Where the encoder runs lane by
 * lane, a worker has room for one lane's only: then nothing happens here, and lj_pass_encode makes
 * them, as backward does once more for lanes that no worker has any more. */
void lj_pass_views(struct lj_trainer *t);
/* The encoder on all views of my lanes; embeddings become the projector's input. Then the
 * projector. Where a net has layers with statistics of the global batch, it runs from one such
 * layer to the next over all lanes: collective then, one small allreduce for each such layer here,
 * and one in lj_pass_backward. Adds the number of values out of range to report->nonfinite. */
void lj_pass_encode(struct lj_trainer *t, struct lj_step_report *report);
void lj_pass_project(struct lj_trainer *t, struct lj_step_report *report);
/* The target's projections of my lanes' global views, where the objective asks for them. Collective
 * as lj_pass_encode and lj_pass_project are. */
void lj_pass_target(struct lj_trainer *t, struct lj_step_report *report);
/* My lanes' shares of the objective's sums; then, after the reduction, the gradient at the
 * projections. */
void lj_pass_loss(struct lj_trainer *t);
void lj_pass_loss_gradient(struct lj_trainer *t);
/* Backward of projector and encoder; finished buckets start moving. Collective. */
void lj_pass_backward(struct lj_trainer *t, struct lj_step_report *report);

/* update.c: waits for the totals of all buckets, and adds to report->nonfinite how many elements
 * of any lane were not finite; clips, and applies AdamW to my shard; the new weights start moving
 * to everybody. Collective. */
void lj_pass_finish_gradient(struct lj_trainer *t, struct lj_step_report *report);
void lj_pass_update(struct lj_trainer *t, bool want_norm, struct lj_step_report *report);
void lj_pass_gather(struct lj_trainer *t);
/* Completes the new weights, if any are on their way, and packs them: before anything reads
 * t->weights or t->packed. Collective in effect: it waits for the others. */
void lj_pass_weights(struct lj_trainer *t);

/* labels.c: leaves the rows of the archive that have a label, and numbers the classes that they
 * have, if the objective needs labels; then supervised.classes is their number. Collective.
 * Errors: LJ_ERR_DATA (no labels, fewer than two classes, or too many), LJ_ERR_CONFIG; agreed. */
int lj_trainer_find_classes(struct lj_trainer *t) LJ_MUST_USE;
/* The labels of the batch become classes, in t->labels. Local. */
void lj_trainer_take_labels(struct lj_trainer *t);

/* batch.c: waits for the batch of t->step (local); then the small allreduce of the objective's
 * sums and of the step's message (collective), and what else the objective exchanges: terms of the
 * loss, and who failed, asks to stop or to save. What was nonfinite or out of range is added to
 * report->nonfinite. */
int lj_trainer_next_batch(struct lj_trainer *t);
int lj_trainer_agree(struct lj_trainer *t, int local, struct lj_step_report *report);

/* update.c: makes t->packed follow the weights, and the target's its own. Local. */
void lj_trainer_pack_weights(struct lj_trainer *t);

/* memory.c */
int lj_trainer_plan(struct lj_trainer *t);
void lj_trainer_release(struct lj_trainer *t);

/* weights.c: every rank draws its shards; and: the root's weights reach everybody's shards, and
 * from there whoever keeps all. Collective. */
void lj_trainer_draw_weights(struct lj_trainer *t);
void lj_trainer_spread_weights(struct lj_trainer *t);
/* average.c: takes room for the running average, if there shall be one; and: it begins as the
 * weights are. Local. */
int lj_trainer_make_average(struct lj_trainer *t) LJ_MUST_USE;
void lj_trainer_begin_average(struct lj_trainer *t);
/* The weights of this step's update join it; and, when they have all arrived, the target's copy of
 * it. Local. */
void lj_trainer_update_average(struct lj_trainer *t);
void lj_trainer_update_target(struct lj_trainer *t);
/* weights.c: the target's copy becomes what the average is. Collective. */
void lj_trainer_fill_target(struct lj_trainer *t);

/* checkpoint.c: takes (frees) room for what a checkpoint holds; freeing waits for the
 * writer. Local. */
int lj_trainer_make_snapshot(struct lj_trainer *t) LJ_MUST_USE;
void lj_trainer_free_snapshot(struct lj_trainer *t);
/* Arrays of a snapshot. Local. */
int lj_trainer_snapshot_arrays(const struct lj_trainer *t);
/* Between two steps: the root starts to write a snapshot that is whole by now; fails if its writer
 * has failed. Local. Errors: those of lj_checkpoint_write. */
int lj_trainer_write_on(struct lj_trainer *t) LJ_MUST_USE;

/* writer.c: the thread that writes checkpoints. All of it is local, for the root's main thread. */
int lj_writer_create(struct lj_writer **writer) LJ_MUST_USE;
void lj_writer_destroy(struct lj_writer *writer); /* waits for the thread; accepts NULL */
/* Says what to write next; the one before was waited for. What the checkpoint points to is borrowed
 * until lj_writer_wait. Errors: LJ_ERR_RESOURCE. */
int lj_writer_prepare(struct lj_writer *writer, const char *dir,
                      const struct lj_checkpoint *checkpoint, int keep) LJ_MUST_USE;
/* Starts to write it, unless it was started. Errors: LJ_ERR_RESOURCE. */
int lj_writer_start(struct lj_writer *writer) LJ_MUST_USE;
/* The failure of the thread, if it has failed by now; then lj_writer_wait does not tell it again.
 * Errors: those of lj_checkpoint_write. */
int lj_writer_failure(struct lj_writer *writer) LJ_MUST_USE;
/* Waits for the thread; passes its progress on as the main thread's. Errors: likewise. */
int lj_writer_wait(struct lj_writer *writer) LJ_MUST_USE;
/* How long the last checkpoint took; 0: it is not yet written, or failed. */
double lj_writer_seconds(struct lj_writer *writer);

/* provenance.c: root only. Notes where the first weights come from. Then what goes into
 * checkpoints: an object owned by the caller, and its text (lj_free); NULL: LJ_ERR_RESOURCE. */
int lj_trainer_note_source(struct lj_trainer *t,
                           const struct lj_weights_source *source) LJ_MUST_USE;
json_t *lj_trainer_provenance(const struct lj_trainer *t);
char *lj_trainer_provenance_text(const struct lj_trainer *t);

/* continuation.c: refuses names in resume.change that are no settings. Local. Then: may the run
 * continue from this checkpoint? Warns of allowed differences and adds them to t->changes. Rank 0.
 *   limits  in/out  of the stretch: become those of the checkpoint unless the stretch changes
 * Errors: LJ_ERR_CONFIG, naming what differs. */
int lj_trainer_check_allowed(const struct lj_config *config) LJ_MUST_USE;
int lj_trainer_check_continuation(struct lj_trainer *t, const struct lj_checkpoint_header *header,
                                  const char *path, struct lj_limits *limits) LJ_MUST_USE;

/* resume.c: weights and moments from a checkpoint, or the newest good one of a directory; each rank
 * receives what it keeps. Collective. */
int lj_trainer_resume(struct lj_trainer *t, const char *where);

#endif
