/* SPDX-License-Identifier: Apache-2.0 */
/* Matmuls by oneDNN. A matmul of a given shape is a primitive, compiled at its first use and
 * kept, with the handles of its arrays, in a table of the calling thread: no lock in the step, and after
 * the first step nothing is compiled. One thread each, for the reason given in gemm_blis.c. */
#include "kernels/gemm/onednn.h"

#include <omp.h>
#include <pthread.h>
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

static dnnl_engine_t engine;
static pthread_once_t engine_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t tables_lock = PTHREAD_MUTEX_INITIALIZER;
static struct table *tables; /* of all threads */
static _Thread_local struct table *my_table;

static const dnnl_cpu_isa_t level_of[LJ_ISA_COUNT] = {
    dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core, dnnl_cpu_isa_avx512_core_bf16};

void lj_onednn_force_isa(enum lj_isa isa)
{
    /* Refused after oneDNN's first use, as BLIS then no longer looks at its variable: the level of
     * matmuls is chosen once a process. */
    (void)dnnl_set_max_cpu_isa(level_of[isa]);
}

/* ---- the table of a thread ------------------------------------------------------------------------- */

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

static void make_engine(void)
{
    /* Where oneDNN does not take the limit, nodes of other processors may compute other bits. */
    if (dnnl_get_effective_cpu_isa() != level_of[lj_isa_selected()])
        lj_warn(
            "oneDNN runs at another level than %s; ranks on other processors may give other bits",
            lj_isa_name(lj_isa_selected()));
    LJ_ONEDNN(dnnl_engine_create(&engine, dnnl_cpu, 0));
}

dnnl_engine_t lj_onednn_engine(void)
{
    pthread_once(&engine_once, make_engine);
    return engine;
}

dnnl_data_type_t lj_onednn_type(enum lj_type type)
{
    return type == LJ_BF16 ? dnnl_bf16 : dnnl_f32;
}

dnnl_memory_t lj_onednn_memory(const dnnl_memory_desc_t *desc)
{
    dnnl_memory_t memory;
    LJ_ONEDNN(dnnl_memory_create(&memory, desc, lj_onednn_engine(), DNNL_MEMORY_NONE));
    return memory;
}

static struct table *get_table(void)
{
    if (my_table)
        return my_table;
    my_table = lj_alloc(sizeof *my_table, "matmuls");
    LJ_CHECK(my_table, "%s", lj_error_text());
    LJ_ONEDNN(dnnl_stream_create(&my_table->stream, lj_onednn_engine(), dnnl_stream_default_flags));
    pthread_mutex_lock(&tables_lock);
    my_table->next = tables;
    tables = my_table;
    pthread_mutex_unlock(&tables_lock);
    return my_table;
}

/* ---- compiling --------------------------------------------------------------------------------------- */

dnnl_memory_desc_t lj_onednn_matrix(int64_t rows, int64_t columns, bool transposed,
                                    enum lj_type type)
{
    dnnl_dims_t dims = {rows, columns}, strides = {columns, 1};
    if (transposed) {
        strides[0] = 1;
        strides[1] = rows;
    }
    dnnl_memory_desc_t desc;
    LJ_ONEDNN(dnnl_memory_desc_init_by_strides(&desc, 2, dims, lj_onednn_type(type), strides));
    return desc;
}

/* The same for a batch of them; a batch of one is a plain matmul. */
static dnnl_memory_desc_t describe(int64_t batch, int64_t rows, int64_t columns, bool transposed,
                                   enum lj_type type)
{
    if (batch == 1)
        return lj_onednn_matrix(rows, columns, transposed, type);
    dnnl_dims_t dims = {batch, rows, columns};
    dnnl_dims_t strides = {rows * columns, transposed ? 1 : columns, transposed ? rows : 1};
    dnnl_memory_desc_t desc;
    LJ_ONEDNN(dnnl_memory_desc_init_by_strides(&desc, 3, dims, lj_onednn_type(type), strides));
    return desc;
}

static dnnl_memory_desc_t describe_bias(const struct lj_matmul *p)
{
    dnnl_dims_t row = {1, p->n}, rows = {1, 1, p->n};
    dnnl_memory_desc_t desc;
    LJ_ONEDNN(dnnl_memory_desc_init_by_tag(&desc, p->batch > 1 ? 3 : 2, p->batch > 1 ? rows : row,
                                           dnnl_f32, p->batch > 1 ? dnnl_abc : dnnl_ab));
    return desc;
}

static dnnl_primitive_attr_t make_attributes(bool add)
{
    dnnl_primitive_attr_t attributes;
    LJ_ONEDNN(dnnl_primitive_attr_create(&attributes));
    LJ_ONEDNN(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user));
    if (add) {
        dnnl_post_ops_t sum;
        LJ_ONEDNN(dnnl_post_ops_create(&sum));
        LJ_ONEDNN(dnnl_post_ops_append_sum(sum, 1));
        LJ_ONEDNN(dnnl_primitive_attr_set_post_ops(attributes, sum));
        LJ_ONEDNN(dnnl_post_ops_destroy(sum));
    }
    return attributes;
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

/* oneDNN lists its implementations by what it expects of them; 2.6 puts brgemm before its packing gemm.
 * Measured for gradients of weights, A^T B over k rows of tokens, at the widths of ViT-Ti to ViT-B: above
 * these limits gemm is 0.92 to 2.2 times as fast (median 1.12 in bf16, 1.07 in float32), below them 0.92 to
 * 1.12 times (median 0.96, 0.99); attention's P^T dO is too small for it. It takes its buffers from malloc
 * in every call, which touches no new page once the heap has grown. */
static bool prefers_gemm(const struct lj_matmul *p)
{
    int64_t elements = p->m * p->n;
    return p->transpose_a && p->batch == 1 && elements >= 1 << 15 &&
           (p->k >= 256 || elements >= 1 << 20);
}

static bool is_gemm(dnnl_primitive_desc_t desc)
{
    const char *name = "";
    LJ_ONEDNN(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name));
    return strstr(name, "gemm:jit") != NULL;
}

/* The first implementation; gemm where that is wanted and there. */
static dnnl_primitive_desc_t choose(const dnnl_matmul_desc_t *desc,
                                    dnnl_primitive_attr_t attributes, bool gemm)
{
    dnnl_primitive_desc_iterator_t list;
    LJ_ONEDNN(
        dnnl_primitive_desc_iterator_create(&list, desc, attributes, lj_onednn_engine(), NULL));
    dnnl_primitive_desc_t chosen = dnnl_primitive_desc_iterator_fetch(list);
    bool found = !gemm || is_gemm(chosen);
    while (!found && dnnl_primitive_desc_iterator_next(list) == dnnl_success) {
        dnnl_primitive_desc_t next = dnnl_primitive_desc_iterator_fetch(list);
        found = is_gemm(next);
        LJ_ONEDNN(dnnl_primitive_desc_destroy(found ? chosen : next));
        chosen = found ? next : chosen;
    }
    LJ_ONEDNN(dnnl_primitive_desc_iterator_destroy(list));
    return chosen;
}

static void compile(struct table *table, struct entry *e, const struct lj_matmul *p, bool bias)
{
    dnnl_memory_desc_t a = describe(p->batch, p->m, p->k, p->transpose_a, p->input);
    dnnl_memory_desc_t b = p->packed_b ? lj_onednn_packed(p)
                                       : describe(p->batch, p->k, p->n, p->transpose_b, p->input);
    dnnl_memory_desc_t c = describe(p->batch, p->m, p->n, false, p->output);
    dnnl_memory_desc_t row = describe_bias(p);
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attributes = make_attributes(p->add);
    LJ_ONEDNN(dnnl_matmul_desc_init(&desc, &a, &b, bias ? &row : NULL, &c));
    dnnl_primitive_desc_t chosen = choose(&desc, attributes, prefers_gemm(p));
    LJ_ONEDNN(dnnl_primitive_create(&e->primitive, chosen));
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(chosen, dnnl_query_scratchpad_md, 0);
    grow_scratch(table, dnnl_memory_desc_get_size(scratch));
    e->scratch = lj_onednn_memory(scratch);
    e->a = lj_onednn_memory(&a);
    e->b = lj_onednn_memory(&b);
    e->c = lj_onednn_memory(&c);
    e->bias_memory = bias ? lj_onednn_memory(&row) : NULL;
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    LJ_ONEDNN(dnnl_primitive_attr_destroy(attributes));
    e->matmul = *p;
    e->bias = bias;
    e->used = true;
    table->count++;
}

/* ---- looking up ----------------------------------------------------------------------------------------- */

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
    if (table->count == MOST_ENTRIES) /* odd sizes without end: begin anew */
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
