/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and verifying checkpoints. Nothing is believed: the kind of file, the attributes
 * of /, each dataset's type, shape, size on disk and checksum are checked before a value
 * is handed out. */
#include "store/checkpoint/checkpoint.h"
#include "store/hdf5/hdf5.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* An open checkpoint whose attributes are verified. The HDF5 lock is held, but while checksums are
 * computed. */
struct reader {
    const char *path;
    hid_t file;
    struct lj_checkpoint_attributes attributes;
    char *config, *provenance; /* owned; what attributes point to */
};

/* A dataset found in the file. */
struct found {
    hid_t set;
    int dims;
    int64_t dim[LJ_DIMS_MAX];
    int64_t count;
};

/* ---- opening ----------------------------------------------------------------------------- */

/* Says what can be seen without HDF5, which would only say that it failed. */
static int check_file(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: %s; expected a checkpoint file", path,
                       strerror(errno));
    if (!S_ISREG(status.st_mode))
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: not a regular file; expected a checkpoint file",
                       path);
    if (status.st_size == 0)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: the file is empty; use another checkpoint", path);
    return LJ_OK;
}

static void reader_close(struct reader *reader)
{
    lj_hdf5_close(reader->file);
    lj_free(reader->config);
    lj_free(reader->provenance);
}

static int reader_open(struct reader *reader, const char *path)
{
    *reader = (struct reader){.path = path};
    LJ_TRY(check_file(path));
    reader->file = lj_hdf5_open(path);
    if (reader->file < 0)
        return lj_fail(
            LJ_ERR_CHECKPOINT,
            "%s: not a readable HDF5 file (truncated or damaged); use another checkpoint", path);
    int status = lj_checkpoint_get_attributes(reader->file, path, &reader->attributes,
                                              &reader->config, &reader->provenance);
    if (status != LJ_OK)
        reader_close(reader);
    return status;
}

/* ---- datasets ---------------------------------------------------------------------------- */

/* True for float32 values that lie in one piece, as many bytes on disk as the shape says. */
static bool inspect(struct found *found)
{
    hid_t type = H5Dget_type(found->set), space = H5Dget_space(found->set);
    hid_t plist = H5Dget_create_plist(found->set);
    hsize_t dim[LJ_DIMS_MAX];
    found->dims = H5Sget_simple_extent_ndims(space);
    bool good = H5Tequal(type, H5T_IEEE_F32LE) > 0 && found->dims >= 0 &&
                found->dims <= LJ_DIMS_MAX && H5Sget_simple_extent_dims(space, dim, NULL) >= 0 &&
                H5Pget_layout(plist) == H5D_CONTIGUOUS && H5Pget_external_count(plist) == 0;
    if (good) {
        for (int i = 0; i < found->dims; i++)
            found->dim[i] = (int64_t)dim[i];
        found->count = (int64_t)H5Sget_simple_extent_npoints(space);
        good = found->count >= 0 &&
               H5Dget_storage_size(found->set) / sizeof(float) == (hsize_t)found->count;
    }
    H5Pclose(plist);
    H5Sclose(space);
    H5Tclose(type);
    return good;
}

static int tensor_open(const struct reader *reader, const char *group, const char *name,
                       struct found *found)
{
    char path[LJ_NAME_MAX + 64];
    *found = (struct found){.set = -1};
    if (snprintf(path, sizeof path, "%s/%s", group, name) >= (int)sizeof path)
        return lj_checkpoint_damaged(reader->path, "a tensor's name in ", group);
    if (H5Lexists(reader->file, path, H5P_DEFAULT) > 0)
        found->set = H5Dopen2(reader->file, path, H5P_DEFAULT);
    if (found->set < 0)
        return lj_checkpoint_damaged(reader->path, "", path);
    if (inspect(found))
        return LJ_OK;
    H5Dclose(found->set);
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: %s is not a whole contiguous float32 dataset; use another checkpoint",
                   reader->path, path);
}

/* Reads all values and compares their checksum; closes the dataset. */
static int tensor_read_close(const struct reader *reader, const char *group, const char *name,
                             const struct found *found, float *values)
{
    uint64_t expected = 0;
    bool good = H5Dread(found->set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0 &&
                lj_hdf5_get_u64(found->set, "xxh3", &expected);
    H5Dclose(found->set);
    if (!good)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: %s/%s or its checksum is unreadable (truncated?); "
                       "use another checkpoint",
                       reader->path, group, name);
    lj_hdf5_end(); /* others may read meanwhile */
    lj_progress();
    uint64_t hash = XXH3_64bits(values, (size_t)found->count * sizeof(float));
    lj_hdf5_begin();
    if (hash == expected)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: %s/%s has checksum %016llx, expected %016llx; use another checkpoint",
                   reader->path, group, name, (unsigned long long)hash,
                   (unsigned long long)expected);
}

static void shape_text(char text[128], int dims, const int64_t *dim)
{
    int at = snprintf(text, 128, "(");
    for (int i = 0; i < dims; i++)
        at += snprintf(text + at, 128 - (size_t)at, i ? ", %lld" : "%lld", (long long)dim[i]);
    snprintf(text + at, 128 - (size_t)at, ")");
}

static int check_shape(const struct reader *reader, const char *group, const char *name,
                       const struct found *found, int dims, const int64_t *dim)
{
    if (found->dims == dims && memcmp(found->dim, dim, (size_t)dims * sizeof *dim) == 0)
        return LJ_OK;
    char has[128], wants[128];
    shape_text(has, found->dims, found->dim);
    shape_text(wants, dims, dim);
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: %s/%s has shape %s, expected %s; give the configuration that the "
                   "checkpoint was made with",
                   reader->path, group, name, has, wants);
}

/* Number of links in a group; -1 when it is not there. */
static int64_t group_links(const struct reader *reader, const char *group)
{
    H5G_info_t info;
    return H5Gget_info_by_name(reader->file, group, &info, H5P_DEFAULT) >= 0 ? (int64_t)info.nlinks
                                                                             : -1;
}

static bool group_name(const struct reader *reader, const char *group, int64_t index,
                       char name[LJ_NAME_MAX])
{
    ssize_t length = H5Lget_name_by_idx(reader->file, group, H5_INDEX_NAME, H5_ITER_INC,
                                        (hsize_t)index, name, LJ_NAME_MAX, H5P_DEFAULT);
    return length > 0 && length < LJ_NAME_MAX;
}

static int check_count(const struct reader *reader, const char *group)
{
    int64_t links = group_links(reader, group);
    if (links == reader->attributes.tensors)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: %s has %lld tensors, expected %lld; use another checkpoint", reader->path,
                   group, (long long)links, (long long)reader->attributes.tensors);
}

/* ---- pixels ------------------------------------------------------------------------------ */

/* Reads a dataset of /data, one value for each channel, into memory of its own, which is the
 * caller's. The first decides how many channels there are. */
static int read_channels(const struct reader *reader, const char *name,
                         struct lj_checkpoint_header *header, float **values)
{
    struct found found;
    LJ_TRY(tensor_open(reader, "/data", name, &found));
    *values = NULL;
    if (found.dims == 1 && found.count <= INT32_MAX &&
        (header->channels == 0 || found.count == header->channels))
        *values = lj_alloc_array(found.count, sizeof(float), "checkpoint pixel statistics");
    if (!*values) {
        H5Dclose(found.set);
        return lj_checkpoint_damaged(reader->path, "/data/", name);
    }
    header->channels = (int)found.count;
    return tensor_read_close(reader, "/data", name, &found, *values);
}

static int read_pixels(const struct reader *reader, struct lj_checkpoint_header *header)
{
    const struct {
        const char *path;
        float **values;
        bool optional;
    } wanted[] = {{"/data/mean", &header->mean, false},  {"/data/std", &header->std, false},
                  {"/data/least", &header->least, true}, {"/data/most", &header->most, true},
                  {"/data/low", &header->low, true},     {"/data/high", &header->high, true}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!wanted[i].optional || H5Lexists(reader->file, wanted[i].path, H5P_DEFAULT) > 0)
            LJ_TRY(
                read_channels(reader, wanted[i].path + strlen("/data/"), header, wanted[i].values));
    if (!header->least == !header->most && !header->low == !header->high)
        return LJ_OK;
    return lj_checkpoint_damaged(reader->path, "/data/", "least, most, low or high");
}

static void read_pixel_type(struct lj_checkpoint_header *header)
{
    json_t *object = json_loads(header->provenance, 0, NULL);
    const char *type = json_string_value(json_object_get(object, "pixels"));
    snprintf(header->pixels, sizeof header->pixels, "%s", type ? type : "");
    json_decref(object);
}

static int read_header(struct reader *reader, struct lj_checkpoint_header *header)
{
    LJ_TRY(read_pixels(reader, header));
    header->step = reader->attributes.step;
    header->seed = reader->attributes.seed;
    header->has_average = reader->attributes.average != 0;
    header->config = reader->config;
    header->provenance = reader->provenance;
    read_pixel_type(header);
    reader->config = reader->provenance = NULL;
    return LJ_OK;
}

int lj_checkpoint_read_header(const char *path, struct lj_checkpoint_header *header)
{
    struct reader reader;
    *header = (struct lj_checkpoint_header){0};
    LJ_TRY(reader_open(&reader, path));
    int status = read_header(&reader, header);
    reader_close(&reader);
    if (status != LJ_OK)
        lj_checkpoint_header_free(header);
    return status;
}

void lj_checkpoint_header_free(struct lj_checkpoint_header *header)
{
    lj_free(header->config);
    lj_free(header->provenance);
    lj_free(header->mean);
    lj_free(header->std);
    lj_free(header->least);
    lj_free(header->most);
    lj_free(header->low);
    lj_free(header->high);
    *header = (struct lj_checkpoint_header){0};
}

/* ---- whole arrays ------------------------------------------------------------------------ */

/* Does a name begin with prefix? NULL: no. */
static bool is_left(const char *left, const char *name)
{
    return left && strncmp(name, left, strlen(left)) == 0;
}

static bool wanted(const struct lj_params *params, const char *name)
{
    for (int i = 0; i < params->count; i++)
        if (strcmp(params->list[i].name, name) == 0)
            return true;
    return false;
}

/* Fails when the file has a tensor that the model does not have, and names it. */
static int name_surplus(const struct reader *reader, const struct lj_params *params,
                        const char *group, const char *left)
{
    char name[LJ_NAME_MAX];
    for (int64_t i = 0; i < group_links(reader, group); i++)
        if (group_name(reader, group, i, name) && !wanted(params, name) && !is_left(left, name))
            return lj_fail(LJ_ERR_CHECKPOINT,
                           "%s: tensor %s/%s is not in the model, which has %d tensors (the file "
                           "%lld); give the configuration that the checkpoint was made with",
                           reader->path, group, name, params->count,
                           (long long)reader->attributes.tensors);
    return check_count(reader, group);
}

/* left: prefix of tensors that are not read; NULL: all are. */
static int read_array(const struct reader *reader, const char *group,
                      const struct lj_params *params, const char *left, float *values)
{
    if (!values)
        return LJ_OK;
    for (int i = 0; i < params->count; i++) {
        const struct lj_param *param = &params->list[i];
        struct found found;
        if (is_left(left, param->name))
            continue;
        LJ_TRY(tensor_open(reader, group, param->name, &found));
        int status = check_shape(reader, group, param->name, &found, param->dims, param->dim);
        if (status != LJ_OK) {
            H5Dclose(found.set);
            return status;
        }
        LJ_TRY(tensor_read_close(reader, group, param->name, &found, values + param->offset));
    }
    return name_surplus(reader, params, group, left);
}

/* ---- the objective's arrays -------------------------------------------------------------- */

static const char of_objective[] = "/objective";

static int check_states(const struct reader *reader)
{
    if (group_links(reader, of_objective) == reader->attributes.objective)
        return LJ_OK;
    return lj_checkpoint_damaged(reader->path, "an array of ", of_objective);
}

static int read_state(const struct reader *reader, const struct lj_state_array *state)
{
    struct found found;
    LJ_TRY(tensor_open(reader, of_objective, state->name, &found));
    int status = check_shape(reader, of_objective, state->name, &found, 1, &state->count);
    if (status != LJ_OK) {
        H5Dclose(found.set);
        return status;
    }
    return tensor_read_close(reader, of_objective, state->name, &found, state->values);
}

static int read_states(const struct reader *reader, struct lj_checkpoint_arrays *arrays)
{
    if (arrays->states == 0)
        return LJ_OK;
    if (reader->attributes.objective != arrays->states)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: has %lld arrays of the objective, expected %d; give the configuration "
                       "that the checkpoint was made with",
                       reader->path, (long long)reader->attributes.objective, arrays->states);
    LJ_TRY(check_states(reader));
    for (int i = 0; i < arrays->states; i++)
        LJ_TRY(read_state(reader, &arrays->state[i]));
    return LJ_OK;
}

/* ---- all of them ------------------------------------------------------------------------- */

static int read_all(const struct reader *reader, const struct lj_params *params,
                    struct lj_checkpoint_arrays *arrays)
{
    if ((arrays->moment1 || arrays->moment2) && !reader->attributes.moments)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: holds no optimiser state, so training cannot resume from it; use a "
                       "checkpoint that `train` wrote",
                       reader->path);
    arrays->has_average = reader->attributes.average != 0;
    LJ_TRY(read_array(reader, "/weights", params, NULL, arrays->weights));
    LJ_TRY(read_array(reader, "/optim/moment1", params, NULL, arrays->moment1));
    LJ_TRY(read_array(reader, "/optim/moment2", params, NULL, arrays->moment2));
    if (arrays->has_average)
        LJ_TRY(read_array(reader, "/average", params, NULL, arrays->average));
    return read_states(reader, arrays);
}

int lj_checkpoint_read(const char *path, const struct lj_params *params,
                       struct lj_checkpoint_arrays *arrays)
{
    struct reader reader;
    LJ_TRY(reader_open(&reader, path));
    int status = read_all(&reader, params, arrays);
    reader_close(&reader);
    return status;
}

int lj_checkpoint_read_without(const char *path, const struct lj_params *params, const char *left,
                               float *weights)
{
    struct reader reader;
    LJ_TRY(reader_open(&reader, path));
    int status = read_array(&reader, "/weights", params, left, weights);
    reader_close(&reader);
    return status;
}

/* ---- verification ------------------------------------------------------------------------ */

/* Compares a tensor with its checksum and, for one of another group, with its weight's shape. */
static int verify_tensor(const struct reader *reader, const char *group, const char *name,
                         const struct found *weight, struct found *found)
{
    LJ_TRY(tensor_open(reader, group, name, found));
    int status = LJ_OK;
    if (weight)
        status = check_shape(reader, group, name, found, weight->dims, weight->dim);
    float *values = NULL;
    if (status == LJ_OK) {
        values = lj_alloc_array(found->count, sizeof(float), "checkpoint verification");
        status = values ? LJ_OK : LJ_ERR_RESOURCE;
    }
    if (status == LJ_OK)
        status = tensor_read_close(reader, group, name, found, values);
    else
        H5Dclose(found->set);
    lj_free(values);
    return status;
}

/* The groups beside /weights that have the same tensors; returns how many. */
static int groups_beside(const struct reader *reader, const char *group[3])
{
    int count = 0;
    if (reader->attributes.moments) {
        group[count++] = "/optim/moment1";
        group[count++] = "/optim/moment2";
    }
    if (reader->attributes.average)
        group[count++] = "/average";
    return count;
}

static int verify_name(const struct reader *reader, const char *name)
{
    struct found weight, beside;
    const char *group[3];
    int groups = groups_beside(reader, group);
    LJ_TRY(verify_tensor(reader, "/weights", name, NULL, &weight));
    for (int i = 0; i < groups; i++)
        LJ_TRY(verify_tensor(reader, group[i], name, &weight, &beside));
    return LJ_OK;
}

static int verify_states(const struct reader *reader)
{
    char name[LJ_NAME_MAX];
    struct found found;
    if (reader->attributes.objective == 0)
        return LJ_OK;
    LJ_TRY(check_states(reader));
    for (int64_t i = 0; i < reader->attributes.objective; i++) {
        if (!group_name(reader, of_objective, i, name))
            return lj_checkpoint_damaged(reader->path, "an array's name in ", of_objective);
        LJ_TRY(verify_tensor(reader, of_objective, name, NULL, &found));
    }
    return LJ_OK;
}

static int verify_all(struct reader *reader)
{
    struct lj_checkpoint_header pixels = {0};
    int status = read_pixels(reader, &pixels);
    lj_checkpoint_header_free(&pixels);
    LJ_TRY(status);
    LJ_TRY(check_count(reader, "/weights"));
    const char *group[3];
    int groups = groups_beside(reader, group);
    for (int i = 0; i < groups; i++)
        LJ_TRY(check_count(reader, group[i]));
    char name[LJ_NAME_MAX];
    for (int64_t i = 0; i < reader->attributes.tensors; i++) {
        if (!group_name(reader, "/weights", i, name))
            return lj_checkpoint_damaged(reader->path, "a tensor's name in ", "/weights");
        LJ_TRY(verify_name(reader, name));
    }
    return verify_states(reader);
}

int lj_checkpoint_verify(const char *path)
{
    struct reader reader;
    LJ_TRY(reader_open(&reader, path));
    int status = verify_all(&reader);
    reader_close(&reader);
    return status;
}
