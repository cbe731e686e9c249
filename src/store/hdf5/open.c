/* SPDX-License-Identifier: Apache-2.0 */
/* HDF5's lock, and files opened for reading. Archives are opened by data/archive, which knows
 * nothing of store. */
#include "store/hdf5/hdf5.h"

void lj_hdf5_begin(void)
{
    lj_hdf5_lock();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void lj_hdf5_end(void)
{
    lj_hdf5_unlock();
}

hid_t lj_hdf5_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
        H5Pset_file_locking(access, false, true) >= 0)
        return access;
    H5Pclose(access);
    return -1;
}

hid_t lj_hdf5_open(const char *path)
{
    lj_hdf5_begin();
    hid_t access = lj_hdf5_access();
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    if (file < 0)
        lj_hdf5_end();
    return file;
}

void lj_hdf5_close(hid_t file)
{
    H5Fclose(file);
    lj_hdf5_end();
}
