/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. models: the table of encoders, the projector, and the two together, with what
 * some objectives have behind them, as what is trained.
 *
 *     lj_model_resolve(&settings, size)                    automatic values get their numbers
 *     lj_model_create(&model, &settings, channels, bytes)  nets, parameters, buckets
 *
 * Which encoder runs is known here alone: other modules see nets, and the facts of struct lj_model.
 * All local. */
#ifndef LEJEPA_MODELS_MODELS_H
#define LEJEPA_MODELS_MODELS_H

#include "lejepa/config.h"
#include "nn/nn.h"

/* ---- encoders --------------------------------------------------------------------------- */

struct lj_encoder;

/* What timm, a library of encoders for PyTorch, calls one. */
struct lj_timm_model {
    char architecture[64]; /* the function that makes it */
    char arguments[512];   /* of that function, a JSON object */
    const char *pool;      /* "token", "avg" */
    const char *first_conv, *classifier;
    int64_t features, classes; /* width before the classifier; of the classifier, 0: none */
    int64_t prefix;            /* tokens before those of patches */
    bool any_size;             /* takes images of any size, and no argument for it */
};

/* A file of timm that holds an encoder, as far as names, shapes and its configuration tell. */
struct lj_encoder_file {
    const char *path;
    const char *architecture, *pool; /* in timm's words; "": not said */
    int64_t heads, size;             /* attention heads; pixels of a side; 0: not said */
    bool oblong;                     /* its images are not square */
    bool ours;                       /* written by this program */
    const struct lj_tensor *tensor;  /* (tensors) */
    int64_t tensors;
};

/* Where in an encoder's net its layers end, for what looks into it. A layer is a block of a
 * transformer, a stage of a convolutional encoder. All values are nodes of the net. */
struct lj_encoder_places {
    int32_t layer[2];  /* outputs of the last layer but one, and of the last, (T, C) or (H, W, C);
                          the first -1: there is one layer */
    int32_t pooled;    /* what becomes of layer[1] before the head, if there is one: (C). The nodes
                          in between have one input each */
    int32_t tokens;    /* layer[1] as it is pooled, normalised if that comes first */
    int32_t attention; /* of the last layer; -1: it has none */
    bool by_class;     /* the embedding is that of the class token, which is token 0; else it is the
                          mean over patches or positions */
    int64_t prefix;    /* tokens before those of patches */
    int64_t grid[2];   /* rows and columns of patches or positions, in a global view */
};

/* What the file of an encoder defines; rows of the table share it when they differ in numbers
 * only. */
struct lj_encoder_family {
    const char *name;              /* in messages */
    const char *const *settings;   /* the model.* that it reads, NULL at the end; NULL: none */
    enum lj_predict_centre centre; /* what predict.centre=auto means */
    double weight_decay;           /* what optim.weight_decay=-1 means */
    /* Gives automatic settings of the encoder (views.local_size, model.*) their numbers, in place;
     * views.global_size has its own already, and what is not in `settings` has its default.
     * Errors: LJ_ERR_CONFIG: sizes of views that the encoder cannot take, other settings that do
     * not go together. */
    int (*resolve)(const struct lj_encoder *encoder, struct lj_config *settings);
    /* Adds the layers of resolved settings to net: input (channels, H, W) with H = W =
     * views.global_size, output (embedding). A failure is kept in net->status. */
    lj_val (*build)(const struct lj_encoder *encoder, const struct lj_config *settings,
                    int64_t channels, struct lj_net *net);
    /* Finds the places in a net that was built; NULL: none are known. places is zero before. */
    void (*find)(const struct lj_encoder *encoder, const struct lj_config *settings,
                 const struct lj_net *net, struct lj_encoder_places *places);
    /* The encoder of resolved settings in a few words for the log. */
    void (*describe)(const struct lj_encoder *encoder, const struct lj_config *settings, char *text,
                     size_t capacity);
    /* The same network in timm, for resolved settings; NULL: timm has none. */
    void (*timm)(const struct lj_encoder *encoder, const struct lj_config *settings,
                 int64_t channels, struct lj_timm_model *timm);
    const char *mark; /* a tensor that all files of timm with such an encoder have, and no others;
                         NULL: timm has none */
    /* Settings of the encoder in a file with that tensor, where they are not given; all of them, or
     * with a given model those that its row leaves open. lj_encoder_recognise. */
    int (*recognise)(const struct lj_encoder_file *file, bool choose, struct lj_config *settings);
};

enum { LJ_ENCODER_NUMBERS = 8 };

/* One row of the table. Parameters and FLOPs are counted from the net, the embedding's width is
 * that of its output. */
struct lj_encoder {
    const char *name; /* what the setting `model` says */
    const char *text; /* for `lejepa_mpi help model` */
    const struct lj_encoder_family *family;
    int64_t number[LJ_ENCODER_NUMBERS]; /* widths, depths: their meaning is the family's */
};

/* The rows; *count receives their number. */
const struct lj_encoder *lj_encoders(int *count);
/* The row of a name. Errors: LJ_ERR_CONFIG with the known names. */
int lj_encoder_find(const char *name, const struct lj_encoder **encoder) LJ_MUST_USE;
/* One row more for lj_encoder_find: an encoder that is being tried, as tests do. Borrowed until
 * the next call; NULL: none. Not while other threads look for encoders. */
void lj_encoder_try(const struct lj_encoder *row);

/* Finds the encoder that a file of timm holds: model and model.* get their values, in place, where
 * they are not given; data.size that of its images, if neither it nor views.global_size is given.
 * Errors: LJ_ERR_CHECKPOINT: none of these encoders, which is said by name as far as it is known;
 * LJ_ERR_CONFIG. */
int lj_encoder_recognise(const struct lj_encoder_file *file,
                         struct lj_config *settings) LJ_MUST_USE;

/* Gives settings model.* that the encoder does not read their defaults, in place: where one set of
 * settings goes to several encoders. */
int lj_encoder_forget_foreign(const struct lj_encoder *encoder,
                              struct lj_config *settings) LJ_MUST_USE;

/* ---- projector -------------------------------------------------------------------------- */

struct lj_projector_config {
    int64_t hidden, layers, out;
    enum lj_projector_norm norm;
};
/* Adds the projector to net: input (width), output (out). Names as torchvision.ops.MLP. */
lj_val lj_projector(struct lj_net *net, int64_t width, const struct lj_projector_config *config);
/* Adds a predictor, which is built alike; its names have "predictor." behind "projector.". */
lj_val lj_predictor(struct lj_net *net, int64_t width, const struct lj_projector_config *config);
/* Adds so many prototypes, "projector.prototypes": input (width), output cosines (count). */
lj_val lj_prototypes(struct lj_net *net, int64_t width, int64_t count);

/* ---- what is trained -------------------------------------------------------------------- */

/* Is the projector of these settings a linear classifier (supervised.classes above 0, which the
 * trainer sets)? Then projector.* say nothing. */
bool lj_model_classifies(const struct lj_config *settings);

/* What the settings came to. */
struct lj_model_config {
    const struct lj_encoder *encoder;
    int64_t channels; /* of an image */
    int64_t size[2];  /* pixels of global and of local views: size x size */
    struct lj_projector_config projector, predictor; /* predictor.layers 0: there is none */
    int64_t prototypes;                              /* 0: there are none */
    char text[160];                                  /* the encoder in a few words */
};

enum { LJ_SEGMENTS_MAX = 4096 };
/* The head is a predictor or prototypes. */
enum { LJ_NET_ENCODER, LJ_NET_PROJECTOR, LJ_NET_HEAD, LJ_NETS };

struct lj_model {
    struct lj_model_config config;
    struct lj_params params;
    struct lj_net *net[LJ_NETS];                /* [LJ_NET_HEAD] NULL: there is none */
    struct lj_segment segment[LJ_SEGMENTS_MAX]; /* one per bucket */
    int64_t embedding;                          /* width */
    bool has_places;                            /* its family knows them */
    struct lj_encoder_places places;            /* in the encoder's net */
};

/* Writes the numbers of automatic values into settings: views.global_size, views.local_size, and
 * what the encoder resolves; predict.centre and optim.weight_decay where they are left to it. Does
 * nothing to settings that are resolved.
 *   size  pixels of the loaded images (views.global_size 0 takes it)
 * Errors: LJ_ERR_CONFIG: no such encoder, or settings it cannot take, or does not have. */
int lj_model_resolve(struct lj_config *settings, int64_t size) LJ_MUST_USE;

/* Builds encoder and projector, a predictor where predictor.hidden is above 0, and prototypes where
 * dino.prototypes is.
 *   settings      in   resolved
 *   bucket_bytes  in   about the size of a gradient bucket
 *   model         out  owned by the caller */
int lj_model_create(struct lj_model **model, const struct lj_config *settings, int64_t channels,
                    int64_t bucket_bytes) LJ_MUST_USE;
void lj_model_destroy(struct lj_model *model);

/* Width of what comes out of a net of the model. */
int64_t lj_model_width(const struct lj_model *model, int net);

/* The encoder in timm's words; empty ones where timm has no such encoder.
 *   settings  in  those that the model was created with */
void lj_model_timm(const struct lj_model *model, const struct lj_config *settings,
                   struct lj_timm_model *timm);

/* ---- places.c: what looks into a trained encoder ------------------------------------------ */

/* The encoder with another end: its output are the features of its last two layers side by side,
 * those of the last but one first. Features are what becomes the embedding, before model.head: a
 * layer's output goes through the same norm and pooling; where it has another width, as stages
 * have, only through the pooling. Local.
 *   net  out  owned by the caller: lj_net_destroy; it has the model's parameters, and must not
 *             outlive it
 * Errors: LJ_ERR_CONFIG: the encoder has one layer; LJ_ERR_RESOURCE. */
int lj_model_last_two(struct lj_net **net, const struct lj_model *model) LJ_MUST_USE;
/* Width of the output of that net. */
int64_t lj_model_last_two_width(const struct lj_model *model);
/* Heads of the attention of its last layer; 0: it has none. */
int64_t lj_model_heads(const struct lj_model *model);
/* The encoder's net up to a value, which is its output then. Its nodes are borrowed. */
struct lj_net lj_model_until(const struct lj_model *model, int32_t value);

/* Shape of the encoder's input: a global (0) or a local (1) view. */
struct lj_shape lj_model_view(const struct lj_model *model, int local);

#endif
