/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. Layouts of packed factors. */
#ifndef LEJEPA_ONEDNN_PACK_H
#define LEJEPA_ONEDNN_PACK_H

#include "kernels/gemm/onednn_api.h"

/* The layout of a packed B; owned by the table of packing, valid until lj_onednn_release_packs.
 * Local. */
lj_layout lj_onednn_packed(const struct lj_matmul *matmul);
/* Frees what packing keeps. Local; no other thread may pack meanwhile. */
void lj_onednn_release_packs(void);

#endif
