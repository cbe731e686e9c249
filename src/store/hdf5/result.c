/* SPDX-License-Identifier: Apache-2.0 */
/* Result files in HDF5: they appear whole or not at all, also on a full disk. */
#include "store/hdf5/hdf5.h"
#include "store/publish.h"

#include <string.h>
#include <unistd.h>

static int write_failed(const char *path)
{
    int reason = lj_hdf5_driver_failure();
    return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s; free space or choose another path",
                   path, reason ? strerror(reason) : "HDF5 failed");
}

static int name_file(struct lj_result *file, const char *path)
{
    file->id = -1;
    if (strlen(path) >= sizeof file->path)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path too long; choose a shorter one", path);
    memcpy(file->path, path, strlen(path) + 1);
    return lj_store_temporary(file->temporary, path);
}

int lj_result_create(struct lj_result *file, const char *path)
{
    LJ_TRY(name_file(file, path));
    lj_hdf5_begin();
    file->id = lj_hdf5_driver_create(file->temporary);
    if (file->id >= 0)
        return LJ_OK;
    int status = write_failed(path);
    lj_hdf5_end();
    unlink(file->temporary);
    return status;
}

bool lj_result_open_left(struct lj_result *file, const char *path)
{
    if (name_file(file, path) != LJ_OK || access(file->temporary, F_OK) != 0)
        return false;
    lj_hdf5_begin();
    file->id = lj_hdf5_driver_open(file->temporary);
    if (file->id < 0)
        lj_hdf5_end();
    return file->id >= 0;
}

int lj_result_pause(struct lj_result *file, bool good)
{
    int status = good && lj_hdf5_driver_failure() == 0 ? LJ_OK : write_failed(file->path);
    lj_hdf5_end();
    return status;
}

void lj_result_resume(struct lj_result *file)
{
    (void)file;
    lj_hdf5_begin();
}

int lj_result_sync(struct lj_result *file)
{
    lj_hdf5_begin();
    LJ_TRY(lj_result_pause(file, H5Fflush(file->id, H5F_SCOPE_LOCAL) >= 0));
    return lj_store_sync(file->temporary);
}

void lj_result_leave(struct lj_result *file)
{
    H5Fclose(file->id);
    lj_hdf5_end();
}

int lj_result_finish(struct lj_result *file, bool good)
{
    good = H5Fclose(file->id) >= 0 && good && lj_hdf5_driver_failure() == 0;
    int status = good ? LJ_OK : write_failed(file->path);
    lj_hdf5_end();
    if (status == LJ_OK)
        status = lj_store_publish(file->temporary, file->path, -1);
    if (status != LJ_OK)
        unlink(file->temporary);
    return status;
}
