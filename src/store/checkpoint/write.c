/* SPDX-License-Identifier: Apache-2.0 */
/* Writing checkpoints. The layout is described in store.h; every dataset is contiguous float32 with
 * the XXH3-64 of its bytes beside it, so a bit that flips later is seen. A failure at any point
 * (disk full, I/O error) removes the temporary file and leaves older checkpoints alone.
 *
 * A run trains on meanwhile, and its loader needs the HDF5 lock, too: values are written in small
 * pieces, between which the lock is free, and checksummed and sent to disk without it. */
#include "store/checkpoint/checkpoint.h"
#include "store/hdf5/hdf5.h"
#include "store/publish.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "floats in memory are floats in the file");

/* Values written under one lock: about a millisecond's work, and enough that the call costs nothing
 * beside it. */
enum { PIECE_FLOATS = 1 << 18 };

/* Bytes after which the disk is waited for. A single sync of the whole at the end could take longer
 * than the watchdog waits, and would flood the disk that the loader reads from. */
static const int64_t sync_bytes = (int64_t)64 << 20;

/* A file being written. */
struct output {
    hid_t file;
    const char *path;
    int64_t step;
    int64_t unsynced; /* bytes */
    int status;       /* of the syncs so far; the text of a failure is in the error record */
};

/* One dataset and what is said about it. */
struct tensor {
    const char *name;
    int dims;
    const int64_t *dim;
    int64_t count;
    const float *values;
    const char *role, *description;
};

static hid_t create_space(const struct tensor *tensor)
{
    hsize_t dim[LJ_DIMS_MAX];
    for (int i = 0; i < tensor->dims; i++)
        dim[i] = (hsize_t)tensor->dim[i];
    return tensor->dims == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(tensor->dims, dim, NULL);
}

/* Between two calls of HDF5: others may have the lock, and what was written goes to disk. */
static bool pause_writing(struct output *out, int64_t written)
{
    lj_hdf5_end();
    lj_progress();
    out->unsynced += written;
    if (out->unsynced >= sync_bytes && out->status == LJ_OK && lj_hdf5_driver_failure() == 0) {
        out->unsynced = 0;
        out->status = lj_store_sync(out->path);
    }
    lj_hdf5_begin();
    return out->status == LJ_OK && lj_hdf5_driver_failure() == 0;
}

/* How a dataset is cut into pieces that lie together in memory and in the file: `rows` indices of
 * dimension `axis` at most, one of each dimension before it, all of those behind it. */
struct cut {
    int axis;
    int64_t rows;
    int64_t row;   /* floats of one index */
    int64_t outer; /* combinations of the indices before */
};

static struct cut cut_up(const struct tensor *tensor)
{
    struct cut cut = {.axis = tensor->dims - 1, .row = 1, .outer = 1};
    while (cut.axis > 0 && cut.row * tensor->dim[cut.axis] <= PIECE_FLOATS)
        cut.row *= tensor->dim[cut.axis--];
    cut.rows = lj_max_i64(1, PIECE_FLOATS / cut.row);
    for (int i = 0; i < cut.axis; i++)
        cut.outer *= tensor->dim[i];
    return cut;
}

/* Writes `rows` rows from row `first` on of the dimensions' combination `outer`. */
static bool put_piece(hid_t set, hid_t space, const struct tensor *tensor, const struct cut *cut,
                      int64_t outer, int64_t first, int64_t rows)
{
    hsize_t start[LJ_DIMS_MAX] = {0}, count[LJ_DIMS_MAX], floats = (hsize_t)(rows * cut->row);
    for (int i = 0; i < tensor->dims; i++)
        count[i] = i < cut->axis ? 1 : (hsize_t)tensor->dim[i];
    count[cut->axis] = (hsize_t)rows;
    start[cut->axis] = (hsize_t)first;
    for (int64_t i = cut->axis - 1, left = outer; i >= 0; left /= tensor->dim[i--])
        start[i] = (hsize_t)(left % tensor->dim[i]);
    hid_t memory = H5Screate_simple(1, &floats, NULL);
    const float *values = tensor->values + (outer * tensor->dim[cut->axis] + first) * cut->row;
    bool good = H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0 &&
                H5Dwrite(set, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, values) >= 0;
    H5Sclose(memory);
    return good;
}

static bool put_values(struct output *out, hid_t set, hid_t space, const struct tensor *tensor)
{
    if (tensor->count <= PIECE_FLOATS)
        return H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor->values) >= 0;
    const struct cut cut = cut_up(tensor);
    bool good = true;
    for (int64_t outer = 0; outer < cut.outer && good; outer++)
        for (int64_t row = 0; row < tensor->dim[cut.axis] && good; row += cut.rows) {
            int64_t rows = lj_min_i64(cut.rows, tensor->dim[cut.axis] - row);
            good = put_piece(set, space, tensor, &cut, outer, row, rows) &&
                   pause_writing(out, rows * cut.row * (int64_t)sizeof(float));
        }
    return good;
}

static uint64_t checksum(const struct tensor *tensor)
{
    lj_hdf5_end();
    uint64_t hash = XXH3_64bits(tensor->values, (size_t)tensor->count * sizeof(float));
    lj_hdf5_begin();
    return hash;
}

static bool put_tensor(struct output *out, hid_t group, const struct tensor *tensor)
{
    uint64_t hash = checksum(tensor);
    hid_t space = create_space(tensor);
    hid_t set = H5Dcreate2(group, tensor->name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT,
                           H5P_DEFAULT);
    bool good = set >= 0 && put_values(out, set, space, tensor) &&
                lj_hdf5_put_u64(set, "xxh3", hash) && lj_hdf5_put_text(set, "role", tensor->role) &&
                lj_hdf5_put_text(set, "description", tensor->description);
    good = (set < 0 || H5Dclose(set) >= 0) && good;
    H5Sclose(space);
    return pause_writing(out, 0) && good;
}

/* Creates a group with its description and unit; negative on failure. */
static hid_t put_group(hid_t file, const char *path, const char *description, const char *units)
{
    hid_t group = H5Gcreate2(file, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (group >= 0 && lj_hdf5_put_text(group, "description", description) &&
        lj_hdf5_put_text(group, "units", units))
        return group;
    H5Gclose(group);
    return -1;
}

/* Writes an array laid out like the parameters, as a group of datasets. */
static bool put_array(struct output *out, const char *path, const char *description,
                      const struct lj_params *params, const float *values)
{
    lj_hdf5_end();
    lj_fault_slow("checkpoint-array", out->step);
    lj_hdf5_begin();
    hid_t group = put_group(out->file, path, description, "1");
    bool good = group >= 0;
    for (int i = 0; i < params->count && good; i++) {
        const struct lj_param *param = &params->list[i];
        bool statistic = param->role == LJ_ROLE_STATISTIC;
        struct tensor tensor = {
            .name = param->name,
            .dims = param->dims,
            .dim = param->dim,
            .count = param->count,
            .values = values + param->offset,
            .role = statistic ? "statistic" : "weight",
            .description = statistic ? "running statistic" : "trained parameter",
        };
        good = put_tensor(out, group, &tensor);
    }
    return (group < 0 || H5Gclose(group) >= 0) && good;
}

static bool put_pixels(struct output *out, const struct lj_checkpoint *checkpoint)
{
    const int64_t channels = checkpoint->channels;
    const struct {
        const char *name, *description;
        const float *values; /* NULL: not known, left out */
    } statistics[] = {
        {"mean", "mean of each channel", checkpoint->mean},
        {"std", "standard deviation of each channel", checkpoint->std},
        {"least", "least value of each channel", checkpoint->least},
        {"most", "largest value of each channel", checkpoint->most},
        {"low", "value before the stretch that becomes 0", checkpoint->low},
        {"high", "value before the stretch that becomes 1, or asinh(1)", checkpoint->high}};
    hid_t group = put_group(out->file, "/data", "pixels of the archive, after data.stretch",
                            "as read from the archive, divided by data.full_scale");
    bool good = group >= 0;
    for (size_t i = 0; i < sizeof statistics / sizeof *statistics && good; i++) {
        struct tensor tensor = {.name = statistics[i].name,
                                .dims = 1,
                                .dim = &channels,
                                .count = channels,
                                .values = statistics[i].values,
                                .role = "statistic",
                                .description = statistics[i].description};
        good = !tensor.values || put_tensor(out, group, &tensor);
    }
    return (group < 0 || H5Gclose(group) >= 0) && good;
}

static bool put_state(struct output *out, const struct lj_checkpoint *checkpoint)
{
    if (checkpoint->states == 0)
        return true;
    hid_t group = put_group(out->file, "/objective", "what the objective carries on", "1");
    bool good = group >= 0;
    for (int i = 0; i < checkpoint->states && good; i++) {
        const struct lj_state_array *state = &checkpoint->state[i];
        struct tensor tensor = {.name = state->name,
                                .dims = 1,
                                .dim = &state->count,
                                .count = state->count,
                                .values = state->values,
                                .role = "statistic",
                                .description = state->description};
        good = put_tensor(out, group, &tensor);
    }
    return (group < 0 || H5Gclose(group) >= 0) && good;
}

static bool put_attributes(hid_t file, const struct lj_checkpoint *checkpoint)
{
    const struct lj_checkpoint_attributes attributes = {.step = checkpoint->step,
                                                        .seed = checkpoint->seed,
                                                        .tensors = checkpoint->params->count,
                                                        .moments = checkpoint->moment1 != NULL,
                                                        .average = checkpoint->average != NULL,
                                                        .objective = checkpoint->states,
                                                        .config = checkpoint->config,
                                                        .provenance = checkpoint->provenance};
    return lj_checkpoint_put_attributes(file, &attributes);
}

static bool put_optimiser(struct output *out, const struct lj_checkpoint *checkpoint)
{
    if (!checkpoint->moment1)
        return true;
    hid_t group = put_group(out->file, "/optim", "state of AdamW", "1");
    bool good = group >= 0 &&
                put_array(out, "/optim/moment1", "running mean of the gradient", checkpoint->params,
                          checkpoint->moment1) &&
                put_array(out, "/optim/moment2", "running mean of the squared gradient",
                          checkpoint->params, checkpoint->moment2);
    return (group < 0 || H5Gclose(group) >= 0) && good;
}

static bool put_average(struct output *out, const struct lj_checkpoint *checkpoint)
{
    return !checkpoint->average ||
           put_array(out, "/average", "running average of the weights, by timm's names",
                     checkpoint->params, checkpoint->average);
}

/* Fills the open file and closes it. Failures of the disk are the driver's to tell afterwards. */
static bool fill_and_close(struct output *out, const struct lj_checkpoint *checkpoint)
{
    bool good = put_attributes(out->file, checkpoint) &&
                put_array(out, "/weights", "parameters of encoder and projector, by timm's names",
                          checkpoint->params, checkpoint->weights) &&
                put_optimiser(out, checkpoint) && put_average(out, checkpoint) &&
                put_state(out, checkpoint) && put_pixels(out, checkpoint);
    return H5Fclose(out->file) >= 0 && good;
}

static int write_file(const char *path, const struct lj_checkpoint *checkpoint)
{
    struct output out = {.path = path, .step = checkpoint->step, .status = LJ_OK};
    LJ_TRY(lj_fault("checkpoint-write", checkpoint->step));
    lj_hdf5_begin();
    out.file = lj_hdf5_driver_create(path);
    bool good = out.file >= 0 && fill_and_close(&out, checkpoint);
    int reason = lj_hdf5_driver_failure();
    lj_hdf5_end();
    if (good && !reason)
        return LJ_OK;
    if (out.status != LJ_OK)
        return out.status;
    return lj_fail(
        LJ_ERR_RESOURCE,
        "%s: the checkpoint of step %lld cannot be written: %s; free space or set run.dir "
        "to another disk",
        path, (long long)checkpoint->step, reason ? strerror(reason) : "HDF5 failed");
}

int lj_checkpoint_write(const char *dir, const struct lj_checkpoint *checkpoint, int keep)
{
    char path[LJ_PATH_MAX], temporary[LJ_PATH_MAX];
    LJ_TRY(lj_checkpoint_path(dir, checkpoint->step, path));
    LJ_TRY(lj_store_temporary(temporary, path));
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return lj_fail(LJ_ERR_RESOURCE, "%s: directory of checkpoints cannot be made: %s", dir,
                       strerror(errno));
    int status = write_file(temporary, checkpoint);
    if (status == LJ_OK)
        status = lj_store_publish(temporary, path, checkpoint->step);
    if (status != LJ_OK) {
        unlink(temporary);
        return status;
    }
    lj_checkpoint_rotate(dir, checkpoint->step, keep);
    return LJ_OK;
}
