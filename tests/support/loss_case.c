/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a global batch through the loss, lane by lane, as the trainer would. */
#include "loss_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct pass {
    struct lj_comm *comm;
    struct lj_objective *loss;
    const struct loss_batch *batch;
    float *proj;   /* (V, lane_rows, D) of one lane */
    float *dproj;  /* likewise */
    int64_t first; /* lanes [first, end) are this rank's */
    int64_t end;
};

static int64_t lanes_of(const struct loss_batch *b)
{
    return (b->samples + b->config.lane_rows - 1) / b->config.lane_rows;
}

void loss_case_rows(const struct lj_comm *comm, const struct loss_batch *batch, int64_t *first,
                    int64_t *end)
{
    lj_lanes_of_rank(lanes_of(batch), comm->size, comm->rank, first, end);
    *first = lj_min_i64(*first * batch->config.lane_rows, batch->samples);
    *end = lj_min_i64(*end * batch->config.lane_rows, batch->samples);
}

/* Copies a lane out of the batch (V, N, D), or back into it. */
static void copy_lane(const struct pass *p, int64_t lane, int64_t n, float *whole, float *proj,
                      bool back)
{
    const struct loss_batch *b = p->batch;
    int64_t first = lane * b->config.lane_rows, width = b->config.width;
    for (int64_t v = 0; v < b->config.views; v++) {
        float *rows = whole + (v * b->samples + first) * width, *own = proj + v * n * width;
        memcpy(back ? rows : own, back ? own : rows, (size_t)(n * width) * sizeof *own);
    }
}

/* Hands in this rank's lanes; with dz, takes their gradients instead. */
static void each_lane(const struct pass *p, float *dz)
{
    for (int64_t k = p->first; k < p->end; k++) {
        int64_t lane = p->batch->backwards ? p->end - 1 - (k - p->first) : k;
        int64_t n = lj_min_i64(p->batch->config.lane_rows,
                               p->batch->samples - lane * p->batch->config.lane_rows);
        int worker = (int)(lane % p->batch->config.workers);
        copy_lane(p, lane, n, (float *)p->batch->z, p->proj, false);
        struct lj_loss_lane own = {
            .worker = worker, .index = lane - p->first, .n = n, .proj = p->proj};
        if (!dz) {
            lj_objective_add(p->loss, &own);
            continue;
        }
        lj_objective_gradient(p->loss, &own, p->dproj);
        copy_lane(p, lane, n, dz, p->dproj, true);
    }
}

int loss_case_run(struct lj_comm *comm, const struct loss_batch *batch, struct lj_ledger *ledger,
                  struct loss_terms *terms, float *dz, double *slice_values)
{
    const struct lj_lejepa_config *c = &batch->config;
    size_t lane = (size_t)(c->views * c->lane_rows * c->width) * sizeof(float);
    struct pass p = {.comm = comm, .batch = batch, .proj = malloc(lane), .dproj = malloc(lane)};
    lj_lanes_of_rank(lanes_of(batch), comm->size, comm->rank, &p.first, &p.end);
    cr_assert_eq(lj_lejepa_create(&p.loss, comm, c, ledger), LJ_OK, "%s", lj_error_text());
    if (batch->slices)
        lj_lejepa_begin_with(p.loss, batch->slices);
    else
        lj_objective_begin(p.loss, 0);
    each_lane(&p, NULL);
    struct lj_step_message message = {0};
    double term[LJ_TERMS_MAX] = {0};
    int status = lj_objective_reduce(p.loss, batch->local, &message, term);
    *terms = (struct loss_terms){.total = term[LJ_LEJEPA_LOSS],
                                 .prediction = term[LJ_LEJEPA_PREDICTION],
                                 .sigreg = term[LJ_LEJEPA_SIGREG],
                                 .samples = message.samples,
                                 .nonfinite = message.nonfinite};
    if (status == LJ_OK && dz)
        each_lane(&p, dz);
    if (status == LJ_OK && slice_values)
        lj_lejepa_slice_values(p.loss, slice_values);
    lj_objective_destroy(p.loss);
    free(p.proj);
    free(p.dproj);
    return status;
}
