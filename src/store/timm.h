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

#endif
