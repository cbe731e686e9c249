/* SPDX-License-Identifier: Apache-2.0 */
/* Layers in plain double, forward only, one image after the other: written from the formulas,
 * sharing no code with src. Tests take their gradients by central differences. */
#ifndef LEJEPA_TEST_REFERENCE_OPS_H
#define LEJEPA_TEST_REFERENCE_OPS_H

#include <stdbool.h>
#include <stdint.h>

/* Sizes of an operation, of which each layer reads some. */
struct reference_op {
    int64_t images;    /* input (images, rows, width) */
    int64_t rows;      /* tokens of an image */
    int64_t width;     /* features; of patch_embed and conv: pixels */
    int64_t out;       /* output width */
    int64_t heads;     /* attention */
    int64_t skip;      /* pool_mean: tokens before the mean; tokens: registers */
    int64_t height;    /* patch_embed, conv: of the image */
    int64_t channels;  /* patch_embed, conv */
    int64_t patch;     /* patch_embed, conv: pixels a side */
    int64_t grid[2];   /* tokens: cells of this image */
    int64_t grid0[2];  /* tokens: cells of the table of positions */
    int64_t window[3]; /* pool_max: side, stride, padding of its windows */
    int64_t stride;    /* conv */
    int64_t padding;   /* conv */
    bool planes;       /* conv: the image is (channels, height, width), else channels last */
    bool depthwise;    /* conv: output channel o reads input channel o alone */
    double eps;        /* norms */
};

/* y from x and the parameters p[0], p[1], ... in the layer's order. */
typedef void reference_forward(const struct reference_op *op, const double *x,
                               const double *const *p, double *y);

reference_forward reference_linear;    /* y = x W^T + b; p: W (out, width), b */
reference_forward reference_cosine;    /* with the rows of p: W (out, width) */
reference_forward reference_layernorm; /* p: weight, bias; eps */
reference_forward reference_gelu;      /* y = x Phi(x) */
reference_forward reference_relu;
reference_forward reference_attention;   /* x (images, rows, 3 width) -> (images, rows, width) */
reference_forward reference_tokens;      /* p: pos, cls, registers; skip registers; grids */
reference_forward reference_patch_embed; /* p: W (out, channels, patch, patch), b */
reference_forward reference_conv;        /* p: W (out, channels, patch, patch), b or NULL */
reference_forward reference_pool_token;
reference_forward reference_pool_mean; /* mean of rows from `skip` on */
reference_forward
    reference_pool_max;          /* x (images, height, columns, width), columns = rows / height */
reference_forward reference_grn; /* over the rows of an image; p: weight, bias; eps */
reference_forward reference_batchnorm; /* over images and rows; p: weight, bias; eps */

#endif
