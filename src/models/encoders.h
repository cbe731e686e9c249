/* SPDX-License-Identifier: Apache-2.0 */
/* Private to models: the families of encoders, and what their files share. */
#ifndef LEJEPA_MODELS_ENCODERS_H
#define LEJEPA_MODELS_ENCODERS_H

#include "models/models.h"

/* 3/7 of the global size (98 of 224) rounded to a multiple, at least two of it. */
int64_t lj_automatic_local_size(int64_t global_size, int64_t multiple);

/* Refuses settings model.* that the encoder does not read, unless they have their defaults.
 * Errors: LJ_ERR_CONFIG. */
int lj_encoder_check_foreign(const struct lj_encoder *encoder,
                             const struct lj_config *settings) LJ_MUST_USE;

/* ---- recognise.c ------------------------------------------------------------------------ */

/* The tensor of that name, or NULL. */
const struct lj_tensor *lj_find_tensor(const struct lj_encoder_file *file, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The tensor of that name, with so many axes. Errors: LJ_ERR_CHECKPOINT. */
int lj_expect_tensor(const struct lj_encoder_file *file, const char *name, int dims,
                     const struct lj_tensor **tensor) LJ_MUST_USE;
/* Counts tensors "<stage>.0.<tensor>", "<stage>.1.<tensor>" and so on, one of each block.
 * Errors: LJ_ERR_CHECKPOINT: there are more than `most`. */
int lj_count_blocks(const struct lj_encoder_file *file, const char *stage, const char *tensor,
                    int64_t most, int64_t *blocks) LJ_MUST_USE;
/* Fails because of what the encoder in the file has, such as "has no class token". */
int lj_refuse_encoder(const struct lj_encoder_file *file, const char *why);
/* Gives a setting its value, unless it is given. */
int lj_take_text(struct lj_config *settings, const char *name, const char *value) LJ_MUST_USE;
int lj_take_number(struct lj_config *settings, const char *name, int64_t value) LJ_MUST_USE;
/* Gives data.size the side of the file's images, unless a size is given or none is said. */
int lj_take_size(struct lj_config *settings, int64_t size) LJ_MUST_USE;

/* ---- recognise_vit.c --------------------------------------------------------------------- */

int lj_recognise_vit(const struct lj_encoder_file *file, bool choose,
                     struct lj_config *settings) LJ_MUST_USE;

/* ---- stages.c --------------------------------------------------------------------------- */

/* Convolutional encoders have four stages, of as many blocks as they say, up to a number: a bucket
 * of gradients ends at least at each normalisation over the global batch, of which a block has up
 * to three, and a model has LJ_SEGMENTS_MAX buckets. */
enum { LJ_STAGES = 4, LJ_STAGE_BLOCKS_MAX = 256 };
/* Blocks of each stage: model.depth, if it is set, else those of the row. */
void lj_blocks_of_stages(int64_t blocks[LJ_STAGES], const int64_t *row,
                         const struct lj_config *settings);
int64_t lj_sum_of_stages(const int64_t blocks[LJ_STAGES]);
/* Takes the row of the family whose number[1] is `flag` and whose blocks, number[2] and the next
 * ones, are these; where all stages have the same, one with `flag` and model.depth.
 *   width  in  of the first stage */
int lj_recognise_stages(const struct lj_encoder_file *file, const struct lj_encoder_family *family,
                        int64_t width, bool flag, const int64_t blocks[LJ_STAGES],
                        struct lj_config *settings) LJ_MUST_USE;
/* Places of an encoder of stages, whose last map the node named pool reads.
 *   stage   in  the node that reads the map of the last stage but one
 *   pooled  in  the node that makes the features */
void lj_places_of_stages(struct lj_encoder_places *places, const struct lj_net *net, int32_t stage,
                         int32_t pooled);
/* Refuses an encoder whose embedding is not the mean over positions.
 * Errors: LJ_ERR_CHECKPOINT. */
int lj_check_mean_pool(const struct lj_encoder_file *file) LJ_MUST_USE;
/* Refuses a model.depth that needs more buckets of gradients than there may be.
 * Errors: LJ_ERR_CONFIG. */
int lj_check_stages(const struct lj_config *settings) LJ_MUST_USE;

/* ---- vit.c ------------------------------------------------------------------------------ */

/* lj_encoder.number: heads 0: width / 64; hidden width of the MLP at that width, 0: by
 * model.mlp_ratio. */
enum { LJ_VIT_WIDTH, LJ_VIT_DEPTH, LJ_VIT_HEADS, LJ_VIT_HIDDEN };
extern const struct lj_encoder_family lj_family_vit;

/* Vision transformer (Dosovitskiy et al. 2021) with timm's tensor names and initialisation. */
struct lj_vit_config {
    int64_t channels, size; /* of a global view: size x size pixels */
    int64_t patch, width, depth, heads, hidden, registers;
    int64_t head;     /* width of a linear head that makes the embedding; 0: none */
    bool mean_pool;   /* mean of patch tokens and fc_norm, instead of norm and class token */
    double drop_path; /* rate of the last block */
};
/* Adds the encoder to net: input (C, H, W), output (embedding). */
lj_val lj_vit(struct lj_net *net, const struct lj_vit_config *config);

/* ---- resnet.c --------------------------------------------------------------------------- */

/* number: width of the first stage, bottleneck, blocks of the four stages. */
extern const struct lj_encoder_family lj_family_resnet;

/* Residual network (He et al. 2016) with timm's tensor names and initialisation. */
struct lj_resnet_config {
    int64_t channels, size;    /* of a global view: size x size pixels */
    int64_t width;             /* of the first stage; each next one has twice as much */
    int64_t blocks[LJ_STAGES]; /* of each stage */
    bool bottleneck;           /* blocks of three convolutions, four times as wide outside */
    bool large_stem;           /* a quarter of the resolution before the first stage */
    bool over_batch;           /* normalised over the global batch, not over a lane */
    int64_t head;              /* width of a linear head that makes the embedding; 0: none */
    double drop_path;          /* rate of the last block */
};
/* Adds the encoder to net: input (C, H, W), output (embedding). */
lj_val lj_resnet(struct lj_net *net, const struct lj_resnet_config *config);

/* ---- convnextv2.c ----------------------------------------------------------------------- */

/* number: width of the first stage, 1x1 convolutions in the MLP, blocks of the four stages. */
extern const struct lj_encoder_family lj_family_convnextv2;

/* ConvNeXt-V2 with timm's tensor names and initialisation. */
struct lj_convnextv2_config {
    int64_t channels, size;    /* of a global view: size x size pixels */
    int64_t patch;             /* pixels */
    int64_t width;             /* of the first stage; each next one has twice as much */
    int64_t blocks[LJ_STAGES]; /* of each stage */
    bool conv_mlp;             /* weights of the MLP have the shape of 1x1 convolutions */
    int64_t head;              /* width of a linear head that makes the embedding; 0: none */
    double drop_path;          /* rate of the last block */
};
/* Adds the encoder to net: input (C, H, W), output (embedding). */
lj_val lj_convnextv2(struct lj_net *net, const struct lj_convnextv2_config *config);

#endif
