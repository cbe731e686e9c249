/* SPDX-License-Identifier: Apache-2.0 */
/* The packed forms of the weights: where they lie, and how they are made. */
#include "nn/packing.h"

struct lj_matmul lj_weight_matmul(int form, bool bf16, int64_t in, int64_t out)
{
    bool forward = form == LJ_PACK_FORWARD;
    return (struct lj_matmul){.batch = 1,
                              .m = 1,
                              .n = forward ? out : in,
                              .k = forward ? in : out,
                              .transpose_b = forward,
                              .input = bf16 ? LJ_BF16 : LJ_F32};
}

struct lj_convolution lj_weight_convolution(int form, bool bf16, const struct lj_param *weight)
{
    bool depthwise = weight->reader == LJ_READER_DEPTHWISE;
    return (struct lj_convolution){.pass = (enum lj_convolution_pass)form,
                                   .channels = weight->dim[depthwise ? 0 : 1],
                                   .out = weight->dim[0],
                                   .kernel = weight->dim[2],
                                   .depthwise = depthwise,
                                   .input = bf16 ? LJ_BF16 : LJ_F32};
}

static struct lj_matmul matmul_of(const struct lj_param *param, int form, bool bf16)
{
    return lj_weight_matmul(form, bf16, param->count / param->dim[0], param->dim[0]);
}

static int64_t packed_bytes(const struct lj_param *param, int form, bool bf16)
{
    if (!param->matrix || (form == LJ_PACK_INPUT_GRADIENT && !param->input_gradient))
        return 0;
    struct lj_matmul matmul = matmul_of(param, form, bf16);
    struct lj_convolution convolution = lj_weight_convolution(form, bf16, param);
    return param->reader == LJ_READER_MATMUL ? lj_matmul_packed_bytes(&matmul)
                                             : lj_convolution_packed_bytes(&convolution);
}

static void pack(const struct lj_param *param, int form, bool bf16, const float *weight,
                 void *packed)
{
    struct lj_matmul matmul = matmul_of(param, form, bf16);
    struct lj_convolution convolution = lj_weight_convolution(form, bf16, param);
    if (param->reader == LJ_READER_MATMUL)
        lj_matmul_pack(&matmul, weight, packed);
    else
        lj_convolution_pack(&convolution, weight, packed);
}

int64_t lj_params_pack_layout(struct lj_params *params, bool bf16)
{
    int64_t at = 0;
    for (int p = 0; p < params->count; p++)
        for (int form = 0; form < 2; form++) {
            struct lj_param *param = &params->list[p];
            int64_t bytes = packed_bytes(param, form, bf16);
            param->pack[form] = bytes > 0 ? at : -1;
            at += lj_round_up(bytes, 64);
        }
    return at;
}

void lj_params_pack(const struct lj_params *params, bool bf16, const float *weights, void *packed,
                    int threads)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int i = 0; i < 2 * params->count; i++) {
        const struct lj_param *param = &params->list[i / 2];
        if (param->pack[i % 2] >= 0)
            pack(param, i % 2, bf16, weights + param->offset, (char *)packed + param->pack[i % 2]);
    }
}
