/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of the level: the best that the processor has, unless LJ_ISA asks for a lower one;
 * fixed by the first use. */
#include "kernels/gemm/backends.h"
#include "kernels/kernel_tables.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct lj_kernels *selected;
static enum lj_isa selected_isa;

const char *lj_isa_name(enum lj_isa isa)
{
    static const char *const names[LJ_ISA_COUNT] = {"scalar", "avx2", "avx512", "avx512bf16"};
    return names[isa];
}

/* The best level of the processor. __builtin_cpu_supports also checks that the operating system
 * saves the registers of an instruction set. */
static enum lj_isa processor_isa(void)
{
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (avx2 && avx512)
        return __builtin_cpu_supports("avx512bf16") ? LJ_ISA_AVX512BF16 : LJ_ISA_AVX512;
    return avx2 ? LJ_ISA_AVX2 : LJ_ISA_SCALAR;
}

void lj_processor_name(char *text, size_t capacity)
{
    unsigned word[12] = {0}, most = (unsigned)__get_cpuid_max(0x80000000, NULL);
    char name[sizeof word + 1] = "";
    for (unsigned i = 0; i < 3 && most >= 0x80000004; i++)
        __get_cpuid(0x80000002 + i, &word[4 * i], &word[4 * i + 1], &word[4 * i + 2],
                    &word[4 * i + 3]);
    memcpy(name, word, sizeof word);
    const char *begin = name + strspn(name, " ");
    snprintf(text, capacity, "%s", *begin ? begin : "unknown");
}

int lj_isa_best(enum lj_isa *isa)
{
    *isa = processor_isa();
    const char *wanted = getenv("LJ_ISA");
    if (!wanted || !*wanted)
        return LJ_OK;
    for (int level = 0; level < LJ_ISA_COUNT; level++) {
        if (strcmp(wanted, lj_isa_name((enum lj_isa)level)) != 0)
            continue;
        if (level > (int)*isa)
            return lj_fail(LJ_ERR_CONFIG,
                           "LJ_ISA=%s: this processor has %s at most; unset LJ_ISA or lower it",
                           wanted, lj_isa_name(*isa));
        *isa = (enum lj_isa)level;
        return LJ_OK;
    }
    return lj_fail(LJ_ERR_CONFIG, "LJ_ISA=%s: expected scalar, avx2, avx512 or avx512bf16", wanted);
}

const struct lj_kernels *lj_kernels_of(enum lj_isa isa)
{
    static const struct lj_kernels *const tables[LJ_ISA_COUNT] = {
        &lj_kernels_scalar, &lj_kernels_avx2, &lj_kernels_avx512, &lj_kernels_avx512bf16};
    return isa <= processor_isa() ? tables[isa] : NULL;
}

int lj_kernels_select(enum lj_isa isa)
{
    const struct lj_kernels *table = lj_kernels_of(isa);
    if (!table)
        return lj_fail(LJ_ERR_CONFIG, "kernels at level %s do not run on this processor (%s)",
                       lj_isa_name(isa), lj_isa_name(processor_isa()));
    lj_blis_force_isa(isa);
    lj_onednn_force_isa(isa);
    selected = table;
    selected_isa = isa;
    return LJ_OK;
}

static void select_best(void)
{
    enum lj_isa isa;
    if (!selected)
        LJ_CHECK(lj_isa_best(&isa) == LJ_OK && lj_kernels_select(isa) == LJ_OK, "%s",
                 lj_error_text());
}

/* Several threads may be the first; selecting changes the environment, which must not be read
 * meanwhile. */
static void select_best_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, select_best);
}

enum lj_isa lj_isa_selected(void)
{
    select_best_once();
    return selected_isa;
}

void lj_kernels_release(void)
{
    lj_onednn_release();
    lj_onednn_release_convolutions();
}

const struct lj_kernels *lj_kernels(void)
{
    select_best_once();
    return selected;
}
