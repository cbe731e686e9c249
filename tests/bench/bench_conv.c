/* SPDX-License-Identifier: Apache-2.0 */
/* The convolutions of ResNet-18 at 64 pixels with a stem that does not shrink the image, in each
 * pass: as the layers run them, on maps channels last with packed weights, against oneDNN in
 * whatever layouts it prefers for maps and weights, against a matmul of unfolded windows (the time
 * to unfold them included), and against the best matmul of the run; then bf16 against float32.
 * LJ_ISA=avx2 gives the figures of another level. */
#include "bench.h"

#include "kernels/gemm/backends.h"
#include "kernels/gemm/onednn_api.h"

#include <stdio.h>
#include <string.h>

enum { IMAGES = 8, MAP_MAX = IMAGES * 64 * 64 * 128, WEIGHTS_MAX = 512 * 512 * 9 };
enum { ROWS_MAX = 64 * 64 * 64 * 9 }; /* unfolded windows of one image */

static const char *const pass_name[] = {"forward", "dX", "dW"};

/* A pass of a convolution and arrays for it. */
struct work {
    struct lj_convolution convolution;
    float *x, *y, *w, *rows;
    lj_bf16 *bf16_x, *bf16_y;
    void *packed;
    dnnl_primitive_t blocked; /* in oneDNN's own layouts */
    dnnl_exec_arg_t arguments[4];
    dnnl_stream_t stream;
};

static double gigaflop(const struct lj_convolution *p)
{
    return 2e-9 * (double)(p->images * lj_convolution_height(p) * lj_convolution_width(p)) *
           (double)(p->out * p->channels * p->kernel * p->kernel);
}

/* GFLOP/s. */
static struct bench_result rate(struct work *w, void (*work)(void *))
{
    static struct bench_sample sample;
    bench_run(&sample, 0.08, work, w);
    return bench_rate(&sample, gigaflop(&w->convolution));
}

/* ---- as the layers run them -------------------------------------------------------------- */

static void run(const struct work *w, const void *x, const void *y)
{
    const struct lj_convolution *p = &w->convolution;
    if (p->pass == LJ_CONVOLUTION_FORWARD)
        lj_convolve(p, x, w->packed, NULL, (void *)y);
    else if (p->pass == LJ_CONVOLUTION_INPUT_GRADIENT)
        lj_convolve(p, y, w->packed, NULL, (void *)x);
    else
        lj_convolve(p, x, y, NULL, w->w);
}

static void channels_last(void *data)
{
    const struct work *w = data;
    run(w, w->x, w->y);
}

static void channels_last_bf16(void *data)
{
    const struct work *w = data;
    run(w, w->bf16_x, w->bf16_y);
}

static void pack(struct work *w)
{
    lj_free(w->packed);
    w->packed = NULL;
    if (w->convolution.pass == LJ_CONVOLUTION_WEIGHT_GRADIENT)
        return;
    w->convolution.packed = true;
    w->packed = lj_alloc((size_t)lj_convolution_packed_bytes(&w->convolution), "bench");
    bench_expect(w->packed ? LJ_OK : LJ_ERR_RESOURCE);
    lj_convolution_pack(&w->convolution, w->w, w->packed);
}

/* ---- in oneDNN's layouts ----------------------------------------------------------------- */

static void blocked(void *data)
{
    const struct work *w = data;
    LJ_ONEDNN(dnnl_primitive_execute(w->blocked, w->stream, 4, w->arguments));
}

static void add_argument(struct work *w, int i, int name, dnnl_primitive_desc_t chosen,
                         dnnl_query_t what)
{
    lj_layout layout = lj_layout_wanted(chosen, what);
    void *data = lj_alloc((size_t)lj_layout_bytes(layout) + 64, "bench");
    bench_expect(data ? LJ_OK : LJ_ERR_RESOURCE);
    bench_fill(data, lj_layout_bytes(layout) / 4);
    w->arguments[i] = (dnnl_exec_arg_t){name, lj_onednn_memory(layout)};
    LJ_ONEDNN(dnnl_memory_set_data_handle(w->arguments[i].memory, data));
    lj_layout_free(layout);
}

static void make_blocked(struct work *w)
{
    const struct lj_convolution *p = &w->convolution;
    bool dx = p->pass == LJ_CONVOLUTION_INPUT_GRADIENT, dw = p->pass == 2, y = p->pass == 0;
    dnnl_dims_t strides = {p->stride, p->stride}, padding = {p->padding, p->padding};
    dnnl_dims_t x_extent = {p->images, p->channels, p->height, p->width};
    dnnl_dims_t w_extent = {p->out, p->channels, p->kernel, p->kernel};
    dnnl_dims_t y_extent = {p->images, p->out, lj_convolution_height(p), lj_convolution_width(p)};
    lj_layout layout[] = {lj_layout_any(4, x_extent, LJ_F32), lj_layout_any(4, w_extent, LJ_F32),
                          lj_layout_any(4, y_extent, LJ_F32)};
    dnnl_primitive_attr_t attributes = lj_onednn_attributes(false);
    dnnl_primitive_desc_t chosen = lj_onednn_choose_convolution(
        p->pass, layout[0], layout[1], NULL, layout[2], strides, padding, attributes, NULL);
    LJ_ONEDNN(dnnl_primitive_create(&w->blocked, chosen));
    add_argument(w, 0, dx ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, chosen,
                 dx ? dnnl_query_diff_src_md : dnnl_query_src_md);
    add_argument(w, 1, dw ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, chosen,
                 dw ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
    add_argument(w, 2, y ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, chosen,
                 y ? dnnl_query_dst_md : dnnl_query_diff_dst_md);
    add_argument(w, 3, DNNL_ARG_SCRATCHPAD, chosen, dnnl_query_scratchpad_md);
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    LJ_ONEDNN(dnnl_primitive_attr_destroy(attributes));
    for (int i = 0; i < 3; i++)
        lj_layout_free(layout[i]);
}

static void free_blocked(struct work *w)
{
    for (int i = 0; i < 4; i++) {
        void *data;
        LJ_ONEDNN(dnnl_memory_get_data_handle(w->arguments[i].memory, &data));
        dnnl_memory_destroy(w->arguments[i].memory);
        lj_free(data);
    }
    dnnl_primitive_destroy(w->blocked);
}

/* ---- as matmuls of unfolded windows ------------------------------------------------------ */

/* Rows (H' W', k k C) of one image, or the rows added back to it. */
static void unfold(const struct lj_convolution *p, float *rows, float *image, bool back)
{
    int64_t columns = lj_convolution_width(p), positions = lj_convolution_height(p) * columns;
    for (int64_t at = 0; at < positions * p->kernel * p->kernel; at++, rows += p->channels) {
        int64_t tap = at % (p->kernel * p->kernel), to = at / (p->kernel * p->kernel);
        int64_t line = to / columns * p->stride + tap / p->kernel - p->padding;
        int64_t column = to % columns * p->stride + tap % p->kernel - p->padding;
        bool inside = line >= 0 && line < p->height && column >= 0 && column < p->width;
        float *pixel = image + (line * p->width + column) * p->channels;
        if (back && inside)
            lj_kernels()->add(pixel, rows, p->channels);
        else if (!back && inside)
            memcpy(rows, pixel, (size_t)p->channels * sizeof *rows);
        else if (!back)
            memset(rows, 0, (size_t)p->channels * sizeof *rows);
    }
}

static void unfolded(void *data)
{
    const struct work *w = data;
    const struct lj_convolution *p = &w->convolution;
    int64_t window = p->channels * p->kernel * p->kernel;
    int64_t positions = lj_convolution_height(p) * lj_convolution_width(p);
    struct lj_matmul matmul = {.batch = 1, .m = positions, .n = p->out, .k = window};
    matmul.transpose_b = true;
    if (p->pass == LJ_CONVOLUTION_INPUT_GRADIENT)
        matmul = (struct lj_matmul){.batch = 1, .m = positions, .n = window, .k = p->out};
    if (p->pass == LJ_CONVOLUTION_WEIGHT_GRADIENT)
        matmul = (struct lj_matmul){
            .batch = 1, .m = p->out, .n = window, .k = positions, .transpose_a = true};
    for (int64_t i = 0; i < p->images; i++) {
        float *x = w->x + i * p->height * p->width * p->channels;
        float *y = w->y + i * positions * p->out;
        matmul.add = p->pass == LJ_CONVOLUTION_WEIGHT_GRADIENT && i > 0;
        if (p->pass != LJ_CONVOLUTION_INPUT_GRADIENT)
            unfold(p, w->rows, x, false);
        if (p->pass == LJ_CONVOLUTION_FORWARD)
            lj_matmul(&matmul, w->rows, w->w, NULL, y);
        else if (p->pass == LJ_CONVOLUTION_INPUT_GRADIENT)
            lj_matmul(&matmul, y, w->w, NULL, w->rows);
        else
            lj_matmul(&matmul, y, w->rows, NULL, w->w);
        if (p->pass == LJ_CONVOLUTION_INPUT_GRADIENT) {
            memset(x, 0, (size_t)(p->height * p->width * p->channels) * sizeof *x);
            unfold(p, w->rows, x, true);
        }
    }
}

/* ---- measuring --------------------------------------------------------------------------- */

static void best_matmul(void *data)
{
    const struct work *w = data;
    struct lj_matmul matmul = {.batch = 1, .m = 512, .n = 512, .k = 512};
    lj_matmul(&matmul, w->x, w->y, NULL, w->rows);
}

static void print(const char *name, const char *shape, struct bench_result result, double reference,
                  const char *against)
{
    struct bench_line line = {.name = name,
                              .shape = shape,
                              .unit = "GFLOP/s",
                              .reference = reference,
                              .against = against};
    bench_print(&line, result);
}

static void measure(struct work *w, double matmul)
{
    struct lj_convolution *p = &w->convolution;
    char shape[96];
    snprintf(shape, sizeof shape, "%s: %lld x %lld x %lld x %lld to %lld, k %lld, stride %lld",
             pass_name[p->pass], (long long)p->images, (long long)p->height, (long long)p->width,
             (long long)p->channels, (long long)p->out, (long long)p->kernel, (long long)p->stride);
    make_blocked(w);
    pack(w);
    struct bench_result fp32 = rate(w, channels_last);
    print("convolution fp32", shape, fp32, rate(w, blocked).median, "oneDNN's own layouts");
    print("convolution fp32", shape, fp32, rate(w, unfolded).median, "unfolded windows, matmul");
    print("convolution fp32", shape, fp32, matmul, "matmul of 512");
    free_blocked(w);
    if (lj_isa_selected() < LJ_ISA_AVX512BF16)
        return;
    p->input = p->output = LJ_BF16;
    pack(w);
    print("convolution bf16", shape, rate(w, channels_last_bf16), fp32.median, "fp32");
}

static void *take(int64_t count, size_t size)
{
    void *memory = lj_alloc_array(count, size, "bench");
    bench_expect(memory ? LJ_OK : LJ_ERR_RESOURCE);
    return memory;
}

static void begin(struct work *w)
{
    *w = (struct work){.x = take(MAP_MAX, sizeof *w->x),
                       .y = take(MAP_MAX, sizeof *w->y),
                       .w = take(WEIGHTS_MAX, sizeof *w->w),
                       .rows = take(ROWS_MAX, sizeof *w->rows),
                       .bf16_x = take(MAP_MAX, sizeof *w->bf16_x),
                       .bf16_y = take(MAP_MAX, sizeof *w->bf16_y)};
    bench_fill(w->x, MAP_MAX);
    bench_fill(w->y, MAP_MAX);
    bench_fill(w->w, WEIGHTS_MAX);
    lj_kernels()->to_bf16(w->bf16_x, w->x, MAP_MAX);
    lj_kernels()->to_bf16(w->bf16_y, w->y, MAP_MAX);
    LJ_ONEDNN(dnnl_stream_create(&w->stream, lj_onednn_engine(), dnnl_stream_default_flags));
}

static void end(struct work *w)
{
    lj_free(w->x);
    lj_free(w->y);
    lj_free(w->w);
    lj_free(w->rows);
    lj_free(w->bf16_x);
    lj_free(w->bf16_y);
    lj_free(w->packed);
    dnnl_stream_destroy(w->stream);
    lj_kernels_release();
}

int main(void)
{
    static const struct {
        int64_t size, channels, out, kernel, stride;
    } layers[] = {{64, 3, 64, 3, 1},    {64, 64, 64, 3, 1},   {64, 64, 128, 3, 2},
                  {64, 64, 128, 1, 2},  {32, 128, 128, 3, 1}, {32, 128, 256, 3, 2},
                  {32, 128, 256, 1, 2}, {16, 256, 256, 3, 1}, {16, 256, 512, 3, 2},
                  {16, 256, 512, 1, 2}, {8, 512, 512, 3, 1}};
    struct work w;
    if (lj_isa_selected() == LJ_ISA_SCALAR)
        return 0; /* plain loops, the specification */
    begin(&w);
    w.convolution = (struct lj_convolution){.images = 1,
                                            .height = 16,
                                            .width = 32,
                                            .channels = 512,
                                            .out = 512,
                                            .kernel = 1,
                                            .stride = 1};
    double matmul = rate(&w, best_matmul).median;
    for (size_t i = 0; i < (bench_short() ? 1 : sizeof layers / sizeof *layers); i++)
        for (int pass = 0; pass < 3; pass++) {
            if (layers[i].channels == 3 && pass == LJ_CONVOLUTION_INPUT_GRADIENT)
                continue; /* the gradient at images is never computed */
            w.convolution = (struct lj_convolution){.pass = (enum lj_convolution_pass)pass,
                                                    .images = IMAGES,
                                                    .height = layers[i].size,
                                                    .width = layers[i].size,
                                                    .channels = layers[i].channels,
                                                    .out = layers[i].out,
                                                    .kernel = layers[i].kernel,
                                                    .stride = layers[i].stride,
                                                    .padding = layers[i].kernel / 2};
            measure(&w, matmul);
        }
    end(&w);
    return 0;
}
