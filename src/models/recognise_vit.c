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
    if (file->oblong)
        return lj_refuse_encoder(file, "has positions of images that are not square");
    if (!lj_find_tensor(file, "cls_token"))
        return lj_refuse_encoder(file, "has patch tokens without a class token");
    return LJ_OK;
}

/* ---- by its name ------------------------------------------------------------------------- */

/* Words of the names of timm's functions whose encoders have nothing, besides numbers, that ours
 * have not. Others may differ in what shows in no tensor: other activations, norms after the
 * layers, another epsilon. */
static const char *const plain_words[] = {
    "vit",   "deit",     "deit3", "flexivit", "tiny",   "small", "medium", "base", "large", "huge",
    "giant", "gigantic", "plus",  "dinov2",   "tipsv2", "miil",  "in21k",  "dino", "mae",   "sam"};

/* The width of timm's functions by the word of size in their names, and their heads there. */
static const struct {
    const char *word;
    int64_t width, heads;
} sizes[] = {{"tiny", 192, 3},   {"small", 384, 6},   {"medium", 512, 8},
             {"base", 768, 12},  {"plus", 896, 14},   {"large", 1024, 16},
             {"huge", 1280, 16}, {"giant", 1408, 16}, {"gigantic", 1664, 16}};

/* The next word of a name, up to its tag: "dinov2" of "_dinov2.lvd142m"; "": there is none. */
static void next_word(const char **name, char word[24])
{
    *name += **name == '_';
    size_t length = strcspn(*name, "_.");
    snprintf(word, 24, "%.*s", (int)length, *name);
    *name += length;
}

/* Digits, be it after "patch" or "reg". */
static bool is_number(const char *word)
{
    word += strncmp(word, "patch", 5) == 0 ? 5 : strncmp(word, "reg", 3) == 0 ? 3 : 0;
    return word[0] && strspn(word, "0123456789") == strlen(word);
}

static bool is_plain_word(const char *word)
{
    for (size_t i = 0; i < sizeof plain_words / sizeof *plain_words; i++)
        if (strcmp(word, plain_words[i]) == 0)
            return true;
    return is_number(word);
}

static bool is_plain(const char *name)
{
    char word[24];
    for (next_word(&name, word); word[0]; next_word(&name, word))
        if (!is_plain_word(word))
            return false;
    return !*name || *name == '.';
}

/* Heads of the function of that name, whose encoder has that width unless an argument changed it;
 * 0: unknown. */
static int64_t heads_of(const char *name, int64_t width)
{
    char word[24];
    for (next_word(&name, word); word[0]; next_word(&name, word))
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            if (strcmp(word, sizes[i].word) == 0 && sizes[i].width == width)
                return sizes[i].heads;
    return 0;
}

/* A name that is not known is refused, unless the user says by model= what it is. */
static int check_name(const struct lj_encoder_file *file, bool choose)
{
    if (is_plain(file->architecture))
        return LJ_OK;
    if (choose)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: its encoder %s is not among timm's plain vision transformers that this "
                       "program knows; if it differs from them in numbers only, give model=vit "
                       "and its model.width, model.depth and model.heads",
                       file->path, file->architecture);
    lj_warn("%s: its encoder %s is not among timm's plain vision transformers that this program "
            "knows: taken as one, with GELU, norms before the layers and an epsilon of 1e-6",
            file->path, file->architecture);
    return LJ_OK;
}

/* ---- numbers ----------------------------------------------------------------------------- */

enum { BLOCKS_MAX = 1024 };

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
    return lj_count_blocks(file, "blocks", "norm1.weight", BLOCKS_MAX, &n->depth);
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

/* No tensor shows the heads. */
static int find_heads(const struct lj_encoder_file *file, const struct lj_encoder *row,
                      struct numbers *n)
{
    n->heads = file->heads;
    if (n->heads == 0 && file->architecture[0])
        n->heads = heads_of(file->architecture, n->width);
    else if (n->heads == 0 && row)
        n->heads = row->number[LJ_VIT_HEADS];
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

int lj_recognise_vit(const struct lj_encoder_file *file, bool choose, struct lj_config *settings)
{
    struct numbers n;
    LJ_TRY(check_kind(file));
    LJ_TRY(check_name(file, choose));
    LJ_TRY(read_numbers(file, &n));
    LJ_TRY(read_pool(file, &n));
    if (choose)
        LJ_TRY(take_row(file, &n, settings));
    LJ_TRY(lj_take_number(settings, "model.patch", n.patch));
    LJ_TRY(lj_take_number(settings, "model.registers", n.registers));
    LJ_TRY(lj_take_text(settings, "model.pool", n.mean_pool ? "mean" : "token"));
    return lj_take_size(settings, file->size);
}
