/* SPDX-License-Identifier: Apache-2.0 */
/* Writing checkpoints. The layout is described in store.h; every dataset is contiguous float32 with
 * the XXH3-64 of its bytes beside it, so a bit that flips later is seen. A failure at any point
 * (disk full, I/O error) removes the temporary file and leaves older checkpoints alone. */
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

static bool put_tensor(hid_t group, const struct tensor *tensor)
{
    hid_t space = create_space(tensor);
    lj_progress();
    hid_t set = H5Dcreate2(group, tensor->name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT,
                           H5P_DEFAULT);
    bool good =
        set >= 0 &&
        H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor->values) >= 0 &&
        lj_hdf5_put_u64(set, "xxh3",
                        XXH3_64bits(tensor->values, (size_t)tensor->count * sizeof(float))) &&
        lj_hdf5_put_text(set, "role", tensor->role) &&
        lj_hdf5_put_text(set, "description", tensor->description);
    good = (set < 0 || H5Dclose(set) >= 0) && good;
    H5Sclose(space);
    return good;
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
static bool put_array(hid_t file, const char *path, const char *description,
                      const struct lj_params *params, const float *values)
{
    hid_t group = put_group(file, path, description, "1");
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
        good = put_tensor(group, &tensor) && lj_hdf5_driver_failure() == 0;
    }
    return (group < 0 || H5Gclose(group) >= 0) && good;
}

static bool put_pixels(hid_t file, const struct lj_checkpoint *checkpoint)
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
    hid_t group = put_group(file, "/data", "pixels of the archive, after data.stretch",
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
        good = !tensor.values || put_tensor(group, &tensor);
    }
    return (group < 0 || H5Gclose(group) >= 0) && good;
}

static bool put_attributes(hid_t file, const struct lj_checkpoint *checkpoint)
{
    const struct lj_checkpoint_attributes attributes = {.step = checkpoint->step,
                                                        .seed = checkpoint->seed,
                                                        .tensors = checkpoint->params->count,
                                                        .moments = checkpoint->moment1 != NULL,
                                                        .config = checkpoint->config,
                                                        .provenance = checkpoint->provenance};
    return lj_checkpoint_put_attributes(file, &attributes);
}

static bool put_optimiser(hid_t file, const struct lj_checkpoint *checkpoint)
{
    if (!checkpoint->moment1)
        return true;
    hid_t group = put_group(file, "/optim", "state of AdamW", "1");
    bool good = group >= 0 &&
                put_array(file, "/optim/moment1", "running mean of the gradient",
                          checkpoint->params, checkpoint->moment1) &&
                put_array(file, "/optim/moment2", "running mean of the squared gradient",
                          checkpoint->params, checkpoint->moment2);
    return (group < 0 || H5Gclose(group) >= 0) && good;
}

/* Fills the open file and closes it. Failures of the disk are the driver's to tell afterwards. */
static bool fill_and_close(hid_t file, const struct lj_checkpoint *checkpoint)
{
    bool good = put_attributes(file, checkpoint) &&
                put_array(file, "/weights", "parameters of encoder and projector, by timm's names",
                          checkpoint->params, checkpoint->weights) &&
                put_optimiser(file, checkpoint) && put_pixels(file, checkpoint);
    return H5Fclose(file) >= 0 && good;
}

static int write_file(const char *path, const struct lj_checkpoint *checkpoint)
{
    LJ_TRY(lj_fault("checkpoint-write", checkpoint->step));
    lj_hdf5_begin();
    hid_t file = lj_hdf5_driver_create(path);
    bool good = file >= 0 && fill_and_close(file, checkpoint);
    int reason = lj_hdf5_driver_failure();
    lj_hdf5_end();
    if (good && !reason)
        return LJ_OK;
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
