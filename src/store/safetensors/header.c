/* SPDX-License-Identifier: Apache-2.0 */
/* The header of safetensors files: 8 bytes little-endian length, JSON {name: {dtype, shape,
 * data_offsets}}, then the tensors' bytes without holes. Format and the checks that make hostile
 * files harmless: github.com/huggingface/safetensors, README, "Format". */
#include "store/safetensors/header.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_MAX = 100000000 }; /* the reference implementation's limit */

static const struct {
    const char *name;
    enum lj_safetensors_type type;
    int64_t size; /* bytes of one element */
} dtypes[] = {
    {"F32", LJ_ST_F32, 4},    {"F16", LJ_ST_F16, 2},       {"BF16", LJ_ST_BF16, 2},
    {"F64", LJ_ST_OTHER, 8},  {"I64", LJ_ST_OTHER, 8},     {"U64", LJ_ST_OTHER, 8},
    {"I32", LJ_ST_OTHER, 4},  {"U32", LJ_ST_OTHER, 4},     {"I16", LJ_ST_OTHER, 2},
    {"U16", LJ_ST_OTHER, 2},  {"I8", LJ_ST_OTHER, 1},      {"U8", LJ_ST_OTHER, 1},
    {"BOOL", LJ_ST_OTHER, 1}, {"F8_E4M3", LJ_ST_OTHER, 1}, {"F8_E5M2", LJ_ST_OTHER, 1},
};

int lj_safetensors_pread(int file, const char *path, void *bytes, int64_t size, int64_t offset)
{
    for (int64_t done = 0; done < size;) {
        ssize_t got =
            pread(file, (char *)bytes + done, (size_t)(size - done), (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return lj_fail(LJ_ERR_CHECKPOINT, "%s: cannot read %lld bytes at byte %lld: %s", path,
                           (long long)size, (long long)offset,
                           got == 0 ? "the file ends before" : strerror(errno));
        done += got;
    }
    return LJ_OK;
}

/* The JSON text's length, checked against limit and file. */
static int read_length(int file, const char *path, int64_t *length, int64_t *file_size)
{
    struct stat status;
    unsigned char bytes[8];
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: not a regular file; expected a safetensors file",
                       path);
    *file_size = status.st_size;
    LJ_TRY(lj_safetensors_pread(file, path, bytes, sizeof bytes, 0));
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    if (value > HEADER_MAX || value > (uint64_t)*file_size - 8)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: header of %llu bytes, expected at most %d and inside the file of %lld "
                       "bytes; not a safetensors file, or truncated",
                       path, (unsigned long long)value, (int)HEADER_MAX, (long long)*file_size);
    *length = (int64_t)value;
    return LJ_OK;
}

static int parse(struct lj_safetensors *table, int file, const char *path, int64_t length)
{
    char *text = lj_alloc((size_t)length, "safetensors header");
    if (!text)
        return LJ_ERR_RESOURCE;
    int status = lj_safetensors_pread(file, path, text, length, 8);
    if (status == LJ_OK) {
        json_error_t error;
        table->json = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
        if (!table->json)
            status = lj_fail(LJ_ERR_CHECKPOINT, "%s: header is not JSON: %s (line %d, column %d)",
                             path, error.text, error.line, error.column);
        else if (!json_is_object(table->json) || text[0] != '{')
            status = lj_fail(LJ_ERR_CHECKPOINT, "%s: header is not a JSON object", path);
    }
    lj_free(text);
    return status;
}

/* A JSON integer >= 0. */
static bool natural(const json_t *json, int64_t *value)
{
    if (!json_is_integer(json))
        return false;
    *value = (int64_t)json_integer_value(json);
    return *value >= 0;
}

static bool read_shape(const json_t *shape, struct lj_safetensor *tensor)
{
    if (!json_is_array(shape) || json_array_size(shape) > INT32_MAX)
        return false;
    tensor->dims = (int)json_array_size(shape);
    tensor->count = 1;
    for (int i = 0; i < tensor->dims; i++) {
        int64_t dim;
        if (!natural(json_array_get(shape, (size_t)i), &dim) ||
            __builtin_mul_overflow(tensor->count, dim, &tensor->count))
            return false;
        if (i < LJ_DIMS_MAX)
            tensor->dim[i] = dim;
    }
    return true;
}

/* Bytes of one element; 0 for an unknown dtype. */
static int64_t read_dtype(const json_t *dtype, struct lj_safetensor *tensor)
{
    tensor->dtype = json_string_value(dtype);
    for (size_t i = 0; tensor->dtype && i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(tensor->dtype, dtypes[i].name) == 0) {
            tensor->type = dtypes[i].type;
            return dtypes[i].size;
        }
    return 0;
}

static int read_entry(const char *path, const json_t *entry, int64_t data,
                      struct lj_safetensor *tensor)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    int64_t size = read_dtype(json_object_get(entry, "dtype"), tensor), bytes;
    if (size == 0)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: tensor %s: unknown dtype %s", path, tensor->name,
                       tensor->dtype ? tensor->dtype : "(none)");
    if (!read_shape(json_object_get(entry, "shape"), tensor) ||
        __builtin_mul_overflow(tensor->count, size, &bytes))
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: tensor %s: shape is not a list of natural numbers with a product below "
                       "2^63",
                       path, tensor->name);
    if (json_array_size(offsets) != 2 || !natural(json_array_get(offsets, 0), &tensor->begin) ||
        !natural(json_array_get(offsets, 1), &tensor->end) || tensor->end < tensor->begin ||
        tensor->end - tensor->begin != bytes || tensor->end > INT64_MAX - data)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: tensor %s: data_offsets are not two numbers %lld bytes apart, as shape "
                       "and dtype want",
                       path, tensor->name, (long long)bytes);
    tensor->begin += data;
    tensor->end += data;
    return LJ_OK;
}

static int by_begin(const void *a, const void *b)
{
    const struct lj_safetensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end); /* empty tensors first */
}

/* Each tensor begins where the one before it ends; the last ends with the file. */
static int check_cover(const struct lj_safetensors *table, const char *path, int64_t data,
                       int64_t file_size)
{
    int64_t at = data;
    for (int64_t i = 0; i < table->count; i++) {
        const struct lj_safetensor *tensor = &table->list[i];
        if (tensor->begin != at)
            return lj_fail(LJ_ERR_CHECKPOINT,
                           "%s: tensor %s begins at byte %lld, expected %lld: tensors overlap or "
                           "leave a hole",
                           path, tensor->name, (long long)tensor->begin, (long long)at);
        at = tensor->end;
    }
    if (at == file_size)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: the file has %lld bytes, expected %lld: truncated or not safetensors", path,
                   (long long)file_size, (long long)at);
}

static int read_table(struct lj_safetensors *table, const char *path, int64_t data)
{
    const char *name;
    json_t *entry;
    table->list = lj_alloc_array((int64_t)json_object_size(table->json), sizeof *table->list,
                                 "safetensors table");
    if (!table->list)
        return LJ_ERR_RESOURCE;
    json_object_foreach(table->json, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct lj_safetensor *tensor = &table->list[table->count++];
        tensor->name = name;
        LJ_TRY(read_entry(path, entry, data, tensor));
    }
    qsort(table->list, (size_t)table->count, sizeof *table->list, by_begin);
    return LJ_OK;
}

int lj_safetensors_open(struct lj_safetensors *table, int file, const char *path)
{
    int64_t length = 0, file_size = 0;
    *table = (struct lj_safetensors){0};
    LJ_TRY(read_length(file, path, &length, &file_size));
    LJ_TRY(parse(table, file, path, length));
    LJ_TRY(read_table(table, path, length + 8));
    return check_cover(table, path, length + 8, file_size);
}

void lj_safetensors_close(struct lj_safetensors *table)
{
    lj_free(table->list);
    json_decref(table->json);
    *table = (struct lj_safetensors){0};
}
