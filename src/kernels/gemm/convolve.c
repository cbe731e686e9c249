/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions: oneDNN at every level that has vectors, but for weight gradients of depthwise ones,
 * where it is slow, and of some with few channels, where it is wrong; plain loops at level scalar.
 * Level and shape decide, so that bits are fixed. */
#include "kernels/gemm/backends.h"

static bool by_onednn(void)
{
    return lj_isa_selected() > LJ_ISA_SCALAR;
}

/* Is it a weight gradient that our own kernel computes? */
static bool by_kernel(const struct lj_convolution *p)
{
    return p->pass == LJ_CONVOLUTION_WEIGHT_GRADIENT && p->depthwise && p->stride == 1 &&
           p->padding == p->kernel / 2 && (p->kernel == 3 || p->kernel == 5 || p->kernel == 7);
}

/* Is it a weight gradient that oneDNN may get wrong? At level avx2, 2.6 sums other values than X's
 * where windows of one pixel lie two apart and a pixel has fewer channels than a vector has floats;
 * wider vectors are not trusted either. With so few channels loops cost nothing. */
static bool by_loops(const struct lj_convolution *p)
{
    int64_t floats = lj_isa_selected() == LJ_ISA_AVX2 ? 8 : 16;
    return p->pass == LJ_CONVOLUTION_WEIGHT_GRADIENT && p->kernel == 1 && p->stride > 1 &&
           p->channels < floats && p->input == LJ_F32;
}

void lj_convolve(const struct lj_convolution *convolution, const void *a, const void *b,
                 const float *bias, void *c)
{
    LJ_CHECK(lj_isa_selected() >= LJ_ISA_AVX512BF16 ||
                 (convolution->input == LJ_F32 && convolution->output == LJ_F32),
             "bf16 convolutions need level avx512bf16, not %s", lj_isa_name(lj_isa_selected()));
    if (by_onednn() && by_kernel(convolution))
        lj_kernels()->depthwise_weights(c, a, b, convolution->input,
                                        &(struct lj_maps){convolution->images, convolution->height,
                                                          convolution->width,
                                                          convolution->channels},
                                        convolution->kernel, convolution->add);
    else if (by_onednn() && !by_loops(convolution))
        lj_onednn_convolve(convolution, a, b, bias, c);
    else
        lj_scalar_convolve(convolution, a, b, bias, c);
}

int64_t lj_convolution_packed_bytes(const struct lj_convolution *convolution)
{
    return by_onednn() ? lj_onednn_convolution_packed_bytes(convolution) : 0;
}

void lj_convolution_pack(const struct lj_convolution *convolution, const float *w, void *packed)
{
    LJ_CHECK(by_onednn(), "convolutions of level scalar take W as it is");
    lj_onednn_convolution_pack(convolution, w, packed);
}
