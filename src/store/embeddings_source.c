/* SPDX-License-Identifier: Apache-2.0 */
/* The group /parts of a file of embeddings: which dataset of which file a row of the archive is
 * in. */
#include "store/embeddings.h"

#include "store/hdf5/dataset.h"

#include <jansson.h>
#include <stddef.h>
#include <string.h>

/* ---- writing ----------------------------------------------------------------------------- */

static bool put_column(hid_t group, const char *name, const char *description, hid_t stored,
                       hid_t memory, int64_t count, const void *values)
{
    const hsize_t dim = (hsize_t)count;
    hid_t space = H5Screate_simple(1, &dim, NULL), plan = H5Pcreate(H5P_DATASET_CREATE);
    hid_t set = -1;
    if (H5Pset_obj_track_times(plan, false) >= 0)
        set = H5Dcreate2(group, name, stored, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    bool good = set >= 0 && lj_hdf5_put_text(set, "description", description) &&
                H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    if (set >= 0)
        H5Dclose(set);
    H5Pclose(plan);
    H5Sclose(space);
    return good;
}

/* Texts of one length, that of the longest. */
static bool put_texts(hid_t group, const char *name, const char *description,
                      const struct lj_embeddings_layout *l, size_t member)
{
    size_t length = 1;
    for (int64_t i = 0; i < l->parts; i++) {
        const char *text = *(const char *const *)((const char *)&l->part[i] + member);
        length = strlen(text) + 1 > length ? strlen(text) + 1 : length;
    }
    char *texts = lj_alloc_array(l->parts, length, "embeddings");
    if (!texts)
        return false;
    for (int64_t i = 0; i < l->parts; i++) {
        const char *text = *(const char *const *)((const char *)&l->part[i] + member);
        memcpy(texts + (size_t)i * length, text, strlen(text) + 1);
    }
    hid_t type = H5Tcopy(H5T_C_S1);
    bool good = H5Tset_cset(type, H5T_CSET_UTF8) >= 0 && H5Tset_size(type, length) >= 0 &&
                put_column(group, name, description, type, type, l->parts, texts);
    H5Tclose(type);
    lj_free(texts);
    return good;
}

static bool put_numbers(hid_t group, const struct lj_embeddings_layout *l, int64_t *numbers)
{
    for (int64_t i = 0; i < l->parts; i++)
        numbers[i] = l->part[i].first_row;
    bool good = put_column(group, "first_row", "row of the archive that each part begins with",
                           H5T_STD_I64LE, H5T_NATIVE_INT64, l->parts, numbers);
    for (int64_t i = 0; i < l->parts; i++)
        numbers[i] = l->part[i].rows;
    good = good && put_column(group, "rows", "images of each part", H5T_STD_I64LE, H5T_NATIVE_INT64,
                              l->parts, numbers);
    for (int64_t i = 0; i < l->parts; i++)
        memcpy(&numbers[i], &l->part[i].fingerprint, sizeof *numbers);
    return good && put_column(group, "fingerprint",
                              "of basename and size of the file, name, shape and type",
                              H5T_STD_U64LE, H5T_NATIVE_UINT64, l->parts, numbers);
}

/* A group without times: equal results are equal files. */
static hid_t make_group(hid_t file, const char *name)
{
    hid_t plan = H5Pcreate(H5P_GROUP_CREATE), group = -1;
    if (H5Pset_obj_track_times(plan, false) >= 0)
        group = H5Gcreate2(file, name, H5P_DEFAULT, plan, H5P_DEFAULT);
    H5Pclose(plan);
    return group;
}

bool lj_embeddings_put_source(hid_t file, const struct lj_embeddings_layout *layout)
{
    if (layout->parts == 0)
        return true;
    int64_t *numbers = lj_alloc_array(layout->parts, sizeof *numbers, "embeddings");
    hid_t group = make_group(file, "parts");
    bool good =
        numbers && group >= 0 &&
        lj_hdf5_put_text(group, "description", "datasets of the archive, in the order of rows") &&
        put_numbers(group, layout, numbers) &&
        put_texts(group, "file", "path of each part's file", layout,
                  offsetof(struct lj_embeddings_part, file)) &&
        put_texts(group, "dataset", "name of each part in its file", layout,
                  offsetof(struct lj_embeddings_part, dataset));
    if (group >= 0)
        H5Gclose(group);
    lj_free(numbers);
    return good;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* Reads a dataset of integers of 64 bits; parts -1: of any length. */
static int get_numbers(struct lj_dataset *numbers, hid_t file, const char *path, const char *name,
                       int64_t parts, bool is_signed)
{
    struct lj_dataset_request request = {.name = name,
                                         .integers = true,
                                         .rows = parts,
                                         .memory = is_signed ? H5T_NATIVE_INT64 : H5T_NATIVE_UINT64,
                                         .size = sizeof(int64_t)};
    return lj_dataset_read(numbers, file, path, &request);
}

static int check_parts(const struct lj_embeddings_source *source, const char *path)
{
    int64_t next = 0;
    for (int64_t i = 0; i < source->parts; i++) {
        if (source->first_row[i] != next || source->rows[i] < 0 ||
            !lj_add_sizes(next, source->rows[i], &next))
            return lj_fail(LJ_ERR_DATA,
                           "%s: part %lld begins at row %lld, expected %lld; the file is damaged, "
                           "embed again",
                           path, (long long)i, (long long)source->first_row[i], (long long)next);
    }
    return LJ_OK;
}

static int get_parts(hid_t file, const char *path, struct lj_embeddings_source *source)
{
    struct lj_dataset numbers;
    if (H5Lexists(file, "parts", H5P_DEFAULT) <= 0)
        return LJ_OK;
    LJ_TRY(get_numbers(&numbers, file, path, "parts/first_row", -1, true));
    source->first_row = numbers.values;
    source->parts = numbers.count;
    LJ_TRY(get_numbers(&numbers, file, path, "parts/rows", source->parts, true));
    source->rows = numbers.values;
    LJ_TRY(get_numbers(&numbers, file, path, "parts/fingerprint", source->parts, false));
    source->fingerprints = numbers.values;
    return check_parts(source, path);
}

/* A copy of a member of an object; NULL: there is none. */
static char *copy_of(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    char *copy = text ? lj_alloc(strlen(text) + 1, "embeddings") : NULL;
    if (copy)
        memcpy(copy, text, strlen(text) + 1);
    return copy;
}

int lj_embeddings_get_source(hid_t file, const char *path, struct lj_embeddings_source *source)
{
    char *text = NULL;
    *source = (struct lj_embeddings_source){.layers = 1};
    if (lj_hdf5_get_text(file, "provenance", &text)) {
        json_t *object = json_loads(text, 0, NULL); /* older files have the checkpoint's name */
        source->archive = copy_of(object, "archive");
        source->fingerprint = copy_of(object, "archive_fingerprint");
        const char *features = json_string_value(json_object_get(object, "features"));
        source->weights = copy_of(object, "weights");
        if (features && strcmp(features, "pixels") != 0)
            source->weights_hash = copy_of(object, "weights_xxh3");
        if (json_is_integer(json_object_get(object, "layers")))
            source->layers = json_integer_value(json_object_get(object, "layers"));
        json_decref(object);
        lj_free(text);
    }
    return get_parts(file, path, source);
}
