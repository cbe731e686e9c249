/* SPDX-License-Identifier: Apache-2.0 */
/* A condition of data.where asked of a dataset of strings, of fixed or variable length. */
#include "data/archive/where.h"

#include <string.h>

enum { BLOCK_BYTES = 1 << 20 };

/* Reading of one dataset. */
struct reader {
    const struct lj_condition *condition;
    hid_t dataset, type; /* type: of the strings in memory */
    bool variable;       /* in length: memory then holds pointers */
    size_t bytes;        /* of an element in memory */
    char *block;         /* (rows_at_once) elements */
    int64_t rows_at_once;
};

/* The strings as C has them: ended by NUL, in the file's character set. */
static bool open_type(struct reader *r)
{
    hid_t stored = H5Dget_type(r->dataset);
    r->variable = H5Tis_variable_str(stored) > 0;
    size_t length = H5Tget_size(stored);
    r->type = H5Tcopy(H5T_C_S1);
    bool good = r->type >= 0 && length < SIZE_MAX &&
                H5Tset_size(r->type, r->variable ? H5T_VARIABLE : length + 1) >= 0 &&
                H5Tset_cset(r->type, H5Tget_cset(stored)) >= 0;
    H5Tclose(stored);
    r->bytes = r->variable ? sizeof(char *) : length + 1;
    return good;
}

static const char *string_at(const struct reader *r, int64_t i)
{
    const char *element = r->block + (size_t)i * r->bytes;
    const char *text = NULL;
    if (!r->variable)
        return element;
    memcpy(&text, element, sizeof text);
    return text ? text : ""; /* never written */
}

/* values: of row `first` on. */
static bool read_block(struct reader *r, hid_t stored, int64_t first, int64_t count, double *values)
{
    const hsize_t start = (hsize_t)first, length = (hsize_t)count;
    hsize_t starts[H5S_MAX_RANK] = {start}, counts[H5S_MAX_RANK];
    for (int i = 0; i < H5S_MAX_RANK; i++)
        counts[i] = 1; /* further axes have one element */
    counts[0] = length;
    hid_t memory = H5Screate_simple(1, &length, NULL);
    bool good = memory >= 0 &&
                H5Sselect_hyperslab(stored, H5S_SELECT_SET, starts, NULL, counts, NULL) >= 0 &&
                H5Dread(r->dataset, r->type, memory, stored, H5P_DEFAULT, r->block) >= 0;
    for (int64_t i = 0; i < count && good; i++)
        values[i] = lj_condition_holds_text(r->condition, string_at(r, i));
    if (good && r->variable)
        H5Dvlen_reclaim(r->type, memory, H5P_DEFAULT, r->block);
    if (memory >= 0)
        H5Sclose(memory);
    return good;
}

static bool read_all(struct reader *r, int64_t first, int64_t rows, double *values)
{
    hid_t stored = H5Dget_space(r->dataset);
    bool good = stored >= 0;
    for (int64_t i = 0; i < rows && good; i += r->rows_at_once) {
        lj_progress();
        good = read_block(r, stored, first + i, lj_min_i64(r->rows_at_once, rows - i), values + i);
    }
    if (stored >= 0)
        H5Sclose(stored);
    return good;
}

int lj_where_read_texts(const struct lj_condition *condition, hid_t dataset, const char *where,
                        int64_t first, int64_t rows, double *values)
{
    struct reader r = {.condition = condition, .dataset = dataset, .type = -1};
    int status = LJ_OK;
    bool good = open_type(&r);
    if (good) {
        r.rows_at_once = lj_max_i64(1, BLOCK_BYTES / (int64_t)r.bytes);
        r.block = lj_alloc_array(r.rows_at_once, r.bytes, "strings of data.where");
        status = r.block ? LJ_OK : LJ_ERR_RESOURCE;
    }
    if (status == LJ_OK && !(good && read_all(&r, first, rows, values)))
        status = lj_fail(LJ_ERR_DATA,
                         "%s: its strings cannot be read; the file is damaged, copy it "
                         "again",
                         where);
    lj_free(r.block);
    if (r.type >= 0)
        H5Tclose(r.type);
    return status;
}
