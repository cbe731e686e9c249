/* SPDX-License-Identifier: Apache-2.0 */
/* A vision transformer of timm: what shows in its tensors, and what keeps it from being ours. */
#include "models/encoders.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what ours have not ------------------------------------------------------------------ */

/* Tensors by which other kinds of timm's vision transformers are known. */
static const struct {
    const char *name, *why;
} foreign[] = {
    {"dist_token", "has a distillation token"},
    {"norm_pre.weight", "has a norm before its blocks"},
    {"attn_pool.latent", "pools by attention"},
    {"blocks.0.attn.q_norm.weight", "normalises queries and keys"},
    {"blocks.0.attn.q_proj.weight", "has separate queries, keys and values"},
    {"blocks.0.attn.q_bias", "has separate biases of queries and values"},
    {"blocks.0.attn.norm.weight", "has a norm inside of attention"},
    {"blocks.0.mlp.fc1_g.weight", "has a gated MLP (SwiGLU)"},
    {"blocks.0.mlp.w12.weight", "has a gated MLP (SwiGLU)"},
    {"blocks.0.gamma_1", "has layer scale by an older name (gamma_1)"},
};

static int check_kind(const struct lj_encoder_file *file)
{
    if (!lj_find_tensor(file, "pos_embed"))
        return lj_refuse_encoder(file, "has rotary or relative positions, no pos_embed");
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (lj_find_tensor(file, "%s", foreign[i].name))
            return lj_refuse_encoder(file, foreign[i].why);
    if (!lj_find_tensor(file, "cls_token"))
        return lj_refuse_encoder(file, "has patch tokens without a class token");
    return LJ_OK;
}

/* ---- numbers ----------------------------------------------------------------------------- */

struct numbers {
    int64_t width, depth, heads, hidden, patch, registers;
    bool mean_pool;
};

static int read_numbers(const struct lj_encoder_file *file, struct numbers *n)
{
    const struct lj_tensor *patch, *fc1, *fc2, *registers = lj_find_tensor(file, "reg_token");
    LJ_TRY(lj_expect_tensor(file, "patch_embed.proj.weight", 4, &patch));
    LJ_TRY(lj_expect_tensor(file, "blocks.0.mlp.fc1.weight", 2, &fc1));
    LJ_TRY(lj_expect_tensor(file, "blocks.0.mlp.fc2.weight", 2, &fc2));
    *n = (struct numbers){.width = patch->dim[0],
                          .hidden = fc1->dim[0],
                          .patch = patch->dim[2],
                          .registers = registers && registers->dims == 3 ? registers->dim[1] : 0};
    if (n->width < 1 || n->hidden < 1 || n->patch < 1 || patch->dim[3] != n->patch)
        return lj_refuse_encoder(file, "has patches that are not square, or empty tensors");
    if (fc1->dim[0] != fc2->dim[1])
        return lj_refuse_encoder(file, "has a gated MLP (SwiGLU)");
    while (n->depth < file->tensors &&
           lj_find_tensor(file, "blocks.%lld.norm1.weight", (long long)n->depth))
        n->depth++;
    return LJ_OK;
}

static int read_pool(const struct lj_encoder_file *file, struct numbers *n)
{
    bool fc_norm = lj_find_tensor(file, "fc_norm.weight") != NULL;
    bool mean = strcmp(file->pool, "avg") == 0;
    n->mean_pool = file->pool[0] ? mean : fc_norm;
    if (file->pool[0] && !mean && strcmp(file->pool, "token") != 0)
        return lj_refuse_encoder(file, "pools in another way than token and avg");
    if (n->mean_pool && !fc_norm)
        return lj_refuse_encoder(file, "averages tokens that are normalised already (no fc_norm)");
    return LJ_OK;
}

/* Row of the table with these numbers; NULL: none. */
static const struct lj_encoder *find_row(const struct numbers *n)
{
    int rows;
    const struct lj_encoder *encoders = lj_encoders(&rows);
    for (int i = 0; i < rows; i++)
        if (encoders[i].family == &lj_family_vit && encoders[i].number[LJ_VIT_HEADS] > 0 &&
            encoders[i].number[LJ_VIT_WIDTH] == n->width &&
            encoders[i].number[LJ_VIT_DEPTH] == n->depth)
            return &encoders[i];
    return NULL;
}

/* No tensor shows the heads. All of timm's plain vision transformers, the only ones left here, have
 * 64 features a head, but the larger ones have 16 heads. */
static int64_t timm_heads(int64_t width)
{
    bool sixteen = width == 1152 || width == 1280 || width == 1408 || width == 1664;
    return sixteen ? 16 : lj_max_i64(width / 64, 1);
}

static int find_heads(const struct lj_encoder_file *file, const struct lj_encoder *row,
                      struct numbers *n)
{
    n->heads = file->heads;
    if (n->heads == 0 && row)
        n->heads = row->number[LJ_VIT_HEADS];
    if (n->heads == 0 && file->architecture[0])
        n->heads = timm_heads(n->width);
    if (n->heads > 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: nothing says how many attention heads its encoder of width %lld and depth "
                   "%lld has; give model.heads, or put timm's config.json beside it",
                   file->path, (long long)n->width, (long long)n->depth);
}

/* ---- settings ---------------------------------------------------------------------------- */

static int take_ratio(const struct lj_encoder *row, const struct numbers *n,
                      struct lj_config *settings)
{
    char text[32];
    int64_t usual = row ? row->number[LJ_VIT_HIDDEN] : 0;
    if (n->hidden == (usual ? usual : llround(settings->model_mlp_ratio * (double)n->width)))
        return LJ_OK;
    snprintf(text, sizeof text, "%.17g", (double)n->hidden / (double)n->width);
    return lj_take_text(settings, "model.mlp_ratio", text);
}

/* A row of the table, if it is one, else width, depth and heads. */
static int take_row(const struct lj_encoder_file *file, struct numbers *n,
                    struct lj_config *settings)
{
    const struct lj_encoder *row = find_row(n);
    if (!lj_config_is_given(settings, "model.heads"))
        LJ_TRY(find_heads(file, row, n));
    if (row && n->heads > 0 && n->heads != row->number[LJ_VIT_HEADS])
        row = NULL;
    LJ_TRY(lj_take_text(settings, "model", row ? row->name : "vit"));
    LJ_TRY(take_ratio(row, n, settings));
    if (row)
        return LJ_OK;
    LJ_TRY(lj_take_number(settings, "model.width", n->width));
    LJ_TRY(lj_take_number(settings, "model.depth", n->depth));
    return lj_take_number(settings, "model.heads", n->heads);
}

static int64_t root_of(int64_t cells)
{
    int64_t side = llround(sqrt((double)lj_max_i64(cells, 0)));
    return side * side == cells ? side : 0;
}

/* Side of the images that pos_embed was made for, be it of all tokens or of patches only; 0: its
 * patches are no square. */
static int64_t size_of_positions(const struct lj_encoder_file *file, const struct numbers *n)
{
    const struct lj_tensor *pos = lj_find_tensor(file, "pos_embed");
    if (pos->dims != 3)
        return 0;
    int64_t side = root_of(pos->dim[1] - 1 - n->registers);
    return n->patch * (side ? side : root_of(pos->dim[1]));
}

int lj_recognise_vit(const struct lj_encoder_file *file, bool choose, struct lj_config *settings)
{
    struct numbers n;
    LJ_TRY(check_kind(file));
    LJ_TRY(read_numbers(file, &n));
    LJ_TRY(read_pool(file, &n));
    if (choose)
        LJ_TRY(take_row(file, &n, settings));
    LJ_TRY(lj_take_number(settings, "model.patch", n.patch));
    LJ_TRY(lj_take_number(settings, "model.registers", n.registers));
    LJ_TRY(lj_take_text(settings, "model.pool", n.mean_pool ? "mean" : "token"));
    return lj_take_size(settings, file->size ? file->size : size_of_positions(file, &n));
}
