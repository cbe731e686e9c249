/* SPDX-License-Identifier: Apache-2.0 */
/* Which processor level and precision all ranks use: agreed once, before the first matmul. */
#include "lejepa/runtime.h"

#include "comm/comm.h"
#include "kernels/kernels.h"

/* Libraries choose by the model, too, not by the level alone. */
static void warn_of_mixed_processors(struct lj_comm *comm)
{
    char name[64];
    lj_processor_name(name, sizeof name);
    if (!lj_all_alike(comm, name) && lj_comm_is_root(comm))
        lj_warn(
            "the ranks run on processors of different models (rank 0: %s): another placement of "
            "ranks may give other bits; ask for nodes of one kind",
            name);
}

int lj_runtime_agree(struct lj_comm *comm, const char **name)
{
    enum lj_isa isa = LJ_ISA_SCALAR;
    LJ_TRY(lj_agree(comm, lj_isa_best(&isa)));
    isa = (enum lj_isa)lj_all_min(comm, (int64_t)isa);
    warn_of_mixed_processors(comm);
    *name = lj_isa_name(isa);
    return lj_agree(comm, lj_kernels_select(isa));
}

int lj_runtime_resolve_precision(struct lj_config *config)
{
    bool able = lj_isa_selected() == LJ_ISA_AVX512BF16;
    if (config->precision == LJ_PRECISION_BF16 && !able)
        return lj_fail(
            LJ_ERR_CONFIG,
            "precision: bf16 needs a processor (and LJ_ISA) of level avx512bf16 on every "
            "rank, the lowest here is %s; use precision=auto or fp32",
            lj_isa_name(lj_isa_selected()));
    if (config->precision == LJ_PRECISION_AUTO)
        config->precision = able ? LJ_PRECISION_BF16 : LJ_PRECISION_FP32;
    return LJ_OK;
}
