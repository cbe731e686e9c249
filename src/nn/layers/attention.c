/* SPDX-License-Identifier: Apache-2.0 */
/* Multi-head self-attention between the qkv and output projections (Vaswani et al. 2017; timm's
 * layout: columns q | k | v, each cut into heads of d = C / heads):
 *   S = Q K^T / sqrt(d)    P = softmax(S)    O = P V
 *   dV = P^T dO    dP = dO V^T    dS = P (dP - rowsum(P dP))    dQ = dS K / sqrt(d)    dK = dS^T Q
 *                                                                                      / sqrt(d)
 * Some pairs of image and head are worked on at a time, so that their T x T arrays stay in cache:
 * their rows are gathered into dense arrays, multiplied as one batch of matmuls, and put back. No T
 * x T array is saved: backward computes P again from the saved log of each row's sum. ints: [0]
 * heads. Saved: (heads, T) of each image. Scratch: struct workspace. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* Elements of S of the pairs that are worked on at a time. */
enum { SCORES_AT_ONCE = 1 << 17 };

/* Sizes of one call, and the arrays of `at_once` pairs in scratch. */
struct workspace {
    int64_t tokens, width, heads, size; /* of a head */
    int64_t pairs, at_once;
    enum lj_type type;
    char *q, *k, *v, *out, *p, *ds; /* (at_once, T, d); (at_once, T, T) */
    float *s, *dp;                  /* (at_once, T, T) */
};

static int64_t pairs_at_once(int64_t pairs, int64_t tokens)
{
    return lj_max_i64(1, lj_min_i64(pairs, SCORES_AT_ONCE / (tokens * tokens)));
}

/* Gives *array its place and returns the bytes used after it. */
static int64_t take(char *base, int64_t at, int64_t bytes, char **array)
{
    *array = base ? base + at : NULL;
    return at + lj_round_up(bytes, 64);
}

/* Lays out the arrays from base; returns their bytes. */
static int64_t lay_out(struct workspace *d, char *base)
{
    int64_t rows = d->at_once * d->tokens, bytes = lj_type_bytes(d->type), at = 0;
    char *s, *dp;
    char **const heads[] = {&d->q, &d->k, &d->v, &d->out};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        at = take(base, at, rows * d->size * bytes, heads[i]);
    at = take(base, at, rows * d->tokens * (int64_t)sizeof(float), &s);
    at = take(base, at, rows * d->tokens * (int64_t)sizeof(float), &dp);
    d->s = (float *)(void *)s;
    d->dp = (float *)(void *)dp;
    d->p = s; /* in place in float32 */
    d->ds = dp;
    if (d->type == LJ_BF16) {
        at = take(base, at, rows * d->tokens * bytes, &d->p);
        at = take(base, at, rows * d->tokens * bytes, &d->ds);
    }
    return at;
}

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    int64_t tokens = in[0].dim[0], width = in[0].dim[1] / 3, heads = node->ints[0];
    LJ_TRY(lj_take_dims(node, &in[0], 2, 2, "tokens (T, 3 C)"));
    if (in[0].dim[1] % 3 != 0)
        return lj_refuse_shape(node, &in[0], "tokens (T, 3 C)");
    if (heads < 1 || width % heads != 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "model.width: %lld is not a multiple of model.heads %lld; change one",
                       (long long)width, (long long)heads);
    *out = (struct lj_shape){.dims = 2, .dim = {tokens, width}};
    need->saved = heads * tokens;
    for (int type = LJ_F32; type <= LJ_BF16; type++) {
        struct workspace workspace = {.tokens = tokens,
                                      .size = width / heads,
                                      .at_once = pairs_at_once(images * heads, tokens),
                                      .type = (enum lj_type)type};
        if (type == LJ_F32 || need->bf16)
            need->scratch = lj_max_i64(need->scratch, lay_out(&workspace, NULL));
    }
    return LJ_OK;
}

static struct workspace make_workspace(const struct lj_call *c)
{
    int64_t tokens = c->in_shape[0].dim[0], width = c->in_shape[0].dim[1] / 3;
    int64_t heads = c->node->ints[0], pairs = c->images * heads;
    struct workspace workspace = {.tokens = tokens,
                                  .width = width,
                                  .heads = heads,
                                  .size = width / heads,
                                  .pairs = pairs,
                                  .at_once = pairs_at_once(pairs, tokens),
                                  .type = c->x_type[0]};
    lay_out(&workspace, c->scratch);
    return workspace;
}

/* ---- gathering --------------------------------------------------------------------------- */

/* Copies the heads of pairs [first, first + count) out of rows of `stride` elements, in which the
 * columns of head 0 begin at `column`, into a dense array (count, T, d). */
static void gather(const struct workspace *d, int64_t first, int64_t count, const void *rows,
                   int64_t stride, int64_t column, char *dense)
{
    int64_t bytes = lj_type_bytes(d->type), length = d->size * bytes;
    for (int64_t pair = first; pair < first + count; pair++) {
        int64_t row = pair / d->heads * d->tokens, at = column + pair % d->heads * d->size;
        const char *from = (const char *)rows + (row * stride + at) * bytes;
        for (int64_t t = 0; t < d->tokens; t++, dense += length, from += stride * bytes)
            memcpy(dense, from, (size_t)length);
    }
}

/* Copies them back; add: adds them to the rows instead, which are float32 then. */
static void put_back(const struct workspace *d, int64_t first, int64_t count, void *rows,
                     int64_t stride, int64_t column, const char *dense, bool add)
{
    int64_t bytes = lj_type_bytes(d->type), length = d->size * bytes;
    for (int64_t pair = first; pair < first + count; pair++) {
        int64_t row = pair / d->heads * d->tokens, at = column + pair % d->heads * d->size;
        char *to = (char *)rows + (row * stride + at) * bytes;
        for (int64_t t = 0; t < d->tokens; t++, dense += length, to += stride * bytes)
            if (add)
                lj_kernels()->add((float *)(void *)to, (const float *)(const void *)dense, d->size);
            else
                memcpy(to, dense, (size_t)length);
    }
}

static void gather_qkv(const struct lj_call *c, const struct workspace *d, int64_t first,
                       int64_t count)
{
    char *const dense[] = {d->q, d->k, d->v};
    for (int part = 0; part < 3; part++)
        gather(d, first, count, c->x[0], 3 * d->width, part * d->width, dense[part]);
}

/* ---- forward, backward ------------------------------------------------------------------- */

/* s (count, T, T) = A B^T, A and B (count, T, d). */
static void scores(const struct workspace *d, int64_t count, const void *a, const void *b, float *s)
{
    struct lj_matmul matmul = {.batch = count,
                               .m = d->tokens,
                               .n = d->tokens,
                               .k = d->size,
                               .transpose_b = true,
                               .input = d->type,
                               .output = LJ_F32};
    lj_matmul(&matmul, a, b, NULL, s);
}

/* out (count, T, d) = op(P) B, P (count, T, T). */
static void mix(const struct workspace *d, int64_t count, bool transpose, const void *p,
                const void *b, void *out)
{
    struct lj_matmul matmul = {.batch = count,
                               .m = d->tokens,
                               .n = d->size,
                               .k = d->tokens,
                               .transpose_a = transpose,
                               .input = d->type,
                               .output = d->type};
    lj_matmul(&matmul, p, b, NULL, out);
}

static float scale_of(const struct workspace *d)
{
    return 1.0f / sqrtf((float)d->size);
}

/* p (count, T, T) = softmax of the pairs' scores; logsum (count, T). */
static void weigh(const struct lj_call *c, const struct workspace *d, int64_t first, int64_t count,
                  void *p, float *logsum)
{
    gather_qkv(c, d, first, count);
    scores(d, count, d->q, d->k, d->s);
    lj_kernels()->softmax(p, d->type, logsum, d->s, count * d->tokens, d->tokens, scale_of(d));
}

static void forward(const struct lj_call *c)
{
    struct workspace d = make_workspace(c);
    for (int64_t first = 0; first < d.pairs; first += d.at_once) {
        int64_t count = lj_min_i64(d.at_once, d.pairs - first);
        weigh(c, &d, first, count, d.p, c->saved + first * d.tokens);
        mix(&d, count, false, d.p, d.v, d.out);
        put_back(&d, first, count, c->y, d.width, 0, d.out, false);
    }
}

static void backward_pairs(const struct lj_call *c, const struct workspace *d, int64_t first,
                           int64_t count)
{
    gather_qkv(c, d, first, count);
    gather(d, first, count, c->dy, d->width, 0, d->out);
    scores(d, count, d->q, d->k, d->s);
    scores(d, count, d->out, d->v, d->dp);
    lj_kernels()->softmax_backward(d->p, d->ds, d->type, d->s, d->dp, c->saved + first * d->tokens,
                                   count * d->tokens, d->tokens, scale_of(d));
    mix(d, count, true, d->p, d->out, d->v); /* dV may overwrite V, which is not read any more */
    put_back(d, first, count, c->dx[0], 3 * d->width, 2 * d->width, d->v, c->dx_add[0]);
    mix(d, count, false, d->ds, d->k, d->out);
    put_back(d, first, count, c->dx[0], 3 * d->width, 0, d->out, c->dx_add[0]);
    mix(d, count, true, d->ds, d->q, d->k);
    put_back(d, first, count, c->dx[0], 3 * d->width, d->width, d->k, c->dx_add[0]);
}

static void backward(const struct lj_call *c)
{
    struct workspace d = make_workspace(c);
    for (int64_t first = 0; first < d.pairs; first += d.at_once)
        backward_pairs(c, &d, first, lj_min_i64(d.at_once, d.pairs - first));
}

static int64_t flops(const struct lj_node *node, const struct lj_shape *in)
{
    (void)node;
    return 2 * 2 * in[0].dim[0] * in[0].dim[0] * in[0].dim[1] / 3;
}

const struct lj_layer_kind lj_kind_attention = {.name = "attention",
                                                .keeps_input = {true},
                                                .takes_bf16 = {true},
                                                .gives_bf16 = true,
                                                .one_type = true,
                                                .shape = shape,
                                                .forward = forward,
                                                .backward = backward,
                                                .flops = flops};

lj_val lj_attention(struct lj_net *net, const char *name, lj_val qkv, int64_t heads)
{
    struct lj_node node = {
        .kind = &lj_kind_attention, .inputs = 1, .in = {qkv.index}, .ints = {heads}};
    return lj_net_add(net, node, name);
}

int lj_attention_weights(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                         const float *qkv, float *weights)
{
    struct lj_need need = {0};
    struct lj_shape out;
    LJ_TRY(shape(node, in, images, &out, &need));
    void *scratch = lj_alloc_array(need.scratch, 1, "attention");
    float *logsum = lj_alloc_array(images * need.saved, sizeof *logsum, "attention");
    int status = scratch && logsum ? LJ_OK : LJ_ERR_RESOURCE;
    const struct lj_call c = {
        .node = node, .images = images, .in_shape = {*in}, .x = {qkv}, .scratch = scratch};
    struct workspace d = make_workspace(&c);
    for (int64_t first = 0; status == LJ_OK && first < d.pairs; first += d.at_once)
        weigh(&c, &d, first, lj_min_i64(d.at_once, d.pairs - first),
              weights + first * d.tokens * d.tokens, logsum + first * d.tokens);
    lj_free(logsum);
    lj_free(scratch);
    return status;
}
