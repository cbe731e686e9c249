/* SPDX-License-Identifier: Apache-2.0 */
/* What a matmul reaches on this machine while all cores work: the yardstick of the layers' rates. */
#include "run/summary/summary.h"

#include "kernels/kernels.h"

#include <omp.h>

/* Rows of a tile by the width of ViT-B: large enough to be bound by arithmetic alone. */
enum { ROWS = 512, WIDTH = 768 };
static const double measured_s = 0.2, block_s = 0.02;

/* The arrays of one thread. */
struct operands {
    void *a;
    float *b, *c;
    void *packed; /* b as the layers' weights are; NULL where they are plain */
};

/* GFLOP/s of the best block of calls: what others do meanwhile does not count. */
static double best_rate(const struct lj_matmul *matmul, const struct operands *x)
{
    double begun = lj_now_s(), best = 0;
    lj_matmul(matmul, x->a, x->packed ? x->packed : x->b, NULL, x->c); /* may compile */
    do {
        double before = lj_now_s(), seconds = 0;
        int calls = 0;
        for (; seconds < block_s; calls++, seconds = lj_now_s() - before)
            lj_matmul(matmul, x->a, x->packed ? x->packed : x->b, NULL, x->c);
        double rate = 2e-9 * ROWS * WIDTH * WIDTH * calls / seconds;
        best = rate > best ? rate : best;
    } while (lj_now_s() - begun < measured_s);
    return best;
}

/* Values that are neither zero nor subnormal in either type. */
static void fill(void *values, int64_t count, enum lj_type type)
{
    for (int64_t i = 0; i < count; i++)
        if (type == LJ_BF16)
            ((lj_bf16 *)values)[i] = (lj_bf16)(0x3f00 + i % 97);
        else
            ((float *)values)[i] = 0.5f + (float)(i % 97) / 97;
}

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
    for (int s = 0; status == LJ_OK && s < threads; s++)
        status = take(&operands[s], matmul);
    return status;
}

static void release(struct operands *operands, int threads)
{
    for (int s = 0; operands && s < threads; s++) {
        lj_free(operands[s].a);
        lj_free(operands[s].b);
        lj_free(operands[s].c);
        lj_free(operands[s].packed);
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
    int status = lj_agree(run->comm, take_all(operands, threads, &matmul)); /* also: all at once */
    if (status == LJ_OK) {
        double mflops = 1e3 * rate_of_rank(operands, threads, &matmul);
        run->peak_gflops = 1e-3 * (double)lj_all_sum(run->comm, (int64_t)mflops);
    }
    release(operands, threads);
    return status;
}
