/* SPDX-License-Identifier: Apache-2.0 */
/* Result files in HDF5, atomic and safe on a full disk as checkpoints are. */
#include "store/store.h"

#include "store/publish.h"
#include "store/hdf5/hdf5.h"

#include <string.h>
#include <unistd.h>

_Static_assert(sizeof(hid_t) <= sizeof(int64_t), "HDF5's handles fit");

static int write_failed(const char *path)
{
    int reason = lj_store_failure();
    return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s; free space or choose another path",
                   path, reason ? strerror(reason) : "HDF5 failed");
}

int lj_hdf5_create(struct lj_hdf5_file *file, const char *path)
{
    file->id = -1;
    if (strlen(path) >= sizeof file->path)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path too long; choose a shorter one", path);
    memcpy(file->path, path, strlen(path) + 1);
    LJ_TRY(lj_store_temporary(file->temporary, path));
    lj_store_begin();
    file->id = lj_store_create(file->temporary);
    if (file->id >= 0)
        return LJ_OK;
    int status = write_failed(path);
    lj_store_end();
    unlink(file->temporary);
    return status;
}

int lj_hdf5_pause(struct lj_hdf5_file *file, bool good)
{
    int status = good && lj_store_failure() == 0 ? LJ_OK : write_failed(file->path);
    lj_store_end();
    return status;
}

void lj_hdf5_resume(struct lj_hdf5_file *file)
{
    (void)file;
    lj_store_begin();
}

int lj_hdf5_finish(struct lj_hdf5_file *file, bool good)
{
    good = H5Fclose((hid_t)file->id) >= 0 && good && lj_store_failure() == 0;
    int status = good ? LJ_OK : write_failed(file->path);
    lj_store_end();
    if (status == LJ_OK)
        status = lj_store_publish(file->temporary, file->path, -1);
    if (status != LJ_OK)
        unlink(file->temporary);
    return status;
}

bool lj_hdf5_put_text(int64_t object, const char *name, const char *text)
{
    return lj_store_put_text((hid_t)object, name, text);
}
