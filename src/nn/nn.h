/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. nn: layers, the network as a flat array of nodes, parameters, and the memory
 * plan.
 *
 *     net = lj_net_create()
 *     x = lj_input(net, ...); x = lj_linear(net, "fc1", x, ...); ...     a model file composes
 *                                                                        builders
 *     lj_params_layout(...)                                              offsets and buckets
 *     lj_plan_create(&plan, net, images, ...)                            every value gets an offset
 *     lj_forward(plan, pass, 0, nodes)    lj_backward(plan, pass, nodes, 0)
 *
 * No function here communicates. A layer is one file: formula, forward, backward, shape, kind,
 * builder. Arrays are row-major; the leading axis of every value is images.
 *
 * A value is float32. In a bf16 plan (precision: bf16) it is bf16 if the layer that writes it can
 * write bf16, and its one reader can read it: so are the inputs of matmuls inside a transformer
 * block, and what is saved there for backward.
 *
 * A plan works through a block of nodes (lj_net_scope) tile by tile: all nodes of the block on some
 * of the images, then on the next ones, so that values inside a block stay in cache. Only values
 * that a later block or backward needs exist for all images at once. */
#ifndef LEJEPA_NN_NN_H
#define LEJEPA_NN_NN_H

#include "base/base.h"
#include "kernels/kernels.h"

/* ---- parameters -------------------------------------------------------------------------- */

enum lj_role {
    LJ_ROLE_WEIGHT,    /* trained by the optimiser */
    LJ_ROLE_STATISTIC, /* running statistic; where a gradient would be, lies the lane's new value */
};
enum lj_init {
    LJ_INIT_ZERO,
    LJ_INIT_ONE,
    LJ_INIT_NORMAL,  /* init_scale x N(0,1), not beyond 6.7 init_scale (Box-Muller of 32 bits) */
    LJ_INIT_UNIFORM, /* U(-init_scale, init_scale) */
};

/* What reads a weight (matrix is true), and so how it is packed. */
enum lj_reader {
    LJ_READER_MATMUL,      /* as (out, all other axes) */
    LJ_READER_CONVOLUTION, /* (out, in, k, k) */
    LJ_READER_DEPTHWISE,   /* (channels, 1, k, k) */
};

enum { LJ_NAME_MAX = 96, LJ_DIMS_MAX = 4 };

struct lj_param {
    char name[LJ_NAME_MAX]; /* timm's tensor name */
    int dims;
    int64_t dim[LJ_DIMS_MAX];
    int64_t count;  /* elements */
    int64_t offset; /* of its first element in every array laid out like the parameters */
    enum lj_role role;
    bool matrix; /* weight of a matmul or convolution; false: bias, norm, token, position */
    enum lj_reader reader;
    bool input_gradient; /* backward computes the gradient at the layer's input; not at images */
    int64_t pack[2];     /* where its packed forms begin, bytes (lj_params_pack_layout); -1: none */
    enum lj_init init;
    double init_scale;
};

/* Name and shape of a tensor that is not ours. */
struct lj_tensor {
    char name[LJ_NAME_MAX]; /* a longer one is cut */
    int dims;               /* may exceed LJ_DIMS_MAX; then dim holds the first ones */
    int64_t dim[LJ_DIMS_MAX];
};

/* The table of all parameters of a model (encoder and projector). In memory they lie in the
 * order of the table, with padding between them, cut into buckets that each hold those of
 * consecutive nodes. */
struct lj_params {
    struct lj_param *list; /* (count) owned */
    int count, capacity;
    int64_t elements; /* length of an array laid out like the parameters, padding included */
    int64_t trained;  /* scalars that are trained: without padding and statistics */
    int buckets;
    int64_t *bounds; /* (buckets + 1) first element of each bucket, then `elements`; owned */
    /* (elements / LJ_PARAMS_UNIT) true where such a unit holds no running statistic; owned */
    bool *trained_only;
};
enum { LJ_PARAMS_UNIT = 4096 }; /* bounds are multiples of it: a bucket is cut there (comm) */
/* Frees what the table owns and empties it. */
void lj_params_destroy(struct lj_params *params);
/* Index of the named parameter, or -1. */
int lj_params_find(const struct lj_params *params, const char *name);
/* Draws the initial values of elements [first, first + count) of an array laid out like the
 * parameters. Local; OpenMP threads share the work. A value is named by (seed, parameter, its place
 * in the parameter): it has the same bits in whatever range it is asked for, at one level of the
 * kernels.
 *   values  out  (count) padding is zero */
void lj_params_init(const struct lj_params *params, int64_t seed, int64_t first, int64_t count,
                    float *values);

/* The two packed forms of a weight: laid out, and in a bf16 plan rounded, as the matmul or
 * convolution of forward and that of the input gradient read it. They are made again whenever the
 * weights have changed. */
enum {
    LJ_PACK_FORWARD = LJ_CONVOLUTION_FORWARD,
    LJ_PACK_INPUT_GRADIENT = LJ_CONVOLUTION_INPUT_GRADIENT
};
/* Gives every form a place in one array, if packing pays and a matmul reads it. Local.
 *   params  in/out  sets `pack` of every parameter
 * Returns the bytes of the array. */
int64_t lj_params_pack_layout(struct lj_params *params, bool bf16);
/* Packs all weights. Local; shared by `threads` OpenMP threads; the bits do not depend on their
 * number.
 *   weights  in   (elements)
 *   packed   out  (lj_params_pack_layout) bytes, at a 64-byte boundary */
void lj_params_pack(const struct lj_params *params, bool bf16, const float *weights, void *packed,
                    int threads);

/* Zeroes the padding between the tensors of a bucket. Local.
 *   values  in/out  the bucket's elements */
void lj_params_clear_gaps(const struct lj_params *params, int bucket, float *values);

/* ---- network ----------------------------------------------------------------------------- */

/* Shape of one image's worth of a value: (C), (T, C) or (H, W, C), features last. Layers take them
 * as rows of features, whatever axes the rows have. The one exception is the input image, which is
 * planes (C, H, W). */
struct lj_shape {
    int dims;
    int64_t dim[3];
};
/* Product of all axes. */
int64_t lj_shape_count(const struct lj_shape *shape);
/* The last axis; 1 without axes. */
int64_t lj_shape_features(const struct lj_shape *shape);
/* Product of the axes before the last. */
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
    int32_t in[LJ_INPUTS_MAX]; /* (inputs) values; value i is the output of node i */
    int params;
    int32_t param[LJ_NODE_PARAMS_MAX]; /* (params) indices in the table */
    int64_t ints[LJ_NODE_INTS_MAX];    /* settings of the layer, explained in its file */
    double real;                       /* eps or drop rate, likewise */
    int32_t block;                     /* the block it belongs to; -1: none */
    struct lj_shape shape;             /* at the reference image size */
};

/* What a call of forward or backward sees: the images of one tile. */
struct lj_call {
    const struct lj_node *node;
    int64_t images;      /* of this tile */
    int64_t first_image; /* among those of the pass, which are in the order (view, sample) */
    struct lj_shape in_shape[LJ_INPUTS_MAX], out_shape;
    enum lj_type x_type[LJ_INPUTS_MAX], y_type; /* of values and their gradients */
    const void *x[LJ_INPUTS_MAX];               /* inputs (images, in_shape) */
    void *y;                                    /* output (images, out_shape) */
    float *saved;                               /* written by forward, read by backward */
    void *scratch;                              /* of this thread */
    const float *param[LJ_NODE_PARAMS_MAX];
    const void *packed[2]; /* the packed forms of param[0]; NULL: not packed */
    bool bf16;             /* inputs of matmuls are bf16 */
    /* backward only */
    void *dy;                   /* a layer may overwrite it */
    void *dx[LJ_INPUTS_MAX];    /* NULL: not wanted */
    bool dx_add[LJ_INPUTS_MAX]; /* add to dx, which another reader of x wrote, instead of storing */
    float *dparam[LJ_NODE_PARAMS_MAX];
    bool dparam_add;
    const struct lj_pass *pass;
};

/* Memory that a node needs besides its values, at a given shape. */
struct lj_need {
    bool bf16;         /* in   inputs of matmuls are bf16 */
    enum lj_type type; /* in   of the node's output */
    int64_t saved;     /* out  floats per image that forward saves for backward */
    int64_t scratch;   /* out  bytes during a call */
};

struct lj_layer_kind {
    const char *name;
    bool keeps_input[LJ_INPUTS_MAX]; /* backward reads x[i] */
    bool keeps_output;               /* backward reads y */
    bool passes_gradient;            /* d(x[0]) is d(y), so the plan may give both one place */
    bool takes_bf16[LJ_INPUTS_MAX];  /* x[i] may be bf16 */
    bool gives_bf16;                 /* y may be bf16 */
    bool one_type;                   /* x[0] and y must have the same type */
    bool joins_images; /* in training an image's result depends on the others of the call: its block
                          is not cut into tiles */
    /* The output's shape and the memory a tile of `images` needs, from the shapes of the inputs.
     * Errors: LJ_ERR_CONFIG. */
    int (*shape)(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need);
    void (*forward)(const struct lj_call *call);
    void (*backward)(const struct lj_call *call);
    /* For layers with statistics of the whole global batch; NULL for others. sync_forward
     * (sync_backward) adds a lane's share to sums, which has sync_count(node) fixed-point
     * integers. The caller adds these over all lanes and ranks. Then forward (backward) of every
     * lane reads the totals from pass->sync. *nonfinite is increased for each number that
     * lj_to_fixed refuses. */
    int64_t (*sync_count)(const struct lj_node *node);
    void (*sync_forward)(const struct lj_call *call, int64_t *sums, int64_t *nonfinite);
    void (*sync_backward)(const struct lj_call *call, int64_t *sums, int64_t *nonfinite);
    /* Twice the multiply-adds of forward for one image; NULL: not counted. */
    int64_t (*flops)(const struct lj_node *node, const struct lj_shape *in);
};

/* Integers of a node's statistics of the global batch; 0: it has none. Such a node is in no
 * block. */
static inline int64_t lj_node_sync_count(const struct lj_node *node)
{
    return node->kind->sync_count ? node->kind->sync_count(node) : 0;
}

/* The table of all kinds; a network takes no other. Static.
 *   count  out  kinds */
const struct lj_layer_kind *const *lj_layer_kinds(int *count);

struct lj_net {
    struct lj_node *node; /* (count) owned */
    int count, capacity;
    struct lj_params *params; /* borrowed; several nets may share one table */
    int32_t block;            /* of nodes added now */
    int status;               /* first failure of a builder; text in the error record */
    char scope[LJ_NAME_MAX];  /* prefix of names */
};
/* Creates an empty network. Local.
 *   net     out  owned by the caller
 *   params  in   borrowed, must outlive the network; builders add to it
 * Errors: LJ_ERR_RESOURCE. */
int lj_net_create(struct lj_net **net, struct lj_params *params) LJ_MUST_USE;
void lj_net_destroy(struct lj_net *net); /* accepts NULL */
/* Sets the prefix of the names of nodes added from now on, and the block they belong to
 * (-1: none). The nodes of a block must be consecutive. A layer with statistics of the global batch
 * is in no block. */
void lj_net_scope(struct lj_net *net, int32_t block, const char *format, ...) LJ_PRINTF(3, 4);
/* Twice the multiply-adds of forward for one image of shape `input`; 0 when out of memory. */
int64_t lj_net_flops(const struct lj_net *net, const struct lj_shape *input);
/* A network of the first `count` nodes, over the same table of parameters. Local.
 *   copy  out  owned by the caller
 * Errors: LJ_ERR_RESOURCE. */
int lj_net_copy(struct lj_net **copy, const struct lj_net *net, int count) LJ_MUST_USE;
/* Index of the node of that name, or -1. */
int32_t lj_net_find(const struct lj_net *net, const char *format, ...) LJ_PRINTF(2, 3);
/* Scalars of its own that the optimiser trains. */
int64_t lj_net_trained(const struct lj_net *net);

/* Builders: each adds a node, with its parameters, and returns its output. Local. The first failure
 * is stored in net->status; later builders then do nothing. */
/* The input. wants_gradient: backward also computes the gradient at it. */
lj_val lj_input(struct lj_net *net, struct lj_shape shape, bool wants_gradient);
lj_val lj_patch_embed(struct lj_net *net, const char *name, lj_val x, int64_t patch, int64_t width);
lj_val lj_tokens(struct lj_net *net, const char *name, lj_val x, int64_t registers, int64_t grid_h,
                 int64_t grid_w);
/* The positions of patches that lj_tokens would use for another grid than its own. Local.
 *   to    out  (grid^2, width)
 *   from  in   (grid0^2, width)
 * Errors: LJ_ERR_RESOURCE. */
int lj_resample_positions(float *to, int64_t grid, const float *from, int64_t grid0,
                          int64_t width) LJ_MUST_USE;
lj_val lj_linear(struct lj_net *net, const char *name, lj_val x, int64_t width, enum lj_init init,
                 double init_scale);
/* trunk + linear(x), where the output is as wide as the trunk: a linear layer at the end of a
 * branch that is never dropped. */
lj_val lj_linear_residual(struct lj_net *net, const char *name, lj_val trunk, lj_val x,
                          enum lj_init init, double init_scale);
/* Cosines of rows with `count` directions that are learned, prototypes: lengths do not matter, of
 * rows or of prototypes. */
lj_val lj_cosine(struct lj_net *net, const char *name, lj_val x, int64_t count);
lj_val lj_layernorm(struct lj_net *net, const char *name, lj_val x, double eps);
lj_val lj_attention(struct lj_net *net, const char *name, lj_val qkv, int64_t heads);
/* The weights by which such a node mixes tokens, the softmax in it: row t of a head says what token
 * t takes from each. Local.
 *   in       in   (T, 3 C), shape of qkv
 *   qkv      in   (images, T, 3 C)
 *   weights  out  (images, heads, T, T)
 * Errors: LJ_ERR_CONFIG (as for the builder), LJ_ERR_RESOURCE. */
int lj_attention_weights(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                         const float *qkv, float *weights) LJ_MUST_USE;
/* Global response normalisation of a map (H, W, C), image by image; at first y = x. */
lj_val lj_grn(struct lj_net *net, const char *name, lj_val x);
lj_val lj_gelu(struct lj_net *net, const char *name, lj_val x);
lj_val lj_relu(struct lj_net *net, const char *name, lj_val x);
lj_val lj_residual(struct lj_net *net, const char *name, lj_val trunk, lj_val branch,
                   double drop_rate, int64_t layer);
/* Node `of`, which has one input, a second time: with the same parameters, on value x, which is as
 * wide as its own input. */
lj_val lj_net_repeat(struct lj_net *net, int32_t of, lj_val x);
/* Two values side by side: rows (..., A) and (..., B) to (..., A + B). */
lj_val lj_concat(struct lj_net *net, const char *name, lj_val a, lj_val b);
lj_val lj_pool_token(struct lj_net *net, const char *name, lj_val x);
lj_val lj_pool_mean(struct lj_net *net, const char *name, lj_val x, int64_t skip);
/* A convolution with a square kernel, zeros around the map. */
struct lj_conv_shape {
    int64_t width; /* output channels */
    int64_t kernel, stride, padding;
    bool bias;
};
/* (H, W, C) to (H', W', width). */
lj_val lj_conv(struct lj_net *net, const char *name, lj_val x, struct lj_conv_shape shape,
               enum lj_init init, double init_scale);
/* The first convolution of an encoder: from the image's planes (C, H, W) to (H', W', width). */
lj_val lj_stem(struct lj_net *net, const char *name, lj_val x, struct lj_conv_shape shape,
               enum lj_init init, double init_scale);
/* Each channel by itself, at stride 1 and padding kernel / 2: (H, W, C) to (H, W, C) where the
 * kernel is odd. */
lj_val lj_conv_depthwise(struct lj_net *net, const char *name, lj_val x, int64_t kernel, bool bias,
                         enum lj_init init, double init_scale);
/* Windows of kernel x kernel positions, every `stride`-th; those at the edges reach `padding`
 * positions beyond: (H, W, C) to (H', W', C), H' = (H + 2 padding - kernel) / stride + 1. */
lj_val lj_max_pool(struct lj_net *net, const char *name, lj_val x, int64_t kernel, int64_t stride,
                   int64_t padding);
lj_val lj_batchnorm(struct lj_net *net, const char *name, lj_val x, bool over_batch);
/* The same with a weight that is 0 at first: a branch that ends so adds nothing then. */
lj_val lj_batchnorm_zero(struct lj_net *net, const char *name, lj_val x, bool over_batch);
/* The first with ReLU, and the second with ReLU of its sum with a trunk of the same shape: less is
 * written to memory than by layers of their own. */
lj_val lj_batchnorm_relu(struct lj_net *net, const char *name, lj_val x, bool over_batch);
lj_val lj_batchnorm_residual(struct lj_net *net, const char *name, lj_val trunk, lj_val x,
                             bool over_batch);

/* Nodes [first, end) of a net, whose parameters make up a bucket. */
struct lj_segment {
    int net; /* index into nets */
    int first, end;
};
/* Gives every parameter its offset, and cuts the nodes of the nets, in this order, into buckets of
 * about bucket_bytes at most. A block is never cut; a bucket also ends after each node with
 * statistics of the global batch, whose backward must wait for all lanes. Local.
 *   params    in/out  sets offset, elements, trained, buckets, bounds, trained_only
 *   nets      in      (count) all nets that share the table
 *   segments  out     (capacity) the nodes of each bucket
 * Errors: LJ_ERR_RESOURCE. */
int lj_params_layout(struct lj_params *params, struct lj_net *const *nets, int count,
                     int64_t bucket_bytes, struct lj_segment *segments, int capacity) LJ_MUST_USE;

/* ---- memory plan ------------------------------------------------------------------------- */

enum lj_plan_mode {
    LJ_PLAN_INFER,     /* forward only: memory of a value is used again after its last reader */
    LJ_PLAN_TRAIN,     /* values that backward reads stay until then */
    LJ_PLAN_RECOMPUTE, /* of a block only its input stays; backward runs the block forward again */
};
struct lj_plan;

struct lj_plan_options {
    enum lj_plan_mode mode;
    int64_t tile_rows; /* rows (tokens) a tile of images should have; 0: all images are one tile */
    bool bf16;         /* precision: bf16 */
};

/* Plans the passes of `images` images of shape `input` through a net: one arena, in which every
 * value, saved tensor and gradient has a fixed place. Local.
 *   plan  out  owned by the caller
 *   net   in   borrowed, must outlive the plan
 * Errors: LJ_ERR_CONFIG when a layer cannot take the shape of its input, LJ_ERR_RESOURCE. */
int lj_plan_create(struct lj_plan **plan, const struct lj_net *net, int64_t images,
                   const struct lj_shape *input, struct lj_plan_options options) LJ_MUST_USE;
void lj_plan_destroy(struct lj_plan *plan);
int64_t lj_plan_arena(const struct lj_plan *plan);   /* floats a lane needs */
int64_t lj_plan_scratch(const struct lj_plan *plan); /* bytes a thread needs */
int64_t lj_plan_tile(const struct lj_plan *plan);    /* images of the smallest tile */
/* The most rows that a tile has in a layer inside a block, and the most bytes that such a layer
 * reads and writes for a tile. */
void lj_plan_tile_use(const struct lj_plan *plan, int64_t *rows, int64_t *bytes);
int64_t lj_plan_images(const struct lj_plan *plan); /* images of a pass */
const struct lj_net *lj_plan_net(const struct lj_plan *plan);

/* Time that one thread spent in one kind of layer, sums of batch statistics included, and the
 * flops of those calls. A backward call counts twice kind->flops, or once if it makes no
 * gradient at the input. */
struct lj_layer_clock {
    double forward_s, backward_s, flops;
};

/* One lane's pass through a plan. The caller provides all memory. */
struct lj_pass {
    float *arena;                 /* (lj_plan_arena) of this lane */
    void *scratch;                /* (lj_plan_scratch) of this thread */
    const float *weights;         /* laid out like the parameters */
    const void *packed;           /* their packed forms; may be NULL in float32, where convolutions
                                     lay out their weights in each call then */
    float *gradient;              /* this lane's leaf of the bucket at work; NULL in forward */
    int64_t gradient_first;       /* the element of the parameters that gradient[0] belongs to */
    bool gradient_add;            /* add to what an earlier pass of this lane wrote */
    const int64_t *sync;          /* totals of the batch statistics of the node at work */
    int64_t sync_images;          /* images of all lanes that they were summed over */
    float statistic_share;        /* of this pass in the update of running statistics: 1 when a lane
                                     has one pass through the net, 0 leaves them alone */
    bool train;                   /* drop path on; batch statistics instead of running ones */
    bool drops_nothing;           /* drop path off all the same */
    bool holds_prototypes;        /* the gradient of prototypes (lj_cosine) is 0 */
    int64_t seed;                 /* of the run. It names the draws of drop path, together with: */
    int64_t step;                 /* of training, */
    int64_t first_sample;         /* place in the global batch of this lane's first sample */
    int64_t n;                    /* samples of this lane */
    int64_t first_view;           /* number of the first view of this pass, which has images / n */
    struct lj_layer_clock *clock; /* (kinds) of this thread, added to; may be NULL */
    void (*between)(void *);      /* called after each backward of a node, so that communication can
                                progress meanwhile; may be NULL */
    void *between_data;           /* its argument */
};

/* Where a value, or its gradient, lies in the pass's arena. For the input (value 0) and the output
 * (the last value) only: these are float32 and hold all images. */
float *lj_plan_value(const struct lj_plan *plan, const struct lj_pass *pass, int32_t value);
float *lj_plan_gradient(const struct lj_plan *plan, const struct lj_pass *pass, int32_t value);

/* Runs nodes [first, end), which must be whole blocks, forward in ascending order. Local. */
void lj_forward(const struct lj_plan *plan, const struct lj_pass *pass, int first, int end);
/* Runs them backward in descending order. In LJ_PLAN_RECOMPUTE each tile of a block first runs
 * forward again. Local. */
void lj_backward(const struct lj_plan *plan, const struct lj_pass *pass, int first, int end);
/* Adds this lane's share of a node's batch statistics to sums (sync_count of the node); to be
 * called for every lane before lj_forward (lj_backward) of that node. Local. */
void lj_sync_forward(const struct lj_plan *plan, const struct lj_pass *pass, int node,
                     int64_t *sums, int64_t *nonfinite);
void lj_sync_backward(const struct lj_plan *plan, const struct lj_pass *pass, int node,
                      int64_t *sums, int64_t *nonfinite);

#endif
