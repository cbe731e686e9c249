/* SPDX-License-Identifier: Apache-2.0 */
/* SIGReg forward and backward on one rank and one thread, against the two matmuls it contains:
 * projections on slices (N, D) (D, M), and their gradient (N, M) (M, D). The slices are given;
 * drawing them, which is done once a step whatever the number of rows, has a line of its own. */
#include "bench.h"

#include "kernels/kernels.h"
#include "loss/loss.h"

#include <stdio.h>

struct sigreg_case {
    int64_t rows;   /* N */
    int64_t width;  /* D */
    int64_t slices; /* M */
    struct lj_objective *loss;
    float *proj;      /* (N, D) */
    float *dproj;     /* (N, D) */
    float *slice;     /* (D, M) */
    float *on_slices; /* (N, M) */
};

static void forward_backward(void *data)
{
    struct sigreg_case *c = data;
    struct lj_loss_lane lane = {.n = c->rows, .proj = c->proj};
    struct lj_step_message message = {0};
    double term[LJ_TERMS_MAX];
    lj_lejepa_begin_with(c->loss, c->slice);
    lj_objective_add(c->loss, &lane);
    bench_expect(lj_objective_reduce(c->loss, LJ_OK, &message, term));
    lj_objective_gradient(c->loss, &lane, c->dproj);
}

static void draw_slices(void *data)
{
    lj_objective_begin(((struct sigreg_case *)data)->loss, 0);
}

static void two_matmuls(void *data)
{
    struct sigreg_case *c = data;
    lj_gemm(false, false, c->rows, c->slices, c->width, 1, c->proj, c->width, c->slice, c->slices,
            0, c->on_slices, c->slices);
    lj_gemm(false, true, c->rows, c->width, c->slices, 1, c->on_slices, c->slices, c->slice,
            c->slices, 0, c->dproj, c->width);
}

static struct lj_lejepa_config config_of(const struct sigreg_case *c, enum lj_sigreg_grid grid)
{
    return (struct lj_lejepa_config){.views = 1,
                                     .centre_views = 1,
                                     .width = c->width,
                                     .slices = c->slices,
                                     .grid = grid,
                                     .lambda = 0.05,
                                     .workers = 1,
                                     .lanes = 1,
                                     .lane_rows = c->rows};
}

static void allocate(struct sigreg_case *c)
{
    c->proj = lj_alloc_array(c->rows * c->width, sizeof(float), "bench");
    c->dproj = lj_alloc_array(c->rows * c->width, sizeof(float), "bench");
    c->slice = lj_alloc_array(c->width * c->slices, sizeof(float), "bench");
    c->on_slices = lj_alloc_array(c->rows * c->slices, sizeof(float), "bench");
    bench_fill(c->proj, c->rows * c->width);
    bench_fill(c->slice, c->width * c->slices);
}

static void release(struct sigreg_case *c)
{
    lj_free(c->proj);
    lj_free(c->dproj);
    lj_free(c->slice);
    lj_free(c->on_slices);
}

/* Measures forward and backward, and the two matmuls; returns the milliseconds of the former. */
static double measure(int64_t rows, int64_t width, int64_t slices, struct lj_comm *comm,
                      enum lj_sigreg_grid grid)
{
    struct sigreg_case c = {.rows = rows, .width = width, .slices = slices};
    struct lj_lejepa_config config = config_of(&c, grid);
    config.cached_lanes = lj_lejepa_cached_lanes(&config, 1); /* as in training */
    static struct bench_sample sample, matmuls;
    char shape[96];
    allocate(&c);
    bench_expect(lj_lejepa_create(&c.loss, comm, &config, NULL));
    bench_run(&matmuls, 1, two_matmuls, &c);
    bench_run(&sample, 2, forward_backward, &c);
    snprintf(shape, sizeof shape, "N=%lld D=%lld M=%lld grid %s", (long long)rows, (long long)width,
             (long long)slices, lj_sigreg_grid_word(grid));
    struct bench_line line = {.name = "sigreg",
                              .shape = shape,
                              .unit = "ms",
                              .reference = bench_time(&matmuls, 1e3).median,
                              .against = "its two matmuls by lj_gemm",
                              .target = 2.2};
    struct bench_result result = bench_time(&sample, 1e3);
    bench_print(&line, result);
    lj_objective_destroy(c.loss);
    release(&c);
    return result.median;
}

/* Prints the time of a case that is larger by a factor, against the first case's
 * time by that factor. */
static void print_growth(const char *name, double larger_ms, double times, double small_ms)
{
    struct bench_line line = {.name = name,
                              .shape = "grid a",
                              .unit = "ms",
                              .reference = times * small_ms,
                              .against = "the first case in proportion",
                              .target = 1.1};
    bench_print(&line, (struct bench_result){
                           .median = larger_ms, .p10 = larger_ms, .p90 = larger_ms, .busy = 1});
}

static void measure_drawing(int64_t width, int64_t slices, struct lj_comm *comm, double sigreg_ms)
{
    struct sigreg_case c = {.rows = 1, .width = width, .slices = slices};
    struct lj_lejepa_config config = config_of(&c, LJ_SIGREG_GRID_A);
    static struct bench_sample sample;
    char shape[96];
    bench_expect(lj_lejepa_create(&c.loss, comm, &config, NULL));
    bench_run(&sample, 1, draw_slices, &c);
    snprintf(shape, sizeof shape, "D=%lld M=%lld", (long long)width, (long long)slices);
    struct bench_line line = {.name = "sigreg: drawing the slices",
                              .shape = shape,
                              .unit = "ms",
                              .reference = sigreg_ms,
                              .against = "sigreg of the first case"};
    bench_print(&line, bench_time(&sample, 1e3));
    lj_objective_destroy(c.loss);
}

int main(void)
{
    int64_t N = bench_size(512, 64), D = bench_size(64, 8), M = bench_size(1024, 32);
    struct lj_comm *comm = NULL;
    bench_expect(lj_comm_start(&comm));
    double first = measure(N, D, M, comm, LJ_SIGREG_GRID_A);
    measure(N, D, M, comm, LJ_SIGREG_GRID_B);
    measure_drawing(D, M, comm, first);
    print_growth("sigreg: growth, N x 4", measure(4 * N, D, M, comm, LJ_SIGREG_GRID_A), 4, first);
    print_growth("sigreg: growth, N x 16", measure(16 * N, D, M, comm, LJ_SIGREG_GRID_A), 16,
                 first);
    print_growth("sigreg: growth, M x 4", measure(N, D, 4 * M, comm, LJ_SIGREG_GRID_A), 4, first);
    print_growth("sigreg: growth, D x 4", measure(N, 4 * D, M, comm, LJ_SIGREG_GRID_A), 4, first);
    lj_comm_finish(comm);
    return 0;
}
