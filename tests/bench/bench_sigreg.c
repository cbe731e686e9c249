/* SPDX-License-Identifier: Apache-2.0 */
/* SIGReg forward and backward on one rank and one thread, against its two products: projections on
 * slices (N, D) (D, M), and their gradient back (N, M) (M, D). The slices are given; drawing them, once a
 * step however many rows there are, has a line of its own. */
#include "bench.h"

#include "lejepa/kernels.h"
#include "lejepa/loss.h"

#include <stdio.h>

struct sigreg_case {
    int64_t rows, width, slices;
    struct lj_lejepa *loss;
    float *proj, *dproj, *slice, *on_slices; /* (N, D) (N, D) (D, M) (N, M) */
};

static void forward_backward(void *data)
{
    struct sigreg_case *c = data;
    struct lj_lejepa_terms terms = {0};
    lj_lejepa_begin_with(c->loss, c->slice);
    lj_lejepa_add(c->loss, 0, c->proj, c->rows);
    bench_expect(lj_lejepa_reduce(c->loss, LJ_OK, &terms));
    lj_lejepa_gradient(c->loss, 0, c->proj, c->rows, c->dproj);
}

static void draw_slices(void *data)
{
    lj_lejepa_begin(((struct sigreg_case *)data)->loss, 0);
}

static void two_products(void *data)
{
    struct sigreg_case *c = data;
    lj_gemm(false, false, c->rows, c->slices, c->width, 1, c->proj, c->width, c->slice, c->slices,
            0, c->on_slices, c->slices);
    lj_gemm(false, true, c->rows, c->width, c->slices, 1, c->on_slices, c->slices, c->slice,
            c->slices, 0, c->dproj, c->width);
}

static void measure(struct sigreg_case *c, struct lj_comm *comm, char grid, double products_ms)
{
    struct lj_lejepa_config config = {.views = 1,
                                      .centre_views = 1,
                                      .width = c->width,
                                      .slices = c->slices,
                                      .grid = grid,
                                      .lambda = 0.05,
                                      .slots = 1,
                                      .lane_rows = c->rows};
    static struct bench_sample sample;
    char shape[96];
    bench_expect(lj_lejepa_create(&c->loss, comm, &config, NULL));
    bench_run(&sample, 4, forward_backward, c);
    snprintf(shape, sizeof shape, "N=%lld D=%lld M=%lld grid %c", (long long)c->rows,
             (long long)c->width, (long long)c->slices, grid);
    struct bench_line line = {.name = "sigreg",
                              .shape = shape,
                              .unit = "ms",
                              .reference = products_ms,
                              .against = "its two products by lj_gemm"};
    bench_print(&line, bench_time(&sample, 1e3));
    bench_run(&sample, 1, draw_slices, c);
    line.name = "sigreg: drawing the slices";
    bench_print(&line, bench_time(&sample, 1e3));
    lj_lejepa_destroy(c->loss);
}

int main(void)
{
    struct sigreg_case c = {
        .rows = bench_size(512, 64), .width = bench_size(64, 8), .slices = bench_size(1024, 32)};
    static struct bench_sample products;
    struct lj_comm *comm = NULL;
    bench_expect(lj_comm_start(&comm));
    c.proj = lj_alloc_array(c.rows * c.width, sizeof(float), "bench");
    c.dproj = lj_alloc_array(c.rows * c.width, sizeof(float), "bench");
    c.slice = lj_alloc_array(c.width * c.slices, sizeof(float), "bench");
    c.on_slices = lj_alloc_array(c.rows * c.slices, sizeof(float), "bench");
    bench_fill(c.proj, c.rows * c.width);
    bench_fill(c.slice, c.width * c.slices);
    bench_run(&products, 2, two_products, &c);
    double products_ms = bench_time(&products, 1e3).median;
    measure(&c, comm, 'a', products_ms);
    measure(&c, comm, 'b', products_ms);
    lj_free(c.proj);
    lj_free(c.dproj);
    lj_free(c.slice);
    lj_free(c.on_slices);
    lj_comm_finish(comm);
    return 0;
}
