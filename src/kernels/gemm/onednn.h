/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the oneDNN files of kernels. */
#ifndef LEJEPA_ONEDNN_H
#define LEJEPA_ONEDNN_H

#include "kernels/gemm/backends.h"

#include <dnnl.h>

#define LJ_ONEDNN(expression)                                                                    \
    do {                                                                                         \
        dnnl_status_t status_ = (expression);                                                    \
        LJ_CHECK(status_ == dnnl_success, "oneDNN: status %d of %s", (int)status_, #expression); \
    } while (0)

/* The engine of the process. */
dnnl_engine_t lj_onednn_engine(void);
dnnl_data_type_t lj_onednn_type(enum lj_type type);
/* A handle without data. */
dnnl_memory_t lj_onednn_memory(const dnnl_memory_desc_t *desc);
/* (rows, columns), stored by rows or, transposed, by columns. */
dnnl_memory_desc_t lj_onednn_matrix(int64_t rows, int64_t columns, bool transposed,
                                    enum lj_type type);
/* The layout of a packed B. */
dnnl_memory_desc_t lj_onednn_packed(const struct lj_matmul *matmul);
/* Frees what packing keeps. */
void lj_onednn_release_packs(void);

#endif
