/* SPDX-License-Identifier: Apache-2.0 */
/* The matmuls of a transformer block, by library and type: oneDNN in float32 against BLIS, then
 * oneDNN in bf16 against oneDNN in float32. kernels/gemm/gemm.c chooses libraries by these figures;
 * LJ_ISA=avx2 gives those of another level. At the end comes a line for each form of matmul, with
 * the geometric mean of its ratios. */
#include "bench.h"

#include "kernels/gemm/backends.h"

#include <math.h>
#include <stdio.h>

enum { ARRAY_MAX = 1040 * 3072, SCORES_AT_ONCE = 1 << 17, HEAD = 64 };

enum form { FORWARD, DX, DW, SCORES, MIX, MIX_TRANSPOSED, FORMS };
static const char *const form_name[FORMS] = {"forward", "dX", "dW", "Q K^T", "P V", "P^T dO"};

/* A matmul and arrays of ARRAY_MAX elements. */
struct work {
    struct lj_matmul matmul;
    float *a, *b, *c;
    lj_bf16 *bf16_a, *bf16_b;
};

/* The mean of logarithms of ratios. */
struct mean {
    double sum;
    int count;
};
static struct mean fp32_mean[FORMS], bf16_mean[FORMS];

static void by_blis(void *data)
{
    struct work *w = data;
    const struct lj_matmul *p = &w->matmul;
    for (int64_t i = 0; i < p->batch; i++)
        lj_blis_gemm(p->transpose_a, p->transpose_b, p->m, p->n, p->k, 1, w->a + i * p->m * p->k,
                     p->transpose_a ? p->m : p->k, w->b + i * p->k * p->n,
                     p->transpose_b ? p->k : p->n, 0, w->c + i * p->m * p->n, p->n);
}

static void by_onednn(void *data)
{
    struct work *w = data;
    lj_onednn_matmul(&w->matmul, w->a, w->b, NULL, w->c);
}

static void by_onednn_bf16(void *data)
{
    struct work *w = data;
    struct lj_matmul bf16 = w->matmul;
    bf16.input = LJ_BF16;
    lj_onednn_matmul(&bf16, w->bf16_a, w->bf16_b, NULL, w->c);
}

/* GFLOP/s. */
static struct bench_result rate(struct work *w, void (*work)(void *))
{
    static struct bench_sample sample;
    const struct lj_matmul *p = &w->matmul;
    bench_run(&sample, 0.04, work, w);
    return bench_rate(&sample, 2e-9 * (double)(p->batch * p->m * p->n * p->k));
}

static void print(const char *name, const char *shape, struct bench_result result, double reference,
                  const char *against, struct mean *mean)
{
    struct bench_line line = {.name = name,
                              .shape = shape,
                              .unit = "GFLOP/s",
                              .reference = reference,
                              .against = against};
    bench_print(&line, result);
    mean->sum += log(result.median / reference);
    mean->count++;
}

static void measure(struct work *w, enum form form, const char *of)
{
    const struct lj_matmul *p = &w->matmul;
    char shape[128];
    snprintf(shape, sizeof shape, "%s, %s: %lld x (%lld, %lld, %lld)", of, form_name[form],
             (long long)p->batch, (long long)p->m, (long long)p->n, (long long)p->k);
    double blis = rate(w, by_blis).median;
    struct bench_result fp32 = rate(w, by_onednn);
    print("gemm fp32 oneDNN", shape, fp32, blis, "BLIS", &fp32_mean[form]);
    if (lj_isa_selected() == LJ_ISA_AVX512BF16)
        print("gemm bf16 oneDNN", shape, rate(w, by_onednn_bf16), fp32.median, "oneDNN in fp32",
              &bf16_mean[form]);
}

/* ---- shapes ------------------------------------------------------------------------------ */

/* The three matmuls of a linear layer from `in` to `out` features. */
static void measure_linear(struct work *w, const char *of, int64_t rows, int64_t in, int64_t out)
{
    w->matmul = (struct lj_matmul){.batch = 1, .m = rows, .n = out, .k = in, .transpose_b = true};
    measure(w, FORWARD, of);
    w->matmul = (struct lj_matmul){.batch = 1, .m = rows, .n = in, .k = out};
    measure(w, DX, of);
    w->matmul = (struct lj_matmul){.batch = 1, .m = out, .n = in, .k = rows, .transpose_a = true};
    measure(w, DW, of);
}

static void measure_block(struct work *w, const char *model, int64_t width, int64_t rows)
{
    const struct {
        const char *name;
        int64_t in, out;
    } layers[] = {{"qkv", width, 3 * width},
                  {"proj", width, width},
                  {"fc1", width, 4 * width},
                  {"fc2", 4 * width, width}};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        char of[64];
        snprintf(of, sizeof of, "%s %s", model, layers[i].name);
        measure_linear(w, of, rows, layers[i].in, layers[i].out);
    }
}

/* Attention's matmuls for as many pairs of image and head as the layer takes at a time, in a tile
 * of about 272 rows and with 6 heads. */
static void measure_attention(struct work *w, int64_t tokens)
{
    int64_t images = lj_max_i64(272 / tokens, 1);
    int64_t batch = lj_max_i64(lj_min_i64(6 * images, SCORES_AT_ONCE / (tokens * tokens)), 1);
    char of[64];
    snprintf(of, sizeof of, "attention T=%lld d=%d", (long long)tokens, HEAD);
    w->matmul = (struct lj_matmul){
        .batch = batch, .m = tokens, .n = tokens, .k = HEAD, .transpose_b = true};
    measure(w, SCORES, of);
    w->matmul = (struct lj_matmul){.batch = batch, .m = tokens, .n = HEAD, .k = tokens};
    measure(w, MIX, of);
    w->matmul.transpose_a = true;
    measure(w, MIX_TRANSPOSED, of);
}

static void report_mean(const char *name, enum form form, const char *against,
                        const struct mean *mean)
{
    double ratio = exp(mean->sum / mean->count);
    struct bench_line line = {.name = name,
                              .shape = form_name[form],
                              .unit = "geometric mean of ratios",
                              .reference = 1,
                              .against = against};
    bench_print(&line, (struct bench_result){ratio, ratio, ratio, 1});
}

static void allocate(struct work *w)
{
    w->a = lj_alloc_array(ARRAY_MAX, sizeof(float), "bench");
    w->b = lj_alloc_array(ARRAY_MAX, sizeof(float), "bench");
    w->c = lj_alloc_array(ARRAY_MAX, sizeof(float), "bench");
    w->bf16_a = lj_alloc_array(ARRAY_MAX, sizeof(lj_bf16), "bench");
    w->bf16_b = lj_alloc_array(ARRAY_MAX, sizeof(lj_bf16), "bench");
    if (!w->a || !w->b || !w->c || !w->bf16_a || !w->bf16_b)
        bench_expect(LJ_ERR_RESOURCE);
    bench_fill(w->a, ARRAY_MAX);
    bench_fill(w->b, ARRAY_MAX);
    lj_kernels()->to_bf16(w->bf16_a, w->a, ARRAY_MAX);
    lj_kernels()->to_bf16(w->bf16_b, w->b, ARRAY_MAX);
}

static void release(struct work *w)
{
    lj_free(w->a);
    lj_free(w->b);
    lj_free(w->c);
    lj_free(w->bf16_a);
    lj_free(w->bf16_b);
    lj_onednn_release();
}

int main(void)
{
    static const struct {
        const char *name;
        int64_t width;
    } models[] = {{"ViT-Ti", 192}, {"ViT-S", 384}, {"ViT-B", 768}};
    static const int64_t rows[] = {136, 272, 1040}, tokens[] = {10, 17, 65, 257};
    struct work w;
    allocate(&w);
    for (size_t m = 0; m < (bench_short() ? 1 : sizeof models / sizeof *models); m++)
        for (size_t r = 0; r < (bench_short() ? 1 : sizeof rows / sizeof *rows); r++)
            measure_block(&w, models[m].name, models[m].width, rows[r]);
    for (size_t t = 0; t < (bench_short() ? 1 : sizeof tokens / sizeof *tokens); t++)
        measure_attention(&w, tokens[t]);
    for (int form = 0; form < FORMS; form++) {
        report_mean("gemm fp32 oneDNN", (enum form)form, "BLIS", &fp32_mean[form]);
        if (bf16_mean[form].count > 0)
            report_mean("gemm bf16 oneDNN", (enum form)form, "oneDNN in fp32", &bf16_mean[form]);
    }
    release(&w);
    return 0;
}
