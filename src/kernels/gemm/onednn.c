/* SPDX-License-Identifier: Apache-2.0 */
/* Matmuls by oneDNN. A matmul of a given shape is a primitive, compiled at its first use and
 * kept, with the handles of its arrays, in a table of the calling thread: no lock in the step, and
 * after the first step nothing is compiled. One thread each, for the reason given in blis.c. */
#include "kernels/gemm/backends.h"
#include "kernels/gemm/onednn_pack.h"

#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { TABLE_SIZE = 1024, MOST_ENTRIES = TABLE_SIZE / 2, ARGUMENTS = 5 };

/* One compiled matmul. */
struct entry {
    struct lj_matmul matmul;
    bool bias, used;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c, bias_memory, scratch;
};

struct table {
    struct table *next;
    struct entry entry[TABLE_SIZE];
    int count;
    dnnl_stream_t stream;
    void *scratch; /* of the largest matmul so far */
    size_t scratch_size;
};

static pthread_once_t level_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t tables_lock = PTHREAD_MUTEX_INITIALIZER;
static struct table *tables; /* of all threads */
static _Thread_local struct table *my_table;

static const dnnl_cpu_isa_t level_of[LJ_ISA_COUNT] = {
    dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core, dnnl_cpu_isa_avx512_core_bf16};

void lj_onednn_force_isa(enum lj_isa isa)
{
    /* oneDNN refuses this after its first use, and BLIS reads its variable only once: the level of
     * matmuls is chosen once a process. */
    (void)dnnl_set_max_cpu_isa(level_of[isa]);
}

void lj_onednn_version(char *text, size_t capacity)
{
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, capacity, "%d.%d.%d", version->major, version->minor, version->patch);
}

/* ---- the table of a thread --------------------------------------------------------------- */

static void clear_table(struct table *table)
{
    for (int i = 0; i < TABLE_SIZE; i++) {
        struct entry *e = &table->entry[i];
        dnnl_memory_t memory[] = {e->a, e->b, e->c, e->bias_memory, e->scratch};
        for (int k = 0; e->used && k < ARGUMENTS; k++)
            if (memory[k])
                dnnl_memory_destroy(memory[k]);
        if (e->used)
            dnnl_primitive_destroy(e->primitive);
    }
    memset(table->entry, 0, sizeof table->entry);
    table->count = 0;
}

void lj_onednn_release(void)
{
    while (tables) {
        struct table *table = tables;
        tables = table->next;
        clear_table(table);
        dnnl_stream_destroy(table->stream);
        lj_free(table->scratch);
        lj_free(table);
    }
    my_table = NULL;
    lj_onednn_release_packs();
}

/* Where oneDNN does not take the limit, nodes of other processors may compute other bits. */
static void check_level(void)
{
    if (dnnl_get_effective_cpu_isa() != level_of[lj_isa_selected()])
        lj_warn(
            "oneDNN runs at another level than %s; ranks on other processors may give other bits",
            lj_isa_name(lj_isa_selected()));
}

static struct table *get_table(void)
{
    if (my_table)
        return my_table;
    pthread_once(&level_once, check_level);
    my_table = lj_alloc(sizeof *my_table, "matmuls");
    LJ_CHECK(my_table, "%s", lj_error_text());
    LJ_ONEDNN(dnnl_stream_create(&my_table->stream, lj_onednn_engine(), dnnl_stream_default_flags));
    pthread_mutex_lock(&tables_lock);
    my_table->next = tables;
    tables = my_table;
    pthread_mutex_unlock(&tables_lock);
    return my_table;
}

/* ---- compiling --------------------------------------------------------------------------- */

/* A batch of matrices one behind the other; a batch of one is a plain matrix. */
static lj_layout describe(int64_t batch, int64_t rows, int64_t columns, bool transposed,
                          enum lj_type type)
{
    if (batch == 1)
        return lj_layout_matrix(rows, columns, transposed, type);
    dnnl_dims_t extent = {batch, rows, columns};
    dnnl_dims_t strides = {rows * columns, transposed ? 1 : columns, transposed ? rows : 1};
    return lj_layout_strided(3, extent, strides, type);
}

static lj_layout describe_bias(const struct lj_matmul *p)
{
    dnnl_dims_t extent = {1, 1, p->n}, strides = {p->n, p->n, 1};
    return p->batch == 1 ? lj_layout_matrix(1, p->n, false, LJ_F32)
                         : lj_layout_strided(3, extent, strides, LJ_F32);
}

static void grow_scratch(struct table *table, size_t size)
{
    if (size <= table->scratch_size)
        return;
    lj_free(table->scratch);
    table->scratch_size = (size + 4095) / 4096 * 4096;
    table->scratch = lj_alloc(table->scratch_size, "matmuls");
    LJ_CHECK(table->scratch, "out of memory: %zu bytes for a matmul", size);
}

/* oneDNN lists its implementations by what it expects of them; 2.6 puts brgemm before its packing
 * gemm. Measured for gradients of weights, A^T B over k rows of tokens, at the widths of ViT-Ti to
 * ViT-B: above these limits gemm is 0.92 to 2.2 times as fast (median 1.12 in bf16, 1.07 in
 * float32), below them 0.92 to 1.12 times (median 0.96, 0.99); attention's P^T dO is too small for
 * it. It takes its buffers from malloc in every call, which touches no new page once the heap has
 * grown. */
static bool prefers_gemm(const struct lj_matmul *p)
{
    int64_t elements = p->m * p->n;
    return p->transpose_a && p->batch == 1 && elements >= 1 << 15 &&
           (p->k >= 256 || elements >= 1 << 20);
}

/* A handle of an array of this layout, which is freed. */
static dnnl_memory_t take_memory(lj_layout layout)
{
    dnnl_memory_t memory = lj_onednn_memory(layout);
    lj_layout_free(layout);
    return memory;
}

static void compile(struct table *table, struct entry *e, const struct lj_matmul *p, bool bias)
{
    lj_layout a = describe(p->batch, p->m, p->k, p->transpose_a, p->input);
    lj_layout plain_b = describe(p->batch, p->k, p->n, p->transpose_b, p->input);
    lj_layout b = p->packed_b ? lj_onednn_packed(p) : plain_b;
    lj_layout c = describe(p->batch, p->m, p->n, false, p->output);
    lj_layout row = bias ? describe_bias(p) : NULL;
    dnnl_primitive_attr_t attributes = lj_onednn_attributes(p->add);
    dnnl_primitive_desc_t chosen =
        lj_onednn_choose_matmul(a, b, row, c, attributes, prefers_gemm(p) ? "gemm:jit" : NULL);
    LJ_ONEDNN(dnnl_primitive_create(&e->primitive, chosen));
    lj_layout scratch = lj_layout_wanted(chosen, dnnl_query_scratchpad_md);
    grow_scratch(table, (size_t)lj_layout_bytes(scratch));
    e->scratch = take_memory(scratch);
    e->b = lj_onednn_memory(b);
    lj_layout_free(plain_b);
    e->a = take_memory(a);
    e->c = take_memory(c);
    e->bias_memory = bias ? take_memory(row) : NULL;
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    LJ_ONEDNN(dnnl_primitive_attr_destroy(attributes));
    e->matmul = *p;
    e->bias = bias;
    e->used = true;
    table->count++;
}

/* ---- looking up -------------------------------------------------------------------------- */

static bool same(const struct entry *e, const struct lj_matmul *p, bool bias)
{
    const struct lj_matmul *q = &e->matmul;
    return q->m == p->m && q->n == p->n && q->k == p->k && q->batch == p->batch &&
           q->transpose_a == p->transpose_a && q->transpose_b == p->transpose_b &&
           q->add == p->add && q->packed_b == p->packed_b && q->input == p->input &&
           q->output == p->output && e->bias == bias;
}

static uint64_t hash(const struct lj_matmul *p, bool bias)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t flags = (uint64_t)p->transpose_a | (uint64_t)p->transpose_b << 1 |
                     (uint64_t)p->add << 2 | (uint64_t)p->input << 3 | (uint64_t)p->output << 4 |
                     (uint64_t)bias << 5 | (uint64_t)p->packed_b << 6;
    uint64_t part[] = {(uint64_t)p->m, (uint64_t)p->n, (uint64_t)p->k, (uint64_t)p->batch, flags};
    uint64_t h = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        h = (h ^ part[i]) * odd ^ h >> 29;
    return h >> 32;
}

static struct entry *find(struct table *table, const struct lj_matmul *p, bool bias)
{
    if (table->count == MOST_ENTRIES) /* too many different sizes: compile anew */
        clear_table(table);
    uint64_t at = hash(p, bias) % TABLE_SIZE;
    while (table->entry[at].used && !same(&table->entry[at], p, bias))
        at = (at + 1) % TABLE_SIZE;
    struct entry *e = &table->entry[at];
    if (!e->used)
        compile(table, e, p, bias);
    return e;
}

void lj_onednn_matmul(const struct lj_matmul *matmul, const void *a, const void *b,
                      const float *bias, void *c)
{
    struct table *table = get_table();
    int threads = omp_get_max_threads();
    omp_set_num_threads(1); /* oneDNN asks, also while it compiles */
    struct entry *e = find(table, matmul, bias != NULL);
    LJ_ONEDNN(dnnl_memory_set_data_handle(e->a, (void *)a));
    LJ_ONEDNN(dnnl_memory_set_data_handle(e->b, (void *)b));
    LJ_ONEDNN(dnnl_memory_set_data_handle(e->c, c));
    LJ_ONEDNN(dnnl_memory_set_data_handle(e->scratch, table->scratch));
    if (bias)
        LJ_ONEDNN(dnnl_memory_set_data_handle(e->bias_memory, (void *)bias));
    dnnl_exec_arg_t arguments[ARGUMENTS] = {{DNNL_ARG_SRC, e->a},
                                            {DNNL_ARG_WEIGHTS, e->b},
                                            {DNNL_ARG_DST, e->c},
                                            {DNNL_ARG_SCRATCHPAD, e->scratch},
                                            {DNNL_ARG_BIAS, e->bias_memory}};
    LJ_ONEDNN(dnnl_primitive_execute(e->primitive, table->stream, bias ? ARGUMENTS : ARGUMENTS - 1,
                                     arguments));
    omp_set_num_threads(threads);
}
