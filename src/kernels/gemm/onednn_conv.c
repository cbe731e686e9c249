/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions by oneDNN, on maps as they are, channels last. As for matmuls (onednn.c), a pass of
 * a given shape is compiled at its first use and kept in a table of the calling thread, and runs on
 * one thread.
 *
 * W has a layout of oneDNN's own, blocks of channels. It is packed in the layout asked for by a map
 * of MAP pixels, whatever the size of the maps that follow. oneDNN 2's kernels "jit" ask for the
 * same blocks at nearly every size, which its "brgconv" do not, and are as fast
 * (tests/bench/RESULTS.md); oneDNN 3 has brgconv alone for maps that are channels last.
 * Where a shape wants other blocks, or W comes as PyTorch has it, W is laid out again in each call.
 * Gradients of W are made in oneDNN's layout and then stored, or added, in PyTorch's. */
#include "kernels/gemm/backends.h"
#include "kernels/gemm/onednn_api.h"

#include <omp.h>
#include <pthread.h>
#include <string.h>

enum { MAP = 32, LISTS = 64 };

/* Where an array stands in the list of memories. */
enum { X, W, Y, BIAS, SCRATCH, GIVEN_W, MEMORIES };

/* A compiled pass. */
struct entry {
    struct entry *next;
    struct lj_convolution convolution;
    bool bias;
    dnnl_primitive_t primitive;
    dnnl_primitive_t reorder; /* of W or dW, between GIVEN_W and W; NULL: they are one */
    size_t w_at;              /* in the table's scratch: W in oneDNN's layout */
    dnnl_memory_t memory[MEMORIES];
};

struct table {
    struct table *next;
    struct entry *list[LISTS];
    dnnl_stream_t stream;
    char *scratch; /* of the largest convolution so far */
    size_t scratch_size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct table *tables; /* of all threads */
static _Thread_local struct table *my_table;

/* The packed forms of W, kept for the process. */
struct pack {
    struct pack *next;
    struct lj_convolution convolution;
    lj_layout plain, packed;
    dnnl_primitive_t reorder;
};
static struct pack *packs;

static void *allocate(size_t size)
{
    void *memory = lj_alloc(size, "convolutions");
    LJ_CHECK(memory, "%s", lj_error_text());
    return memory;
}

/* ---- layouts ----------------------------------------------------------------------------- */

/* Maps, channels last; oneDNN names their axes (images, channels, lines, columns). */
static lj_layout describe_maps(int64_t images, int64_t height, int64_t width, int64_t channels,
                               enum lj_type type)
{
    dnnl_dims_t extent = {images, channels, height, width};
    dnnl_dims_t strides = {height * width * channels, 1, width * channels, channels};
    return lj_layout_strided(4, extent, strides, type);
}

/* W with an axis of groups when depthwise: as PyTorch has it, or in any layout. */
static lj_layout describe_weights(const struct lj_convolution *p, bool any, enum lj_type type)
{
    int64_t taps = p->kernel * p->kernel, channels = p->depthwise ? 1 : p->channels;
    dnnl_dims_t extent = {p->channels, p->out, channels, p->kernel, p->kernel};
    dnnl_dims_t strides = {taps, channels * taps, taps, p->kernel, 1};
    int first = p->depthwise ? 0 : 1;
    if (p->depthwise)
        extent[1] = 1;
    return any ? lj_layout_any(5 - first, extent + first, type)
               : lj_layout_strided(5 - first, extent + first, strides + first, type);
}

static lj_layout describe_bias(const struct lj_convolution *p)
{
    dnnl_dims_t extent = {p->out}, strides = {1};
    return lj_layout_strided(1, extent, strides, LJ_F32);
}

static enum lj_type type_of(const struct lj_convolution *p, enum lj_convolution_pass writer)
{
    return p->pass == writer ? p->output : p->input;
}

/* The implementation for a pass, W in any layout. */
static dnnl_primitive_desc_t choose(const struct lj_convolution *p, bool with_bias)
{
    bool weight_gradient = p->pass == LJ_CONVOLUTION_WEIGHT_GRADIENT;
    dnnl_dims_t strides = {p->stride, p->stride}, padding = {p->padding, p->padding};
    lj_layout x = describe_maps(p->images, p->height, p->width, p->channels,
                                type_of(p, LJ_CONVOLUTION_INPUT_GRADIENT));
    lj_layout y = describe_maps(p->images, lj_convolution_height(p), lj_convolution_width(p),
                                p->out, type_of(p, LJ_CONVOLUTION_FORWARD));
    lj_layout w = describe_weights(p, true, weight_gradient ? LJ_F32 : p->input);
    lj_layout bias = with_bias ? describe_bias(p) : NULL;
    dnnl_primitive_attr_t attributes = lj_onednn_attributes(false);
    dnnl_primitive_desc_t chosen =
        lj_onednn_choose_convolution(p->pass, x, w, bias, y, strides, padding, attributes, "jit");
    LJ_ONEDNN(dnnl_primitive_attr_destroy(attributes));
    lj_layout_free(x);
    lj_layout_free(y);
    lj_layout_free(w);
    lj_layout_free(bias);
    return chosen;
}

static lj_layout layout_of_weights(const struct lj_convolution *p, dnnl_primitive_desc_t chosen)
{
    return lj_layout_wanted(chosen, p->pass == LJ_CONVOLUTION_WEIGHT_GRADIENT
                                        ? dnnl_query_diff_weights_md
                                        : dnnl_query_weights_md);
}

/* ---- packing ----------------------------------------------------------------------------- */

/* With what does not touch the packed form of W set to one value. */
static struct lj_convolution packing_of(const struct lj_convolution *p)
{
    struct lj_convolution packing = {.pass = p->pass,
                                     .images = 1,
                                     .height = MAP + p->kernel,
                                     .width = MAP + p->kernel,
                                     .channels = p->channels,
                                     .out = p->out,
                                     .kernel = p->kernel,
                                     .stride = 1,
                                     .padding = p->kernel / 2,
                                     .depthwise = p->depthwise,
                                     .input = p->input,
                                     .output = LJ_F32};
    return packing;
}

static bool same(const struct lj_convolution *p, const struct lj_convolution *q)
{
    return p->pass == q->pass && p->images == q->images && p->height == q->height &&
           p->width == q->width && p->channels == q->channels && p->out == q->out &&
           p->kernel == q->kernel && p->stride == q->stride && p->padding == q->padding &&
           p->depthwise == q->depthwise && p->packed == q->packed && p->add == q->add &&
           p->input == q->input && p->output == q->output;
}

static struct pack *make_pack(const struct lj_convolution *packing)
{
    struct pack *pack = allocate(sizeof *pack);
    dnnl_primitive_desc_t chosen = choose(packing, false);
    pack->convolution = *packing;
    pack->plain = describe_weights(packing, false, LJ_F32);
    pack->packed = layout_of_weights(packing, chosen);
    pack->reorder = lj_onednn_make_reorder(pack->plain, pack->packed, false);
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    return pack;
}

/* To be called with one OpenMP thread, for which oneDNN chooses layouts. */
static const struct pack *find_pack(const struct lj_convolution *p)
{
    struct lj_convolution packing = packing_of(p);
    pthread_mutex_lock(&lock);
    struct pack *pack = packs;
    while (pack && !same(&pack->convolution, &packing))
        pack = pack->next;
    if (!pack) {
        pack = make_pack(&packing);
        pack->next = packs;
        packs = pack;
    }
    pthread_mutex_unlock(&lock);
    return pack;
}

int64_t lj_onednn_convolution_packed_bytes(const struct lj_convolution *convolution)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    int64_t bytes = lj_layout_bytes(find_pack(convolution)->packed);
    omp_set_num_threads(threads);
    return bytes;
}

void lj_onednn_convolution_pack(const struct lj_convolution *convolution, const float *w,
                                void *packed)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const struct pack *pack = find_pack(convolution);
    dnnl_stream_t stream;
    dnnl_memory_t from = lj_onednn_memory(pack->plain), to = lj_onednn_memory(pack->packed);
    LJ_ONEDNN(dnnl_stream_create(&stream, lj_onednn_engine(), dnnl_stream_default_flags));
    LJ_ONEDNN(dnnl_memory_set_data_handle(from, (void *)w));
    LJ_ONEDNN(dnnl_memory_set_data_handle(to, packed));
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    LJ_ONEDNN(dnnl_primitive_execute(pack->reorder, stream, 2, arguments));
    dnnl_memory_destroy(from);
    dnnl_memory_destroy(to);
    dnnl_stream_destroy(stream);
    omp_set_num_threads(threads);
}

/* ---- the table of a thread --------------------------------------------------------------- */

static void free_entry(struct entry *e)
{
    for (int i = 0; i < MEMORIES; i++)
        if (e->memory[i])
            dnnl_memory_destroy(e->memory[i]);
    if (e->reorder)
        dnnl_primitive_destroy(e->reorder);
    dnnl_primitive_destroy(e->primitive);
    lj_free(e);
}

void lj_onednn_release_convolutions(void)
{
    while (tables) {
        struct table *table = tables;
        tables = table->next;
        for (int i = 0; i < LISTS; i++)
            while (table->list[i]) {
                struct entry *e = table->list[i];
                table->list[i] = e->next;
                free_entry(e);
            }
        dnnl_stream_destroy(table->stream);
        lj_free(table->scratch);
        lj_free(table);
    }
    my_table = NULL;
    while (packs) {
        struct pack *pack = packs;
        packs = pack->next;
        dnnl_primitive_destroy(pack->reorder);
        lj_layout_free(pack->plain);
        lj_layout_free(pack->packed);
        lj_free(pack);
    }
}

static struct table *get_table(void)
{
    if (my_table)
        return my_table;
    my_table = allocate(sizeof *my_table);
    LJ_ONEDNN(dnnl_stream_create(&my_table->stream, lj_onednn_engine(), dnnl_stream_default_flags));
    pthread_mutex_lock(&lock);
    my_table->next = tables;
    tables = my_table;
    pthread_mutex_unlock(&lock);
    return my_table;
}

static void grow_scratch(struct table *table, size_t size)
{
    if (size <= table->scratch_size)
        return;
    lj_free(table->scratch);
    table->scratch_size = (size + 4095) / 4096 * 4096;
    table->scratch = allocate(table->scratch_size);
}

/* ---- compiling --------------------------------------------------------------------------- */

static dnnl_memory_t take_memory(lj_layout layout)
{
    dnnl_memory_t memory = lj_onednn_memory(layout);
    lj_layout_free(layout);
    return memory;
}

/* Makes the handle of W as the caller has it and, unless that is what the primitive wants, the
 * reorder between the two. */
static void connect_weights(struct entry *e, lj_layout wanted)
{
    const struct lj_convolution *p = &e->convolution;
    lj_layout plain = describe_weights(p, false, LJ_F32);
    lj_layout given = p->packed ? find_pack(p)->packed : plain;
    if (p->pass == LJ_CONVOLUTION_WEIGHT_GRADIENT)
        e->reorder = lj_onednn_make_reorder(wanted, given, p->add);
    else if (!lj_layout_equal(given, wanted))
        e->reorder = lj_onednn_make_reorder(given, wanted, false);
    e->memory[GIVEN_W] = lj_onednn_memory(given);
    lj_layout_free(plain);
}

static struct entry *compile(struct table *table, const struct lj_convolution *p, bool bias)
{
    bool forward = p->pass == LJ_CONVOLUTION_FORWARD;
    bool input_gradient = p->pass == LJ_CONVOLUTION_INPUT_GRADIENT;
    struct entry *e = allocate(sizeof *e);
    dnnl_primitive_desc_t chosen = choose(p, bias);
    lj_layout w = layout_of_weights(p, chosen);
    lj_layout scratch = lj_layout_wanted(chosen, dnnl_query_scratchpad_md);
    e->convolution = *p;
    e->bias = bias;
    LJ_ONEDNN(dnnl_primitive_create(&e->primitive, chosen));
    connect_weights(e, w);
    e->w_at = (size_t)lj_round_up(lj_layout_bytes(scratch), 64);
    grow_scratch(table, e->w_at + (e->reorder ? (size_t)lj_layout_bytes(w) : 0));
    e->memory[X] = take_memory(
        lj_layout_wanted(chosen, input_gradient ? dnnl_query_diff_src_md : dnnl_query_src_md));
    e->memory[Y] =
        take_memory(lj_layout_wanted(chosen, forward ? dnnl_query_dst_md : dnnl_query_diff_dst_md));
    if (bias)
        e->memory[BIAS] = take_memory(describe_bias(p));
    e->memory[W] = take_memory(w);
    e->memory[SCRATCH] = take_memory(scratch);
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    return e;
}

/* ---- running ----------------------------------------------------------------------------- */

static struct entry *find(struct table *table, const struct lj_convolution *p, bool bias)
{
    int64_t number = p->channels + 3 * p->out + 5 * p->height + 7 * p->kernel + 11 * p->images;
    struct entry **list = &table->list[(number + (int64_t)p->pass) % LISTS], *e = *list;
    while (e && !(e->bias == bias && same(&e->convolution, p)))
        e = e->next;
    if (!e) {
        e = compile(table, p, bias);
        e->next = *list;
        *list = e;
    }
    return e;
}

static void set_handle(const struct entry *e, int which, const void *data)
{
    if (e->memory[which])
        LJ_ONEDNN(dnnl_memory_set_data_handle(e->memory[which], (void *)data));
}

/* W from what was given to what the primitive reads, or dW the other way round. */
static void reorder_weights(const struct table *table, const struct entry *e)
{
    bool back = e->convolution.pass == LJ_CONVOLUTION_WEIGHT_GRADIENT;
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, e->memory[back ? W : GIVEN_W]},
                                   {DNNL_ARG_TO, e->memory[back ? GIVEN_W : W]}};
    if (e->reorder)
        LJ_ONEDNN(dnnl_primitive_execute(e->reorder, table->stream, 2, arguments));
}

static void execute(const struct table *table, const struct entry *e)
{
    static const int name[][3] = {/* of X, W and Y in each pass */
                                  {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
                                  {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
                                  {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST}};
    const int *names = name[e->convolution.pass];
    dnnl_exec_arg_t arguments[] = {{names[0], e->memory[X]},
                                   {names[1], e->memory[W]},
                                   {names[2], e->memory[Y]},
                                   {DNNL_ARG_SCRATCHPAD, e->memory[SCRATCH]},
                                   {DNNL_ARG_BIAS, e->memory[BIAS]}};
    LJ_ONEDNN(dnnl_primitive_execute(e->primitive, table->stream, e->bias ? 5 : 4, arguments));
}

void lj_onednn_convolve(const struct lj_convolution *convolution, const void *a, const void *b,
                        const float *bias, void *c)
{
    struct table *table = get_table();
    enum lj_convolution_pass pass = convolution->pass;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1); /* oneDNN asks, also while it compiles */
    const struct entry *e = find(table, convolution, bias != NULL);
    const void *w = pass == LJ_CONVOLUTION_WEIGHT_GRADIENT ? c : b;
    set_handle(e, X, pass == LJ_CONVOLUTION_INPUT_GRADIENT ? c : a);
    set_handle(e, Y,
               pass == LJ_CONVOLUTION_FORWARD          ? c
               : pass == LJ_CONVOLUTION_INPUT_GRADIENT ? a
                                                       : b);
    set_handle(e, GIVEN_W, w);
    set_handle(e, W, e->reorder ? table->scratch + e->w_at : w);
    set_handle(e, SCRATCH, table->scratch);
    set_handle(e, BIAS, bias);
    if (pass != LJ_CONVOLUTION_WEIGHT_GRADIENT)
        reorder_weights(table, e);
    execute(table, e);
    if (pass == LJ_CONVOLUTION_WEIGHT_GRADIENT)
        reorder_weights(table, e);
    omp_set_num_threads(threads);
}
