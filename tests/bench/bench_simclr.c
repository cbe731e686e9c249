/* SPDX-License-Identifier: Apache-2.0 */
/* SimCLR forward and backward on one rank and one thread, against the matmuls it contains: all
 * cosines (R, D) (D, R), once for the row sums and once more for the gradient, and the gradient
 * (R, R) (R, D). The reference makes each of them in strips of a tile's rows. */
#include "bench.h"

#include "kernels/kernels.h"
#include "loss/loss.h"

#include <stdio.h>

enum { VIEWS = 2, LANE = 8, STRIP = 64 };

struct simclr_case {
    int64_t samples; /* N */
    int64_t width;   /* D */
    struct lj_objective *loss;
    float *proj;    /* (lanes, V, n, D), the rows of the batch */
    float *dproj;   /* likewise */
    float *cosines; /* (STRIP, R) */
};

static void forward_backward(void *data)
{
    struct simclr_case *c = data;
    struct lj_step_message message = {0};
    double term[LJ_TERMS_MAX];
    int64_t floats = VIEWS * LANE * c->width;
    lj_objective_begin(c->loss, 0);
    for (int64_t k = 0; k < c->samples / LANE; k++) {
        struct lj_loss_lane lane = {.index = k, .n = LANE, .proj = c->proj + k * floats};
        lj_objective_add(c->loss, &lane);
    }
    bench_expect(lj_objective_reduce(c->loss, LJ_OK, &message, term));
    for (int64_t k = 0; k < c->samples / LANE; k++) {
        struct lj_loss_lane lane = {.index = k, .n = LANE, .proj = c->proj + k * floats};
        lj_objective_gradient(c->loss, &lane, c->dproj + k * floats);
    }
}

static void three_matmuls(void *data)
{
    struct simclr_case *c = data;
    int64_t rows = VIEWS * c->samples, D = c->width;
    struct lj_matmul cosines = {.batch = 1, .m = STRIP, .n = rows, .k = D, .transpose_b = true};
    struct lj_matmul gradient = {.batch = 1, .m = STRIP, .n = D, .k = rows};
    for (int64_t r = 0; r < rows; r += STRIP) {
        lj_matmul(&cosines, c->proj + r * D, c->proj, NULL, c->cosines);
        lj_matmul(&cosines, c->proj + r * D, c->proj, NULL, c->cosines);
        lj_matmul(&gradient, c->cosines, c->proj, NULL, c->dproj + r * D);
    }
}

static void measure(int64_t samples, int64_t width, struct lj_comm *comm)
{
    static struct lj_config config;
    static struct bench_sample sample, matmuls;
    struct simclr_case c = {.samples = samples, .width = width};
    struct lj_objective_shape objective = {.views = VIEWS,
                                           .global_views = VIEWS,
                                           .width = width,
                                           .lanes = samples / LANE,
                                           .my_lanes = samples / LANE,
                                           .lane_rows = LANE,
                                           .workers = 1};
    int64_t rows = VIEWS * samples;
    char shape[96];
    lj_config_defaults(&config);
    bench_expect(
        lj_objective_create(&c.loss, comm, &lj_objective_simclr, &config, &objective, NULL));
    c.proj = lj_alloc_array(rows * width, sizeof(float), "bench");
    c.dproj = lj_alloc_array(rows * width, sizeof(float), "bench");
    c.cosines = lj_alloc_array(STRIP * rows, sizeof(float), "bench");
    bench_fill(c.proj, rows * width);
    bench_run(&matmuls, 1, three_matmuls, &c);
    bench_run(&sample, 1, forward_backward, &c);
    snprintf(shape, sizeof shape, "N V=%lld D=%lld", (long long)rows, (long long)width);
    struct bench_line line = {.name = "simclr",
                              .shape = shape,
                              .unit = "ms",
                              .reference = bench_time(&matmuls, 1e3).median,
                              .against = "its three matmuls by lj_matmul"};
    bench_print(&line, bench_time(&sample, 1e3));
    lj_objective_destroy(c.loss);
    lj_free(c.proj);
    lj_free(c.dproj);
    lj_free(c.cosines);
}

int main(void)
{
    struct lj_comm *comm = NULL;
    bench_expect(lj_comm_start(&comm));
    int64_t D = bench_size(128, 8);
    measure(bench_size(256, 64), D, comm);
    measure(bench_size(2048, 64), D, comm);
    lj_comm_finish(comm);
    return 0;
}
