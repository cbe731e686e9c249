/* SPDX-License-Identifier: Apache-2.0 */
/* The rate that a matmul reaches on this machine while all cores work, with which the rates of
 * layers are compared. */
#include "run/summary/summary.h"

#include "kernels/kernels.h"

#include <omp.h>

/* As many rows as a tile may have, by the width of ViT-B: large enough that
 * arithmetic alone bounds it. */
enum { ROWS = 512, WIDTH = 768 };
static const double measured_s = 0.2, burst_s = 0.02;

/* The arrays of one thread. */
struct operands {
    void *a;      /* (ROWS, WIDTH) */
    float *b;     /* (WIDTH, WIDTH) */
    float *c;     /* (ROWS, WIDTH) */
    void *packed; /* the packed form of b; NULL where weights are not packed */
};

/* GFLOP/s of the best of some bursts of calls, so that disturbances by other
 * processes do not count. */
static double best_rate(const struct lj_matmul *matmul, const struct operands *x)
{
    double begun = lj_now_s(), best = 0;
    lj_matmul(matmul, x->a, x->packed ? x->packed : x->b, NULL, x->c); /* may compile */
    do {
        double before = lj_now_s(), seconds = 0;
        int calls = 0;
        for (; seconds < burst_s; calls++, seconds = lj_now_s() - before)
            lj_matmul(matmul, x->a, x->packed ? x->packed : x->b, NULL, x->c);
        double rate = 2e-9 * ROWS * WIDTH * WIDTH * calls / seconds;
        best = rate > best ? rate : best;
    } while (lj_now_s() - begun < measured_s);
    return best;
}

/* Fills an array with values that are neither zero nor subnormal in its type. */
static void fill(void *values, int64_t count, enum lj_type type)
{
    for (int64_t i = 0; i < count; i++)
        if (type == LJ_BF16)
            ((lj_bf16 *)values)[i] = (lj_bf16)(0x3f00 + i % 97);
        else
            ((float *)values)[i] = 0.5f + (float)(i % 97) / 97;
}

/* Allocates and fills the arrays of one thread. */
static int take(struct operands *x, const struct lj_matmul *matmul)
{
    int64_t packed = lj_matmul_packed_bytes(matmul);
    x->a = lj_alloc_array(ROWS * WIDTH, (size_t)lj_type_bytes(matmul->input), "summary");
    x->b = lj_alloc_array(WIDTH * WIDTH, sizeof(float), "summary");
    x->c = lj_alloc_array(ROWS * WIDTH, sizeof(float), "summary");
    x->packed = packed > 0 ? lj_alloc_array(packed, 1, "summary") : NULL;
    if (!x->a || !x->b || !x->c || (packed > 0 && !x->packed))
        return LJ_ERR_RESOURCE;
    fill(x->a, ROWS * WIDTH, matmul->input);
    fill(x->b, WIDTH * WIDTH, LJ_F32);
    if (packed > 0)
        lj_matmul_pack(matmul, x->b, x->packed);
    return LJ_OK;
}

static int take_all(struct operands *operands, int threads, const struct lj_matmul *matmul)
{
    int status = operands ? LJ_OK : LJ_ERR_RESOURCE;
    for (int w = 0; status == LJ_OK && w < threads; w++)
        status = take(&operands[w], matmul);
    return status;
}

static void release(struct operands *operands, int threads)
{
    for (int w = 0; operands && w < threads; w++) {
        lj_free(operands[w].a);
        lj_free(operands[w].b);
        lj_free(operands[w].c);
        lj_free(operands[w].packed);
    }
    lj_free(operands);
}

static double rate_of_rank(const struct operands *operands, int threads,
                           const struct lj_matmul *matmul)
{
    double sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    sum += best_rate(matmul, &operands[omp_get_thread_num()]);
    return sum;
}

int lj_run_measure_peak(struct lj_run_state *run)
{
    int threads = run->info.workers;
    struct lj_matmul matmul = {.batch = 1,
                               .m = ROWS,
                               .n = WIDTH,
                               .k = WIDTH,
                               .transpose_b = true,
                               .input = run->info.config->precision == LJ_PRECISION_BF16 ? LJ_BF16
                                                                                         : LJ_F32,
                               .output = LJ_F32};
    matmul.packed_b = lj_matmul_packed_bytes(&matmul) > 0;
    struct operands *operands = lj_alloc_array(threads, sizeof *operands, "summary");
    /* The agreement is a barrier, too: all ranks begin to measure together. */
    int status = lj_agree(run->comm, take_all(operands, threads, &matmul));
    if (status == LJ_OK) {
        double mflops = 1e3 * rate_of_rank(operands, threads, &matmul);
        run->peak_gflops = 1e-3 * (double)lj_all_sum(run->comm, (int64_t)mflops);
    }
    release(operands, threads);
    return status;
}
