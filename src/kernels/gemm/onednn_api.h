/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. The part of oneDNN that we use, the same for its interfaces 2 and 3.
 *
 * A layout says how a matrix lies in memory: dimensions, type, strides or blocks. oneDNN 3 calls it
 * a memory descriptor and hands out pointers to it; oneDNN 2 has a struct, which lies behind our
 * pointer. */
#ifndef LEJEPA_ONEDNN_API_H
#define LEJEPA_ONEDNN_API_H

#include "kernels/kernels.h"

#include <dnnl.h>

#define LJ_ONEDNN(expression)                                                                    \
    do {                                                                                         \
        dnnl_status_t status_ = (expression);                                                    \
        LJ_CHECK(status_ == dnnl_success, "oneDNN: status %d of %s", (int)status_, #expression); \
    } while (0)

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t lj_layout;
#else
typedef dnnl_memory_desc_t *lj_layout;
#endif

/* All functions are local. A layout belongs to the caller: lj_layout_free. */

/* Elements at given distances.
 *   dims             in  number of dimensions
 *   extent, strides  in  (dims) elements */
lj_layout lj_layout_strided(int dims, const dnnl_dims_t extent, const dnnl_dims_t strides,
                            enum lj_type type);
/* (rows, columns), stored by rows or, transposed, by columns. */
lj_layout lj_layout_matrix(int64_t rows, int64_t columns, bool transposed, enum lj_type type);
/* In whatever layout oneDNN prefers. */
lj_layout lj_layout_any(int dims, const dnnl_dims_t extent, enum lj_type type);
/* What the primitive wants: `what` is dnnl_query_weights_md, dnnl_query_scratchpad_md, ... */
lj_layout lj_layout_wanted(dnnl_primitive_desc_t primitive, dnnl_query_t what);
void lj_layout_free(lj_layout layout); /* accepts NULL */

int64_t lj_layout_bytes(lj_layout layout);
bool lj_layout_equal(lj_layout one, lj_layout other);
/* Is it what the kernel `pack` writes: bf16 panels of LJ_PANEL_ROWS x LJ_PANEL_COLUMNS, rows in
 * pairs? */
bool lj_layout_is_panels(lj_layout layout);

/* The engine of the process. */
dnnl_engine_t lj_onednn_engine(void);
/* A handle of an array of this layout, without data yet. The caller destroys it. */
dnnl_memory_t lj_onednn_memory(lj_layout layout);

/* Attributes of a primitive with scratch from the caller, which adds to its result when `add`. */
dnnl_primitive_attr_t lj_onednn_attributes(bool add);
/* c = a b [+ bias]; the first implementation, or the first whose name contains `wanted` (NULL: any)
 * if there is one. The caller destroys it.
 *   bias, attributes  may be NULL */
dnnl_primitive_desc_t lj_onednn_choose_matmul(lj_layout a, lj_layout b, lj_layout bias, lj_layout c,
                                              dnnl_primitive_attr_t attributes, const char *wanted);
/* The same for a pass of a convolution, with x, W and y or, in backward, their gradients; no
 * padding but zeros.
 *   bias              may be NULL
 *   strides, padding  in  (2) */
dnnl_primitive_desc_t lj_onednn_choose_convolution(enum lj_convolution_pass pass, lj_layout x,
                                                   lj_layout w, lj_layout bias, lj_layout y,
                                                   const dnnl_dims_t strides,
                                                   const dnnl_dims_t padding,
                                                   dnnl_primitive_attr_t attributes,
                                                   const char *wanted);
/* Conversion of an array from one layout to another, where it is stored or, when `add`, added. The
 * caller destroys it. */
dnnl_primitive_t lj_onednn_make_reorder(lj_layout from, lj_layout to, bool add);

#endif
