/* SPDX-License-Identifier: Apache-2.0 */
/* Writing files of embeddings, in parts. The datasets have their places in the file from the start,
 * so that after the first flush only rows are written: whatever lies on disk then is a file that
 * HDF5 can open, and a note beside it says how many of its rows are there. */
#include "store/embeddings.h"
#include "store/written.h"

#include <jansson.h>
#include <string.h>

enum { VALUES, LABELS, ROW, COLUMNS };

static const char *const names[COLUMNS] = {"embeddings", "labels", "row"};
static const char *const descriptions[COLUMNS] = {"one embedding a row, dimensionless",
                                                  "class of each row",
                                                  "row of the archive that was embedded"};

struct lj_embeddings_file {
    struct lj_result file;
    struct lj_written written; /* its file -1: what a killed process leaves is of no use */
    int64_t width;
    int64_t synced;     /* rows that are on disk, as far as written says */
    hid_t set[COLUMNS]; /* -1: absent */
};

/* ---- datasets ---------------------------------------------------------------------------- */

/* A dataset of (rows), or (rows, width) when width >= 0, without times: equal results
 * are equal files. */
static hid_t make_column(hid_t file, int column, hid_t stored, int64_t rows, int64_t width)
{
    const hsize_t dim[2] = {(hsize_t)rows, (hsize_t)width};
    hid_t space = H5Screate_simple(width >= 0 ? 2 : 1, dim, NULL);
    hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    hid_t set = -1;
    if (H5Pset_obj_track_times(plan, false) >= 0 &&
        H5Pset_alloc_time(plan, H5D_ALLOC_TIME_EARLY) >= 0 &&
        H5Pset_fill_time(plan, H5D_FILL_TIME_NEVER) >= 0)
        set = H5Dcreate2(file, names[column], stored, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    if (set >= 0 && !lj_hdf5_put_text(set, "description", descriptions[column])) {
        H5Dclose(set);
        set = -1;
    }
    H5Pclose(plan);
    H5Sclose(space);
    return set;
}

static bool make_columns(struct lj_embeddings_file *f, const struct lj_embeddings_layout *l)
{
    hid_t id = f->file.id;
    f->set[VALUES] = make_column(id, VALUES, H5T_IEEE_F32LE, l->rows, l->width);
    if (l->labels)
        f->set[LABELS] = make_column(id, LABELS, H5T_STD_I32LE, l->rows, -1);
    if (l->row)
        f->set[ROW] = make_column(id, ROW, H5T_STD_I64LE, l->rows, -1);
    return f->set[VALUES] >= 0 && (!l->labels || f->set[LABELS] >= 0) &&
           (!l->row || f->set[ROW] >= 0) && lj_hdf5_put_text(id, "creator", "lejepa_mpi") &&
           lj_hdf5_put_text(id, "description", "embeddings of the rows of an archive") &&
           lj_hdf5_put_text(id, "provenance", l->provenance) && lj_embeddings_put_source(id, l);
}

static bool put_rows(hid_t set, hid_t memory, int64_t first, int64_t count, int64_t width,
                     const void *values)
{
    const hsize_t start[2] = {(hsize_t)first, 0}, dim[2] = {(hsize_t)count, (hsize_t)width};
    hid_t inside = H5Screate_simple(width >= 0 ? 2 : 1, dim, NULL);
    hid_t outside = H5Dget_space(set);
    bool good = H5Sselect_hyperslab(outside, H5S_SELECT_SET, start, NULL, dim, NULL) >= 0 &&
                H5Dwrite(set, memory, inside, outside, H5P_DEFAULT, values) >= 0;
    H5Sclose(outside);
    H5Sclose(inside);
    return good;
}

/* ---- what a killed writer left ----------------------------------------------------------- */

/* The first member of two objects that differs and is not the name of a file, since files may have
 * moved; NULL: none. */
static const char *first_difference(json_t *left, json_t *wanted)
{
    const char *key;
    json_t *value;
    json_object_foreach(wanted, key,
                        value) if (strcmp(key, "checkpoint") != 0 && strcmp(key, "archive") != 0 &&
                                   !json_equal(value, json_object_get(left, key))) return key;
    return json_object_size(left) == json_object_size(wanted) ? NULL : "provenance";
}

/* Opens a dataset of the expected type and shape; negative: there is none. */
static hid_t open_column(hid_t file, int column, hid_t stored, int64_t rows, int64_t width)
{
    hsize_t dim[2] = {0, 0};
    if (H5Lexists(file, names[column], H5P_DEFAULT) <= 0)
        return -1;
    hid_t set = H5Dopen2(file, names[column], H5P_DEFAULT);
    if (set < 0)
        return -1;
    hid_t space = H5Dget_space(set), type = H5Dget_type(set);
    int dims = width >= 0 ? 2 : 1;
    bool same = H5Tequal(type, stored) > 0 && H5Sget_simple_extent_ndims(space) == dims &&
                H5Sget_simple_extent_dims(space, dim, NULL) == dims && dim[0] == (hsize_t)rows &&
                (width < 0 || dim[1] == (hsize_t)width);
    H5Tclose(type);
    H5Sclose(space);
    if (!same)
        H5Dclose(set);
    return same ? set : -1;
}

static bool open_columns(struct lj_embeddings_file *f, const struct lj_embeddings_layout *l)
{
    hid_t id = f->file.id;
    f->set[VALUES] = open_column(id, VALUES, H5T_IEEE_F32LE, l->rows, l->width);
    f->set[LABELS] = open_column(id, LABELS, H5T_STD_I32LE, l->rows, -1);
    f->set[ROW] = open_column(id, ROW, H5T_STD_I64LE, l->rows, -1);
    return f->set[VALUES] >= 0 && (f->set[LABELS] >= 0) == l->labels &&
           (f->set[ROW] >= 0) == l->row;
}

static void close_columns(struct lj_embeddings_file *f)
{
    for (int i = 0; i < COLUMNS; i++) {
        if (f->set[i] >= 0)
            H5Dclose(f->set[i]);
        f->set[i] = -1;
    }
}

/* Why the open file is not the one that shall be written; NULL: it is. */
static const char *why_not(struct lj_embeddings_file *f, const struct lj_embeddings_layout *l)
{
    static char key[64];
    char *text = NULL;
    if (!lj_hdf5_get_text(f->file.id, "provenance", &text))
        return "provenance";
    json_t *left = json_loads(text, 0, NULL), *wanted = json_loads(l->provenance, 0, NULL);
    const char *why = left && wanted ? first_difference(left, wanted) : "provenance";
    if (why)
        snprintf(key, sizeof key, "%s", why);
    json_decref(left);
    json_decref(wanted);
    lj_free(text);
    if (!why && !open_columns(f, l)) {
        close_columns(f);
        return "shape";
    }
    return why ? key : NULL;
}

/* Opens the unfinished file if it is the one that shall be written; true: it is open, lock held. */
static bool open_left(struct lj_embeddings_file *f, const char *path,
                      const struct lj_embeddings_layout *layout, int64_t rows)
{
    if (rows < 1 || rows > layout->rows || !lj_result_open_left(&f->file, path))
        return false;
    const char *why = why_not(f, layout);
    if (!why)
        return true;
    lj_result_leave(&f->file);
    lj_warn("%s: %lld rows of an unfinished file are dropped: it is of another %s", path,
            (long long)rows, why);
    return false;
}

/* ---- the file ---------------------------------------------------------------------------- */

static int create(struct lj_embeddings_file *f, const char *path,
                  const struct lj_embeddings_layout *layout)
{
    if (f->written.file >= 0) /* before rows of another file are overwritten */
        LJ_TRY(lj_written_set(&f->written, 0));
    LJ_TRY(lj_result_create(&f->file, path));
    return lj_result_pause(&f->file, make_columns(f, layout));
}

static int create_or_continue(struct lj_embeddings_file *f, const char *path,
                              const struct lj_embeddings_layout *layout, int64_t *done)
{
    int64_t rows = 0;
    if (done)
        LJ_TRY(lj_written_open(&f->written, path, &rows));
    if (!done || !open_left(f, path, layout, rows))
        return create(f, path, layout);
    *done = f->synced = rows;
    return lj_result_pause(&f->file, true);
}

int lj_embeddings_create(struct lj_embeddings_file **file, const char *path,
                         const struct lj_embeddings_layout *layout, int64_t *done)
{
    *file = NULL;
    struct lj_embeddings_file *f = lj_alloc(sizeof *f, "embeddings");
    if (!f)
        return LJ_ERR_RESOURCE;
    *f = (struct lj_embeddings_file){
        .file.id = -1, .written.file = -1, .width = layout->width, .set = {-1, -1, -1}};
    if (done)
        *done = 0;
    int status = create_or_continue(f, path, layout, done);
    if (f->file.id < 0) {
        lj_written_close(&f->written, false);
        lj_free(f);
        return status;
    }
    *file = f;
    return status;
}

int lj_embeddings_put(struct lj_embeddings_file *f, int64_t first, int64_t count,
                      const float *values, const int32_t *labels, const int64_t *row)
{
    if (count == 0)
        return LJ_OK;
    lj_result_resume(&f->file);
    bool good = put_rows(f->set[VALUES], H5T_NATIVE_FLOAT, first, count, f->width, values);
    if (f->set[LABELS] >= 0)
        good = good && put_rows(f->set[LABELS], H5T_NATIVE_INT32, first, count, -1, labels);
    if (f->set[ROW] >= 0)
        good = good && put_rows(f->set[ROW], H5T_NATIVE_INT64, first, count, -1, row);
    return lj_result_pause(&f->file, good);
}

int lj_embeddings_sync(struct lj_embeddings_file *f, int64_t rows)
{
    LJ_TRY(lj_result_sync(&f->file));
    LJ_TRY(lj_written_set(&f->written, rows));
    f->synced = rows;
    return LJ_OK;
}

int lj_embeddings_close(struct lj_embeddings_file *f)
{
    lj_result_resume(&f->file);
    close_columns(f);
    int status = lj_result_finish(&f->file, true);
    lj_written_close(&f->written, false);
    lj_free(f);
    return status;
}

int64_t lj_embeddings_abandon(struct lj_embeddings_file *f)
{
    if (!f)
        return 0;
    lj_result_resume(&f->file);
    close_columns(f);
    int64_t kept = lj_hdf5_driver_failure() == 0 ? f->synced : 0;
    if (kept > 0) {
        lj_result_leave(&f->file);
    } else {
        int removed = lj_result_finish(&f->file, false);
        (void)removed; /* what failed is the caller's to tell */
    }
    lj_written_close(&f->written, kept > 0);
    lj_free(f);
    return kept;
}

int lj_embeddings_write(const char *path, const struct lj_embeddings *embeddings,
                        const char *provenance)
{
    const struct lj_embeddings_layout layout = {.rows = embeddings->rows,
                                                .width = embeddings->width,
                                                .labels = embeddings->labels != NULL,
                                                .row = embeddings->row != NULL,
                                                .provenance = provenance};
    struct lj_embeddings_file *file;
    int status = lj_embeddings_create(&file, path, &layout, NULL);
    if (status == LJ_OK)
        status = lj_embeddings_put(file, 0, embeddings->rows, embeddings->values,
                                   embeddings->labels, embeddings->row);
    if (status == LJ_OK)
        return lj_embeddings_close(file);
    lj_embeddings_abandon(file);
    return status;
}
