/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. nn: layers, the network as a flat array of nodes, parameters, and the memory plan.
 *
 *     net = lj_net_create()
 *     x = lj_input(net, ...); x = lj_linear(net, "fc1", x, ...); ...     a model file composes builders
 *     lj_params_layout(...)                                              offsets and buckets
 *     lj_plan_create(&plan, net, images, ...)                            every value gets an offset
 *     lj_forward(plan, pass, 0, nodes)    lj_backward(plan, pass, nodes, 0)
 *
 * No function here communicates. A layer is one file: formula, forward, backward, shape, kind,
 * builder. Arrays are row-major; the leading axis of every value is images.
 *
 * Values are float32, or bf16 where a bf16 plan (precision: bf16) finds that the layer that writes a
 * value and all that read it agree to that: what goes into products and what is saved for backward.
 *
 * A plan runs a block of nodes (lj_net_scope) on a tile of images after the other, so that what passes
 * between the layers of a block stays in cache; only what a later block or backward needs is kept for
 * all images. */
#ifndef LEJEPA_NN_NN_H
#define LEJEPA_NN_NN_H

#include "base/base.h"
#include "kernels/kernels.h"

/* ---- parameters -------------------------------------------------------------------------------- */

enum lj_role {
    LJ_ROLE_WEIGHT,    /* trained by the optimiser */
    LJ_ROLE_STATISTIC, /* running statistic; its "gradient" is the lane's own value */
};
enum lj_init {
    LJ_INIT_ZERO,
    LJ_INIT_ONE,
    LJ_INIT_NORMAL,  /* init_scale x N(0,1), init_scale < 0.29: timm's cut at +-2 is never met */
    LJ_INIT_UNIFORM, /* U(-init_scale, init_scale) */
};

enum { LJ_NAME_MAX = 96, LJ_DIMS_MAX = 4 };

struct lj_param {
    char name[LJ_NAME_MAX]; /* timm's tensor name */
    int dims;
    int64_t dim[LJ_DIMS_MAX];
    int64_t count;  /* elements */
    int64_t offset; /* in every array laid out like the parameters; elements */
    enum lj_role role;
    bool matrix;         /* false: bias, norm, token, position */
    bool input_gradient; /* backward makes the gradient at its input: not at images */
    int64_t pack[2];     /* where its packed forms begin, bytes (lj_params_pack); -1: none */
    enum lj_init init;
    double init_scale;
};

/* The table of all parameters of a model (encoder and projector), and how they lie in memory: in
 * order of the table, cut into buckets of consecutive nodes. */
struct lj_params {
    struct lj_param *list; /* (count) owned */
    int count, capacity;
    int64_t elements; /* length of an array laid out like this, padding included */
    int64_t trained;  /* trained scalars, without padding and statistics */
    int buckets;
    int64_t *bounds; /* (buckets + 1) elements; owned */
};
void lj_params_destroy(struct lj_params *params);
/* Index of the named parameter, or -1. */
int lj_params_find(const struct lj_params *params, const char *name);
/* Initial values of elements [first, first + count) of the array, drawn by (seed, tensor, place in it):
 * the same bits in whatever range they are asked for, at one level of the processor; padding is zero.
 * Local; threads share the work.
 *   values  (count) out */
void lj_params_init(const struct lj_params *params, int64_t seed, int64_t first, int64_t count,
                    float *values);

/* Packed forms of the weights of products, made anew after every change of the weights: rounded in a
 * bf16 plan, and laid out as the products of forward (LJ_PACK_FORWARD) and of the gradient at the input
 * (LJ_PACK_INPUT_GRADIENT) read them. */
enum { LJ_PACK_FORWARD, LJ_PACK_INPUT_GRADIENT };
/* Gives every matrix its places, where packing pays and the form is read; returns the bytes of all. */
int64_t lj_params_pack_layout(struct lj_params *params, bool bf16);
/* Packs all of weights (elements) into packed. Elementwise work, shared by `threads`. Local. */
void lj_params_pack(const struct lj_params *params, bool bf16, const float *weights, void *packed,
                    int threads);

/* Zeroes what lies between the tensors of a bucket; values[0] is the bucket's first element. */
void lj_params_clear_gaps(const struct lj_params *params, int bucket, float *values);

/* ---- network ------------------------------------------------------------------------------------- */

/* Shape of one image's worth of a value: (C), (T, C) or (H, W, C), features last. Layers take them
 * as rows of features, whatever axes the rows have. The one exception is the input image, which is
 * planes (C, H, W). */
struct lj_shape {
    int dims;
    int64_t dim[3];
};
int64_t lj_shape_count(const struct lj_shape *shape);
/* Last axis, and the product of the others. */
int64_t lj_shape_features(const struct lj_shape *shape);
int64_t lj_shape_rows(const struct lj_shape *shape);
bool lj_shape_equal(const struct lj_shape *a, const struct lj_shape *b);

typedef struct {
    int32_t index;
} lj_val;

enum { LJ_INPUTS_MAX = 2, LJ_NODE_PARAMS_MAX = 4, LJ_NODE_INTS_MAX = 6 };

struct lj_node {
    const struct lj_layer_kind *kind;
    int kind_index; /* in lj_layer_kinds */
    char name[LJ_NAME_MAX];
    int inputs;
    int32_t in[LJ_INPUTS_MAX]; /* values; the node's output is value number = node number */
    int params;
    int32_t param[LJ_NODE_PARAMS_MAX]; /* in the table */
    int64_t ints[LJ_NODE_INTS_MAX];    /* meaning: the layer file */
    double real;                       /* eps, drop rate */
    int32_t block;                     /* run in tiles, and again with memory.recompute; -1 none */
    struct lj_shape shape;             /* at the reference image size */
};

/* What a call of forward or backward sees: the images of one tile. */
struct lj_call {
    const struct lj_node *node;
    int64_t images;      /* of this tile */
    int64_t first_image; /* among those of the run: V_group x n, view-major */
    struct lj_shape in_shape[LJ_INPUTS_MAX], out_shape;
    enum lj_type x_type[LJ_INPUTS_MAX], y_type; /* of values and their gradients */
    const void *x[LJ_INPUTS_MAX];               /* inputs (images, in_shape) */
    void *y;                                    /* output (images, out_shape) */
    float *saved;                               /* written by forward, read by backward */
    void *scratch;                              /* of this thread */
    const float *param[LJ_NODE_PARAMS_MAX];
    const void *packed[2]; /* forms of param[0] for products; NULL: none */
    bool bf16;             /* products take bf16 */
    /* backward only */
    const void *dy;
    void *dx[LJ_INPUTS_MAX];    /* NULL: not wanted */
    bool dx_add[LJ_INPUTS_MAX]; /* add to dx instead of storing */
    float *dparam[LJ_NODE_PARAMS_MAX];
    bool dparam_add;
    const struct lj_pass *pass;
};

/* Extra needs of a node at a given shape. */
struct lj_need {
    bool bf16;         /* in: products are bf16 */
    enum lj_type type; /* in: of the output */
    int64_t saved;     /* floats per image kept from forward to backward */
    int64_t scratch;   /* bytes during a call */
};

struct lj_layer_kind {
    const char *name;
    bool keeps_input[LJ_INPUTS_MAX]; /* backward reads x[i] */
    bool keeps_output;               /* backward reads y */
    bool passes_gradient;            /* d(x[0]) is d(y): same storage, backward leaves it alone */
    bool takes_bf16[LJ_INPUTS_MAX], gives_bf16; /* x[i], y may be bf16 */
    bool one_type;                              /* x[0] and y have the same type */
    /* Output shape and needs, for tiles of `images`, from the input shapes. Errors: LJ_ERR_CONFIG. */
    int (*shape)(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need);
    void (*forward)(const struct lj_call *call);
    void (*backward)(const struct lj_call *call);
    /* Batch statistics over all lanes of the global batch, NULL for layers without: a lane's share
     * of the sums is added to sums (sync_count(node) integers at fixed point); after the exact sum
     * over ranks, forward (backward) of every lane reads the totals from pass->sync. */
    int64_t (*sync_count)(const struct lj_node *node);
    void (*sync_forward)(const struct lj_call *call, int64_t *sums, int64_t *nonfinite);
    void (*sync_backward)(const struct lj_call *call, int64_t *sums, int64_t *nonfinite);
    int64_t (*flops)(const struct lj_node *node, const struct lj_shape *in); /* forward multiply-
                                            adds of one image, times 2; NULL: not counted */
};

/* All kinds, (count) of them; a network takes no other. Owned by nn. */
const struct lj_layer_kind *const *lj_layer_kinds(int *count);

struct lj_net {
    struct lj_node *node; /* (count) owned */
    int count, capacity;
    struct lj_params *params; /* borrowed; several nets may share one table */
    int32_t block;            /* of nodes added now */
    int status;               /* first failure of a builder; text in the error record */
    char scope[LJ_NAME_MAX];  /* prefix of names */
};
int lj_net_create(struct lj_net **net, struct lj_params *params) LJ_MUST_USE;
void lj_net_destroy(struct lj_net *net);
/* Prefix of the names of nodes added from now on, and the block they belong to (-1: none). Nodes of a
 * block are consecutive, and each of their images is computed by itself. */
void lj_net_scope(struct lj_net *net, int32_t block, const char *format, ...) LJ_PRINTF(3, 4);
int64_t lj_net_flops(const struct lj_net *net, const struct lj_shape *input);
/* Scalars of its own that the optimiser trains. */
int64_t lj_net_trained(const struct lj_net *net);

/* Builders (local; a failure is kept in net->status, later builders then do nothing). */
/* The input; wants_gradient: backward also makes the gradient at it. */
lj_val lj_input(struct lj_net *net, struct lj_shape shape, bool wants_gradient);
lj_val lj_patch_embed(struct lj_net *net, const char *name, lj_val x, int64_t patch, int64_t width);
lj_val lj_tokens(struct lj_net *net, const char *name, lj_val x, int64_t registers, int64_t grid_h,
                 int64_t grid_w);
lj_val lj_linear(struct lj_net *net, const char *name, lj_val x, int64_t width, enum lj_init init,
                 double init_scale);
/* trunk + linear(x), of the trunk's width: a linear layer that ends a branch which is never dropped. */
lj_val lj_linear_residual(struct lj_net *net, const char *name, lj_val trunk, lj_val x,
                          enum lj_init init, double init_scale);
lj_val lj_layernorm(struct lj_net *net, const char *name, lj_val x, double eps);
lj_val lj_attention(struct lj_net *net, const char *name, lj_val qkv, int64_t heads);
lj_val lj_gelu(struct lj_net *net, const char *name, lj_val x);
lj_val lj_relu(struct lj_net *net, const char *name, lj_val x);
lj_val lj_residual(struct lj_net *net, const char *name, lj_val trunk, lj_val branch,
                   double drop_rate, int64_t layer);
lj_val lj_pool_token(struct lj_net *net, const char *name, lj_val x);
lj_val lj_pool_mean(struct lj_net *net, const char *name, lj_val x, int64_t skip);
lj_val lj_batchnorm(struct lj_net *net, const char *name, lj_val x, bool over_batch);

/* Lays out every parameter of the table: cuts the nodes of the nets (in this order) into buckets of
 * at most about bucket_bytes, a layer or block never cut; the node after a sync node opens one. segments (one
 * per bucket, at most capacity) tells which nodes of which net a bucket covers. */
struct lj_segment {
    int net;        /* index into nets */
    int first, end; /* nodes [first, end) whose parameters make up this bucket */
};
int lj_params_layout(struct lj_params *params, struct lj_net *const *nets, int count,
                     int64_t bucket_bytes, struct lj_segment *segments, int capacity) LJ_MUST_USE;

/* ---- memory plan ---------------------------------------------------------------------------------- */

enum lj_plan_mode {
    LJ_PLAN_INFER,     /* forward only; values die after their last reader */
    LJ_PLAN_TRAIN,     /* what backward needs is kept */
    LJ_PLAN_RECOMPUTE, /* block inputs are kept, blocks run forward again inside backward */
};
struct lj_plan;

struct lj_plan_options {
    enum lj_plan_mode mode;
    int64_t tile_rows; /* rows (tokens) a tile of images should have; 0: all images are one tile */
    bool bf16;         /* precision: bf16 */
};

/* Plans `images` images of input shape `input` through net. Local.
 * Errors: LJ_ERR_CONFIG when a layer cannot take its input, LJ_ERR_RESOURCE. net is borrowed. */
int lj_plan_create(struct lj_plan **plan, const struct lj_net *net, int64_t images,
                   const struct lj_shape *input, struct lj_plan_options options) LJ_MUST_USE;
void lj_plan_destroy(struct lj_plan *plan);
int64_t lj_plan_arena(const struct lj_plan *plan);   /* floats per lane */
int64_t lj_plan_scratch(const struct lj_plan *plan); /* bytes per thread */
int64_t lj_plan_tile(const struct lj_plan *plan);    /* images of a tile */
/* The most rows a tile has in a layer of a block, and the most bytes such a layer reads and writes. */
void lj_plan_tile_use(const struct lj_plan *plan, int64_t *rows, int64_t *bytes);
int64_t lj_plan_images(const struct lj_plan *plan);
int64_t lj_plan_sync_count(const struct lj_plan *plan); /* largest of its nodes, integers */
const struct lj_net *lj_plan_net(const struct lj_plan *plan);

/* Time spent in one kind of layer by one thread, sums of batch statistics included, and the kind->flops of
 * the calls: backward counts twice, or once where the gradient at the input is not wanted. */
struct lj_layer_clock {
    double forward_s, backward_s, flops;
};

/* One lane's pass through a plan. Caller provides everything. */
struct lj_pass {
    float *arena;           /* (lj_plan_arena) of this lane */
    void *scratch;          /* (lj_plan_scratch) of this thread */
    const float *weights;   /* laid out like the parameters */
    const void *packed;     /* their packed forms; may be NULL in float32 */
    float *gradient;        /* the current segment's bucket of this lane; NULL in forward */
    int64_t gradient_first; /* element of the parameters that gradient[0] is */
    bool gradient_add;      /* add to what another run of this lane wrote */
    const int64_t *sync;    /* totals of batch statistics of the current node */
    int64_t sync_images;    /* images of all lanes that they were summed over */
    float
        statistic_share; /* of this pass in the update of running statistics: 1 when a lane has one
                              * pass through the net; 0 leaves them alone */
    bool train;          /* drop path on, batch statistics instead of running ones */
    int64_t seed, step;  /* name drop path's draws */
    int64_t first_sample, n; /* slot in the global batch of this lane's first sample; samples */
    int64_t first_view;      /* of this group of views */
    struct lj_layer_clock *clock; /* (kinds) of this thread, added to; may be NULL */
    void (*between)(void *); /* called after each node, may be NULL: lets communication progress */
    void *between_data;
};

/* Where a value lies, and its gradient: both float32 for the input, value 0, and the output, value
 * count - 1, which hold all images. */
float *lj_plan_value(const struct lj_plan *plan, const struct lj_pass *pass, int32_t value);
float *lj_plan_gradient(const struct lj_plan *plan, const struct lj_pass *pass, int32_t value);

/* Nodes [first, end), whole blocks, upwards, or downwards. In LJ_PLAN_RECOMPUTE backward runs a block's
 * tile forward again before it goes down. Local. */
void lj_forward(const struct lj_plan *plan, const struct lj_pass *pass, int first, int end);
void lj_backward(const struct lj_plan *plan, const struct lj_pass *pass, int first, int end);
/* One lane's share of a sync node's sums, before lj_forward (lj_backward) of that node. */
void lj_sync_forward(const struct lj_plan *plan, const struct lj_pass *pass, int node,
                     int64_t *sums, int64_t *nonfinite);
void lj_sync_backward(const struct lj_plan *plan, const struct lj_pass *pass, int node,
                      int64_t *sums, int64_t *nonfinite);

#endif
