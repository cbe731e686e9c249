/* SPDX-License-Identifier: Apache-2.0 */
/* The vector kernels of every level that the processor has, against the scalar ones, on arrays that
 * fit into the second-level cache. */
#include "bench.h"

#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 192, ROWS = 32, KNOTS = 16, COUNT = WIDTH * ROWS };

struct arrays {
    const struct lj_kernels *table;
    int64_t rows;
    float x[COUNT], y[COUNT], moment1[COUNT], moment2[COUNT];
    float weight[WIDTH], bias[WIDTH], scale[WIDTH], mean[ROWS], rstd[ROWS];
    float coefficient[2 * KNOTS * 16]; /* (2, KNOTS, 16) */
    int32_t first[WIDTH];              /* of resample: outputs are 0.7 inputs apart */
    double sum;
};

static void layernorm(void *data)
{
    struct arrays *a = data;
    a->table->layernorm(a->y, LJ_F32, a->mean, a->rstd, a->x, a->weight, a->bias, a->rows, WIDTH,
                        1e-6f);
}

static void layernorm_backward(void *data)
{
    struct arrays *a = data;
    a->table->layernorm_backward(a->y, a->weight, a->bias, a->moment1, LJ_F32, a->x, a->scale,
                                 a->mean, a->rstd, a->rows, WIDTH, false);
}

static void gelu(void *data)
{
    struct arrays *a = data;
    a->table->gelu(a->y, a->moment1, a->x, LJ_F32, a->rows * WIDTH);
}

static void gelu_bf16(void *data)
{
    struct arrays *a = data;
    a->table->gelu(a->y, a->moment1, a->x, LJ_BF16, a->rows * WIDTH);
}

static void softmax(void *data)
{
    struct arrays *a = data;
    memcpy(a->y, a->x, sizeof a->y);
    a->table->softmax(a->y, LJ_F32, a->mean, a->y, a->rows, WIDTH, 0.125f);
}

static void softmax_backward(void *data)
{
    struct arrays *a = data;
    memcpy(a->y, a->x, sizeof a->y);
    a->table->softmax_backward(a->y, a->moment1, LJ_F32, a->y, a->x, a->mean, a->rows, WIDTH,
                               0.125f);
}

static void adamw(void *data)
{
    struct arrays *a = data;
    const struct lj_adamw_factors factors = {.lr = 1e-3f,
                                             .beta1 = 0.9f,
                                             .beta2 = 0.999f,
                                             .eps = 1e-8f,
                                             .decay = 0.05f,
                                             .correct1 = 1,
                                             .correct2 = 1};
    a->table->adamw(a->y, a->moment1, a->moment2, a->x, a->rows * WIDTH, &factors);
}

static void ecf_sums(void *data)
{
    struct arrays *a = data;
    for (int64_t r = 0; r < a->rows; r += 32)
        for (int64_t j = 0; j < WIDTH; j += 16)
            a->table->ecf_sums(a->coefficient, a->x + r * WIDTH + j, WIDTH,
                               lj_min_i64(32, a->rows - r), 16, KNOTS, 0.1875f);
}

static void ecf_gradient(void *data)
{
    struct arrays *a = data;
    for (int64_t j = 0; j < WIDTH; j += 16)
        a->table->ecf_gradient(a->y + j, a->x + j, WIDTH, a->coefficient, a->rows, 16, KNOTS,
                               0.1875f);
}

/* Converts the array, taken as bytes of an image of three channels, channels last. */
static void convert(void *data)
{
    struct arrays *a = data;
    a->table->convert(a->y, a->x, LJ_ELEMENT_U8, 3, a->rows * WIDTH / 3, true);
}

static void convert_planes(void *data)
{
    struct arrays *a = data;
    a->table->convert(a->y, a->x, LJ_ELEMENT_U8, 3, a->rows * WIDTH / 3, false);
}

static void convert_five(void *data)
{
    struct arrays *a = data;
    a->table->convert(a->y, a->x, LJ_ELEMENT_U8, 5, a->rows * WIDTH / 5, true);
}

/* Each row as a weighted sum of two rows. */
static void weighted_sum(void *data)
{
    struct arrays *a = data;
    for (int64_t r = 0; r < a->rows; r++)
        a->table->weighted_sum(a->y + r * WIDTH, a->x + lj_min_i64(r, ROWS - 2) * WIDTH, WIDTH,
                               a->weight, 2, WIDTH);
}

/* Resamples rows of 0.7 WIDTH pixels to WIDTH pixels. */
static void resample(void *data)
{
    struct arrays *a = data;
    a->table->resample(a->y, a->x, WIDTH - LJ_RESAMPLE_SLACK, a->rows, a->first, a->coefficient, 2,
                       WIDTH);
}

static void blend(void *data)
{
    struct arrays *a = data;
    a->table->blend(a->y, a->rows * WIDTH, 1, 0);
}

static void saturate(void *data)
{
    struct arrays *a = data;
    a->table->saturate(a->y, a->rows * WIDTH / 3, 1);
}

static void hue(void *data)
{
    struct arrays *a = data;
    a->table->hue(a->y, a->rows * WIDTH / 3, 0.1f);
}

static void luma_sum(void *data)
{
    struct arrays *a = data;
    a->sum = a->table->luma_sum(a->x, a->rows * WIDTH / 3);
}

static const struct {
    const char *name;
    void (*work)(void *);
} loops[] = {
    {"layernorm", layernorm},
    {"layernorm_backward", layernorm_backward},
    {"gelu", gelu},
    {"gelu_bf16", gelu_bf16},
    {"softmax", softmax},
    {"softmax_backward", softmax_backward},
    {"adamw", adamw},
    {"ecf_sums", ecf_sums},
    {"ecf_gradient", ecf_gradient},
    {"convert_u8_rgb", convert},
    {"convert_u8_planes", convert_planes},
    {"convert_u8_5_channels", convert_five},
    {"weighted_sum", weighted_sum},
    {"resample", resample},
    {"blend", blend},
    {"saturate", saturate},
    {"hue", hue},
    {"luma_sum", luma_sum},
};

/* Fills the arrays. The second moment must not be zero, since AdamW would then be measured with
 * subnormal numbers. */
static void reset(struct arrays *a)
{
    bench_fill(a->x, COUNT);
    bench_fill(a->y, COUNT);
    bench_fill(a->moment1, COUNT);
    bench_fill(a->coefficient, 2 * KNOTS * 16);
    for (int i = 0; i < COUNT; i++)
        a->moment2[i] = 0.5f + 0.25f * a->x[i];
    for (int i = 0; i < ROWS; i++)
        a->rstd[i] = 1;
    for (int i = 0; i < WIDTH; i++)
        a->first[i] = i * 7 / 10;
    for (int i = 0; i < WIDTH; i++)
        a->weight[i] = a->bias[i] = a->scale[i] = 1;
}

/* Elements a second. */
static struct bench_result measure(struct arrays *a, void (*work)(void *),
                                   const struct lj_kernels *table)
{
    static struct bench_sample sample;
    reset(a);
    a->table = table;
    bench_run(&sample, 0.3, work, a);
    return bench_rate(&sample, (double)(a->rows * WIDTH));
}

int main(void)
{
    static struct arrays a;
    char shape[32];
    a.rows = bench_size(ROWS, 2);
    snprintf(shape, sizeof shape, "%lldx%d", (long long)a.rows, WIDTH);
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        double scalar = measure(&a, loops[i].work, lj_kernels_of(LJ_ISA_SCALAR)).median;
        for (int isa = LJ_ISA_AVX2; isa < LJ_ISA_COUNT; isa++) {
            const struct lj_kernels *table = lj_kernels_of((enum lj_isa)isa);
            struct bench_line line = {.name = loops[i].name,
                                      .shape = shape,
                                      .isa = lj_isa_name((enum lj_isa)isa),
                                      .unit = "elements/s",
                                      .reference = scalar,
                                      .against = "the scalar table"};
            if (table)
                bench_print(&line, measure(&a, loops[i].work, table));
        }
    }
    return 0;
}
