/* SPDX-License-Identifier: Apache-2.0 */
/* Packing the second factor of matmuls the way oneDNN's kernels read it, and rounding it on the way.
 * The layout is what oneDNN asks for at one number of rows, so that it serves tiles of any size. Layout
 * and conversion of a shape are made once and kept for the process, with a lock: packing is done once
 * a step and weight, not once a matmul.
 *
 * oneDNN 2.6 asks for the same blocks at every shape. The kernel `pack` writes them with the bytes of
 * oneDNN's reorder in a third of its time: both forms of 10 million weights, ViT-Ti/8's with projector,
 * in 4.0 instead of 13.7 ms. Where another version asks for something else, its reorder packs. */
#include "kernels/gemm/onednn.h"

#include <omp.h>
#include <pthread.h>

enum { ROWS_OF_LAYOUT = 256 };

struct pack {
    struct pack *next;
    int64_t k, n;
    bool transposed;
    enum lj_type type;
    bool panels; /* the layout is the one of the kernel `pack` */
    dnnl_memory_desc_t plain, packed;
    dnnl_primitive_t reorder;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pack *packs;

static dnnl_memory_desc_t ask_for_layout(int64_t k, int64_t n, enum lj_type type)
{
    dnnl_dims_t dims = {k, n};
    dnnl_memory_desc_t a = lj_onednn_matrix(ROWS_OF_LAYOUT, k, false, type), b;
    dnnl_memory_desc_t c = lj_onednn_matrix(ROWS_OF_LAYOUT, n, false, LJ_F32);
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t chosen;
    LJ_ONEDNN(dnnl_memory_desc_init_by_tag(&b, 2, dims, lj_onednn_type(type), dnnl_format_tag_any));
    LJ_ONEDNN(dnnl_matmul_desc_init(&desc, &a, &b, NULL, &c));
    LJ_ONEDNN(dnnl_primitive_desc_create(&chosen, &desc, NULL, lj_onednn_engine(), NULL));
    b = *dnnl_primitive_desc_query_md(chosen, dnnl_query_weights_md, 0);
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    return b;
}

static bool is_panels(const dnnl_memory_desc_t *desc)
{
    const dnnl_blocking_desc_t *b = &desc->format_desc.blocking;
    const dnnl_dim_t *filled = desc->padded_dims;
    return desc->format_kind == dnnl_blocked && desc->data_type == dnnl_bf16 &&
           desc->offset0 == 0 && desc->extra.flags == dnnl_memory_extra_flag_none &&
           filled[0] == lj_round_up(desc->dims[0], LJ_PANEL_ROWS) &&
           filled[1] == lj_round_up(desc->dims[1], LJ_PANEL_COLUMNS) && b->inner_nblks == 3 &&
           b->inner_idxs[0] == 0 && b->inner_blks[0] == LJ_PANEL_ROWS / 2 &&
           b->inner_idxs[1] == 1 && b->inner_blks[1] == LJ_PANEL_COLUMNS && b->inner_idxs[2] == 0 &&
           b->inner_blks[2] == 2 && b->strides[0] == LJ_PANEL_ROWS * LJ_PANEL_COLUMNS &&
           b->strides[1] == LJ_PANEL_COLUMNS * filled[0];
}

static struct pack *make_pack(const struct lj_matmul *p)
{
    struct pack *pack = lj_alloc(sizeof *pack, "matmuls");
    LJ_CHECK(pack, "%s", lj_error_text());
    pack->k = p->k;
    pack->n = p->n;
    pack->transposed = p->transpose_b;
    pack->type = p->input;
    pack->plain = lj_onednn_matrix(p->k, p->n, p->transpose_b, LJ_F32);
    pack->packed = ask_for_layout(p->k, p->n, p->input);
    pack->panels = lj_kernels()->pack && is_panels(&pack->packed);
    dnnl_engine_t engine = lj_onednn_engine();
    dnnl_primitive_desc_t chosen;
    LJ_ONEDNN(dnnl_reorder_primitive_desc_create(&chosen, &pack->plain, engine, &pack->packed,
                                                 engine, NULL));
    LJ_ONEDNN(dnnl_primitive_create(&pack->reorder, chosen));
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    return pack;
}

/* With one thread, as matmuls are made: oneDNN asks when it chooses a layout. */
static const struct pack *find_pack(const struct lj_matmul *p)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    pthread_mutex_lock(&lock);
    struct pack *pack = packs;
    while (pack && !(pack->k == p->k && pack->n == p->n && pack->transposed == p->transpose_b &&
                     pack->type == p->input))
        pack = pack->next;
    if (!pack) {
        pack = make_pack(p);
        pack->next = packs;
        packs = pack;
    }
    pthread_mutex_unlock(&lock);
    omp_set_num_threads(threads);
    return pack;
}

dnnl_memory_desc_t lj_onednn_packed(const struct lj_matmul *matmul)
{
    return find_pack(matmul)->packed;
}

int64_t lj_onednn_packed_bytes(const struct lj_matmul *matmul)
{
    dnnl_memory_desc_t packed = lj_onednn_packed(matmul);
    return (int64_t)dnnl_memory_desc_get_size(&packed);
}

void lj_onednn_reorder(const struct lj_matmul *matmul, const float *b, void *packed)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const struct pack *pack = find_pack(matmul);
    dnnl_stream_t stream;
    dnnl_memory_t from = lj_onednn_memory(&pack->plain), to = lj_onednn_memory(&pack->packed);
    LJ_ONEDNN(dnnl_stream_create(&stream, lj_onednn_engine(), dnnl_stream_default_flags));
    LJ_ONEDNN(dnnl_memory_set_data_handle(from, (void *)b));
    LJ_ONEDNN(dnnl_memory_set_data_handle(to, packed));
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    LJ_ONEDNN(dnnl_primitive_execute(pack->reorder, stream, 2, arguments));
    dnnl_memory_destroy(from);
    dnnl_memory_destroy(to);
    dnnl_stream_destroy(stream);
    omp_set_num_threads(threads);
}

void lj_onednn_pack(const struct lj_matmul *matmul, const float *b, void *packed)
{
    if (find_pack(matmul)->panels)
        lj_kernels()->pack(packed, b, matmul->k, matmul->n, matmul->transpose_b);
    else
        lj_onednn_reorder(matmul, b, packed);
}

void lj_onednn_release_packs(void)
{
    while (packs) {
        struct pack *pack = packs;
        packs = pack->next;
        dnnl_primitive_destroy(pack->reorder);
        lj_free(pack);
    }
}
