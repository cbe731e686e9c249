/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store. The configuration that timm writes beside weights, or into their metadata. */
#ifndef LEJEPA_TIMM_H
#define LEJEPA_TIMM_H

#include "store/store.h"

#include <jansson.h>

/* Text of a JSON value, owned by the caller (lj_free); NULL on LJ_ERR_RESOURCE. */
char *lj_timm_text_of(const json_t *value, size_t flags);

/* The configuration in the metadata of a safetensors file, else in the config.json beside it.
 *   from    out  which of them
 *   config  out  owned by the caller (json_decref); NULL: there is neither
 * Errors: LJ_ERR_CHECKPOINT, LJ_ERR_RESOURCE. */
int lj_timm_read_config(const char *path, char from[LJ_PATH_MAX], json_t **config) LJ_MUST_USE;

/* Key of a configuration of what is not timm's; tells our files from those of others. */
#define LJ_TIMM_OURS "lejepa_mpi"

/* ---- timm_positions.c --------------------------------------------------------------------- */

/* What a configuration says of the images that an encoder was made for. */
struct lj_timm_images {
    int64_t size;                          /* pixels of a side; 0: not said, or not square */
    bool oblong;                           /* not square */
    bool has_all_tokens, has_only_patches; /* pos_embed, by no_embed_class; neither: not said */
};
/* config NULL: says nothing. Local. */
void lj_timm_images(struct lj_timm_images *images, const json_t *config);

/* Where a pos_embed of `rows` rows has those of patches. Files of timm have rows of all tokens or,
 * with no_embed_class, of patches only; where both counts of patches are squares, the images' size
 * decides. Local.
 *   prefix  in   tokens before those of patches
 *   patch   in   pixels of a side of a patch
 *   first   out  row of the first patch
 *   side    out  patches of a side; 0: they are no square
 * Errors: LJ_ERR_CHECKPOINT: nothing decides. */
int lj_timm_find_positions(const char *path, const struct lj_timm_images *images, int64_t rows,
                           int64_t prefix, int64_t patch, int64_t *first,
                           int64_t *side) LJ_MUST_USE;

#endif
