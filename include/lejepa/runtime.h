/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. Which processor level and precision all ranks use.
 *
 *     lj_runtime_agree(comm, &level);              before anything is computed
 *     lj_runtime_resolve_precision(&config);       "auto" becomes bf16 or fp32
 */
#ifndef LEJEPA_RUNTIME_H
#define LEJEPA_RUNTIME_H

#include "lejepa/comm.h"
#include "lejepa/config.h"

/* Agrees on the lowest level of all ranks' processors and forces it on the libraries, so that every
 * rank computes the same bits. Collective over comm; before the first matmul, once a process.
 *   level  out  "scalar", "avx2", "avx512" or "avx512bf16"
 * Errors: LJ_ERR_CONFIG (LJ_ISA names a level that this processor lacks). */
LJ_API int lj_runtime_agree(struct lj_comm *comm, const char **level) LJ_MUST_USE;

/* After lj_runtime_agree: precision "auto" becomes what the agreed level can do. Local.
 * Errors: LJ_ERR_CONFIG (bf16 below level avx512bf16). */
LJ_API int lj_runtime_resolve_precision(struct lj_config *config) LJ_MUST_USE;

#endif
