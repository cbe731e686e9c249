/* SPDX-License-Identifier: Apache-2.0 */
/* Packing the second factor of matmuls the way oneDNN's kernels read it, and rounding it on the
 * way. The layout is what oneDNN asks for at one number of rows, so that it serves tiles of any
 * size. Layout and conversion of a shape are made once and kept for the process, with a lock:
 * packing is done once a step and weight, not once a matmul.
 *
 * oneDNN 2.6 asks for the same blocks at every shape. The kernel `pack` writes them with the bytes
 * of oneDNN's reorder, but faster. Where a version or processor asks for something else, its
 * reorder packs. */
#include "kernels/gemm/onednn_pack.h"

#include "kernels/gemm/backends.h"

#include <omp.h>
#include <pthread.h>

enum { ROWS_OF_LAYOUT = 256 };

struct pack {
    struct pack *next;
    int64_t k, n;
    bool transposed;
    enum lj_type type;
    bool panels; /* the layout is the one of the kernel `pack` */
    lj_layout plain, packed;
    dnnl_primitive_t reorder;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pack *packs;

static lj_layout ask_for_layout(int64_t k, int64_t n, enum lj_type type)
{
    dnnl_dims_t extent = {k, n};
    lj_layout a = lj_layout_matrix(ROWS_OF_LAYOUT, k, false, type);
    lj_layout b = lj_layout_any(2, extent, type);
    lj_layout c = lj_layout_matrix(ROWS_OF_LAYOUT, n, false, LJ_F32);
    dnnl_primitive_desc_t chosen = lj_onednn_choose_matmul(a, b, NULL, c, NULL, NULL);
    lj_layout wanted = lj_layout_wanted(chosen, dnnl_query_weights_md);
    LJ_ONEDNN(dnnl_primitive_desc_destroy(chosen));
    lj_layout_free(a);
    lj_layout_free(b);
    lj_layout_free(c);
    return wanted;
}

static struct pack *make_pack(const struct lj_matmul *p)
{
    struct pack *pack = lj_alloc(sizeof *pack, "matmuls");
    LJ_CHECK(pack, "%s", lj_error_text());
    pack->k = p->k;
    pack->n = p->n;
    pack->transposed = p->transpose_b;
    pack->type = p->input;
    pack->plain = lj_layout_matrix(p->k, p->n, p->transpose_b, LJ_F32);
    pack->packed = ask_for_layout(p->k, p->n, p->input);
    pack->panels = lj_kernels()->pack && lj_layout_is_panels(pack->packed);
    pack->reorder = lj_onednn_make_reorder(pack->plain, pack->packed, false);
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

lj_layout lj_onednn_packed(const struct lj_matmul *matmul)
{
    return find_pack(matmul)->packed;
}

int64_t lj_onednn_packed_bytes(const struct lj_matmul *matmul)
{
    return lj_layout_bytes(lj_onednn_packed(matmul));
}

void lj_onednn_reorder(const struct lj_matmul *matmul, const float *b, void *packed)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const struct pack *pack = find_pack(matmul);
    dnnl_stream_t stream;
    dnnl_memory_t from = lj_onednn_memory(pack->plain), to = lj_onednn_memory(pack->packed);
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
        lj_layout_free(pack->plain);
        lj_layout_free(pack->packed);
        lj_free(pack);
    }
}
