/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store. The table of tensors of a safetensors file, checked. */
#ifndef LEJEPA_SAFETENSORS_HEADER_H
#define LEJEPA_SAFETENSORS_HEADER_H

#include "store/store.h"
#include "store/timm.h"

#include <jansson.h>

enum lj_safetensors_type { LJ_ST_F32, LJ_ST_F16, LJ_ST_BF16, LJ_ST_OTHER };

struct lj_safetensor {
    const char *name; /* borrowed from the JSON */
    const char *dtype;
    enum lj_safetensors_type type;
    int dims; /* may exceed LJ_DIMS_MAX; then dim holds the first ones */
    int64_t dim[LJ_DIMS_MAX];
    int64_t count;
    int64_t begin, end; /* bytes from the first byte of the file */
};

struct lj_safetensors {
    json_t *json;               /* owned */
    struct lj_safetensor *list; /* (count) owned, in order of begin */
    int64_t count;
};

/* Reads and checks the header of the open file. Everything that could mislead a reader is
 * refused: a header longer than 100 MB or than the file, text that is not one JSON
 * object, names given twice, unknown dtypes, shapes whose product overflows, bytes that
 * do not fit shape and dtype, overlap, holes, and bytes beyond the end of the file.
 * Errors: LJ_ERR_CHECKPOINT, LJ_ERR_RESOURCE. */
int lj_safetensors_open(struct lj_safetensors *table, int file, const char *path) LJ_MUST_USE;
void lj_safetensors_close(struct lj_safetensors *table);

/* A file that is being read into parameters. All borrowed. */
struct lj_safetensors_reading {
    int file;
    const char *path;
    const struct lj_safetensors *table;
    const struct lj_params *params;
    const char *left;                   /* beginning of the names that are not read; NULL: none */
    const struct lj_adaption *adaption; /* NULL: every tensor has to fit */
    struct lj_timm_images images;       /* with an adaption: those of the file */
    float *weights;
};

/* ---- values.c ------------------------------------------------------------------------------ */

/* The tensor of that name, or NULL. */
const struct lj_safetensor *lj_safetensors_find(const struct lj_safetensors *table,
                                                const char *name);
/* All elements of a tensor as float32. Errors: LJ_ERR_CHECKPOINT, also for other types. */
int lj_safetensors_values(const struct lj_safetensors_reading *r,
                          const struct lj_safetensor *tensor, float *values) LJ_MUST_USE;
/* Fails because of the tensor's shape. */
int lj_safetensors_refuse_shape(const struct lj_safetensors_reading *r,
                                const struct lj_safetensor *tensor, const struct lj_param *param);

/* ---- adapt.c ----------------------------------------------------------------------------- */

/* Is a tensor to be adapted even if it has the parameter's shape, since its rows may be others? */
bool lj_safetensors_has_layouts(const struct lj_param *param);
/* Reads a tensor of another shape, or of another layout, than the parameter's. */
int lj_safetensors_fit(const struct lj_safetensors_reading *r, const struct lj_safetensor *tensor,
                       const struct lj_param *param) LJ_MUST_USE;
/* Is a parameter that is not in the file zero there? */
bool lj_safetensors_is_zero(const struct lj_safetensors_reading *r, const struct lj_param *param);
/* Multiplies layer scale into what was read, once all is; says what is left out. */
int lj_safetensors_finish_adaption(const struct lj_safetensors_reading *r) LJ_MUST_USE;
/* May a tensor be there that is no parameter, since adaption takes it in or no encoder needs it? */
bool lj_safetensors_is_settled(const struct lj_safetensors_reading *r, const char *name);

/* ---- header.c ---------------------------------------------------------------------------- */

/* Reads size bytes at offset. Errors: LJ_ERR_CHECKPOINT. */
int lj_safetensors_pread(int file, const char *path, void *bytes, int64_t size,
                         int64_t offset) LJ_MUST_USE;

#endif
