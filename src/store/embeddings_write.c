/* SPDX-License-Identifier: Apache-2.0 */
/* Writing files of embeddings, in parts. The datasets have their places in the file from the start,
 * so that after the first flush only rows are written: whatever lies on disk then is a file that
 * HDF5 can open, and a note beside it says how many of its rows are there. */
#include "store/embeddings.h"
#include "store/hdf5/dataset.h"
#include "store/written.h"

#include <jansson.h>
#include <string.h>

enum { VALUES, LABELS, ROW, COLUMNS };

/* A dataset as it shall be. */
struct column {
    const char *name, *description;
    hid_t stored; /* type in the file */
    int dims;
    hsize_t dim[3];
};

struct lj_embeddings_file {
    struct lj_result file;
    struct lj_written written; /* its file -1: what a killed process leaves is of no use */
    int64_t views, width;      /* as in the layout */
    int64_t synced;            /* rows that are on disk, as far as written says */
    hid_t set[COLUMNS];        /* -1: absent */
};

/* ---- datasets ---------------------------------------------------------------------------- */

/* Column i of a layout. */
static struct column column_of(const struct lj_embeddings_layout *l, int i)
{
    hsize_t views = (hsize_t)l->views, rows = (hsize_t)l->rows, width = (hsize_t)l->width;
    if (i == LABELS)
        return (struct column){"labels", "class of each row", H5T_STD_I32LE, 1, {rows}};
    if (i == ROW)
        return (struct column){
            "row", "row of the archive that was embedded", H5T_STD_I64LE, 1, {rows}};
    if (l->views > 0)
        return (struct column){"projections",
                               "projections of the views of each row, dimensionless",
                               H5T_IEEE_F32LE,
                               3,
                               {views, rows, width}};
    return (struct column){
        "embeddings", "one embedding a row, dimensionless", H5T_IEEE_F32LE, 2, {rows, width}};
}

/* Makes a dataset without times: equal results are equal files. */
static hid_t make_column(hid_t file, const struct column *column)
{
    hid_t space = H5Screate_simple(column->dims, column->dim, NULL);
    hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    hid_t set = -1;
    if (H5Pset_obj_track_times(plan, false) >= 0 &&
        H5Pset_alloc_time(plan, H5D_ALLOC_TIME_EARLY) >= 0 &&
        H5Pset_fill_time(plan, H5D_FILL_TIME_NEVER) >= 0)
        set = H5Dcreate2(file, column->name, column->stored, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    if (set >= 0 && !lj_hdf5_put_text(set, "description", column->description)) {
        H5Dclose(set);
        set = -1;
    }
    H5Pclose(plan);
    H5Sclose(space);
    return set;
}

/* Does the layout have column i? */
static bool has_column(const struct lj_embeddings_layout *l, int i)
{
    return i == VALUES || (i == LABELS ? l->labels : l->row);
}

static bool make_columns(struct lj_embeddings_file *f, const struct lj_embeddings_layout *l)
{
    hid_t id = f->file.id;
    bool good = true;
    for (int i = 0; i < COLUMNS && good; i++) {
        const struct column column = column_of(l, i);
        if (has_column(l, i))
            good = (f->set[i] = make_column(id, &column)) >= 0;
    }
    if (good && l->views > 0)
        good = lj_hdf5_put_i64(f->set[VALUES], LJ_ARRAY_GLOBAL_VIEWS, l->global_views);
    return good && lj_hdf5_put_text(id, "creator", "lejepa_mpi") &&
           lj_hdf5_put_text(id, "description", "embeddings of the rows of an archive") &&
           lj_hdf5_put_text(id, "provenance", l->provenance) && lj_embeddings_put_source(id, l);
}

static bool put_column(hid_t set, hid_t memory, int64_t first, int64_t count, const void *values)
{
    const hsize_t start = (hsize_t)first, dim = (hsize_t)count;
    hid_t inside = H5Screate_simple(1, &dim, NULL), outside = H5Dget_space(set);
    bool good = H5Sselect_hyperslab(outside, H5S_SELECT_SET, &start, NULL, &dim, NULL) >= 0 &&
                H5Dwrite(set, memory, inside, outside, H5P_DEFAULT, values) >= 0;
    H5Sclose(outside);
    H5Sclose(inside);
    return good;
}

static bool put_values(const struct lj_embeddings_file *f, int64_t first, int64_t count,
                       const float *values)
{
    const struct lj_rows rows = {.first = first,
                                 .count = count,
                                 .views = lj_max_i64(f->views, 1),
                                 .width = f->width,
                                 .has_views = f->views > 0};
    float *taken = (float *)values; /* which is only read */
    return lj_rows_move(f->set[VALUES], H5T_NATIVE_FLOAT, &rows, true, taken);
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

/* Do the values lie in the file in one piece? Elsewhere is not where to go on writing, and values
 * without storage were never written, whatever number of rows is noted. */
static bool lies_in_file(hid_t set)
{
    hid_t plan = H5Dget_create_plist(set);
    bool here = H5Pget_layout(plan) == H5D_CONTIGUOUS && H5Pget_external_count(plan) == 0 &&
                H5Dget_storage_size(set) > 0;
    H5Pclose(plan);
    return here;
}

/* The name of a link that leads nowhere else. */
static bool has_link(hid_t file, const char *name)
{
    H5L_info_t info;
    return H5Lexists(file, name, H5P_DEFAULT) > 0 &&
           H5Lget_info(file, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
}

/* Opens a dataset of the expected type and shape; negative: there is none. */
static hid_t open_column(hid_t file, const struct column *column)
{
    hsize_t dim[3] = {0};
    if (!has_link(file, column->name))
        return -1;
    hid_t set = H5Dopen2(file, column->name, H5P_DEFAULT);
    if (set < 0)
        return -1;
    hid_t space = H5Dget_space(set), type = H5Dget_type(set);
    bool same = H5Tequal(type, column->stored) > 0 &&
                H5Sget_simple_extent_ndims(space) == column->dims &&
                H5Sget_simple_extent_dims(space, dim, NULL) == column->dims && lies_in_file(set);
    for (int i = 0; i < column->dims && same; i++)
        same = dim[i] == column->dim[i];
    H5Tclose(type);
    H5Sclose(space);
    if (!same)
        H5Dclose(set);
    return same ? set : -1;
}

static bool open_columns(struct lj_embeddings_file *f, const struct lj_embeddings_layout *l)
{
    bool good = true;
    for (int i = 0; i < COLUMNS; i++) {
        const struct column column = column_of(l, i);
        if (has_column(l, i))
            f->set[i] = open_column(f->file.id, &column);
        good = good && (has_column(l, i) ? f->set[i] >= 0
                                         : H5Lexists(f->file.id, column.name, H5P_DEFAULT) == 0);
    }
    return good;
}

static void close_columns(struct lj_embeddings_file *f)
{
    for (int i = 0; i < COLUMNS; i++) {
        if (f->set[i] >= 0)
            H5Dclose(f->set[i]);
        f->set[i] = -1;
    }
}

/* Does the open file say that its rows come from the same parts? */
static bool same_source(hid_t file, const struct lj_embeddings_layout *l)
{
    struct lj_embeddings left = {0};
    bool same =
        lj_embeddings_get_source(file, "", &left.source) == LJ_OK && left.source.parts == l->parts;
    for (int64_t i = 0; same && i < l->parts; i++)
        same = left.source.first_row[i] == l->part[i].first_row &&
               left.source.rows[i] == l->part[i].rows &&
               left.source.fingerprints[i] == l->part[i].fingerprint;
    lj_embeddings_free(&left);
    return same;
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
    if (!why && !same_source(f->file.id, l)) {
        close_columns(f);
        return "archive";
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
    *f = (struct lj_embeddings_file){.file.id = -1,
                                     .written.file = -1,
                                     .views = layout->views,
                                     .width = layout->width,
                                     .set = {-1, -1, -1}};
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
    bool good = put_values(f, first, count, values);
    if (f->set[LABELS] >= 0)
        good = good && put_column(f->set[LABELS], H5T_NATIVE_INT32, first, count, labels);
    if (f->set[ROW] >= 0)
        good = good && put_column(f->set[ROW], H5T_NATIVE_INT64, first, count, row);
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
