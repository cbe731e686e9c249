/* SPDX-License-Identifier: Apache-2.0 */
/* The file driver that HDF5 writes our files through. HDF5 1.10 cannot give up a file whose device
 * refuses writes (disk full, quota, I/O error): H5Fclose fails, the file stays half open, and the
 * library crashes when the process ends. This driver remembers the first failure and from then on
 * swallows what HDF5 writes, so that HDF5 always closes cleanly and the caller sees errno. HDF5
 * 1.14 gives such files up, but its own driver keeps errno to itself, and "No space left on device"
 * is what a user must read: the driver serves every version.
 * One file at a time, under the HDF5 lock. */
#include "store/hdf5/hdf5.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct driver_file {
    H5FD_t base; /* first, as HDF5 wants */
    int descriptor;
    haddr_t eoa, eof; /* end of the allocated space, of the file */
};

static int failure; /* errno of the first failure of the file being written */

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t maxaddr)
{
    (void)access, (void)maxaddr;
    int create = flags & H5F_ACC_TRUNC ? O_CREAT | O_TRUNC : 0;
    failure = 0;
    struct driver_file *file = lj_alloc(sizeof *file, "HDF5 driver");
    if (!file) {
        failure = ENOMEM;
        return NULL;
    }
    struct stat info = {0};
    file->descriptor = open(name, O_RDWR | O_CLOEXEC | create, 0666);
    if (file->descriptor >= 0 && fstat(file->descriptor, &info) == 0) {
        file->eof = (haddr_t)info.st_size;
        return &file->base;
    }
    failure = errno;
    if (file->descriptor >= 0)
        close(file->descriptor);
    lj_free(file);
    return NULL;
}

static herr_t driver_close(H5FD_t *base)
{
    struct driver_file *file = (struct driver_file *)base;
    if (close(file->descriptor) != 0 && !failure)
        failure = errno;
    lj_free(file);
    return 0;
}

static herr_t driver_query(const H5FD_t *base, unsigned long *flags)
{
    (void)base;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t driver_get_eoa(const H5FD_t *base, H5FD_mem_t type)
{
    (void)type;
    return ((const struct driver_file *)base)->eoa;
}

static herr_t driver_set_eoa(H5FD_t *base, H5FD_mem_t type, haddr_t address)
{
    (void)type;
    ((struct driver_file *)base)->eoa = address;
    return 0;
}

static haddr_t driver_get_eof(const H5FD_t *base, H5FD_mem_t type)
{
    (void)type;
    return ((const struct driver_file *)base)->eof;
}

/* What lies beyond the end reads as zero, as in HDF5's own drivers. */
static herr_t driver_read(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t address,
                          size_t size, void *buffer)
{
    (void)type, (void)transfer;
    const struct driver_file *file = (const struct driver_file *)base;
    memset(buffer, 0, size);
    for (size_t done = 0; done < size && !failure;) {
        ssize_t got =
            pread(file->descriptor, (char *)buffer + done, size - done, (off_t)(address + done));
        if (got < 0 && errno != EINTR)
            failure = errno;
        if (got == 0)
            break;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static herr_t driver_write(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t address,
                           size_t size, const void *buffer)
{
    (void)type, (void)transfer;
    struct driver_file *file = (struct driver_file *)base;
    for (size_t done = 0; done < size && !failure;) {
        ssize_t put = pwrite(file->descriptor, (const char *)buffer + done, size - done,
                             (off_t)(address + done));
        if (put == 0 || (put < 0 && errno != EINTR))
            failure = put == 0 ? ENOSPC : errno;
        done += put > 0 ? (size_t)put : 0;
    }
    if (address + size > file->eof)
        file->eof = address + size;
    return 0;
}

static herr_t driver_truncate(H5FD_t *base, hid_t transfer, hbool_t closing)
{
    (void)transfer, (void)closing;
    struct driver_file *file = (struct driver_file *)base;
    if (!failure && ftruncate(file->descriptor, (off_t)file->eoa) != 0)
        failure = errno;
    file->eof = file->eoa;
    return 0;
}

static const H5FD_class_t driver = {
#if H5_VERSION_GE(1, 14, 0)
    .version = H5FD_CLASS_VERSION,
    .value = H5_VFD_RESERVED, /* the first number that is free for drivers outside HDF5 */
#endif
    .name = "lejepa_store",
    .maxaddr = ((haddr_t)1 << 62) - 1,
    .fc_degree = H5F_CLOSE_STRONG,
    .open = driver_open,
    .close = driver_close,
    .query = driver_query,
    .get_eoa = driver_get_eoa,
    .set_eoa = driver_set_eoa,
    .get_eof = driver_get_eof,
    .read = driver_read,
    .write = driver_write,
    .truncate = driver_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

/* Metadata stay in the cache until the end, since after a failure they could not be read back. A
 * checkpoint has about a kilobyte of them for each tensor. */
static bool keep_metadata(hid_t access)
{
    H5AC_cache_config_t cache = {.version = H5AC__CURR_CACHE_CONFIG_VERSION};
    if (H5Pget_mdc_config(access, &cache) < 0)
        return false;
    cache.evictions_enabled = false;
    cache.incr_mode = H5C_incr__off;
    cache.flash_incr_mode = H5C_flash_incr__off;
    cache.decr_mode = H5C_decr__off;
    return H5Pset_mdc_config(access, &cache) >= 0;
}

/* Registered once and kept: H5FD_close of HDF5 1.14 gives up its file's reference to the driver
 * before it calls the driver's close, so a file must not hold the last one. */
static hid_t driver_number(void)
{
    static hid_t number = H5I_INVALID_HID;
    if (H5Iis_valid(number) <= 0)
        number = H5FDregister(&driver);
    return number;
}

/* Access through the driver; negative on failure. */
static hid_t driver_access(void)
{
    hid_t number = driver_number(), access = lj_hdf5_access();
    /* The 1.8 format has checksums of the metadata, so that damage is found, not followed. */
    if (number >= 0 && access >= 0 && keep_metadata(access) &&
        H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
        H5Pset_driver(access, number, NULL) >= 0)
        return access;
    H5Pclose(access);
    return -1;
}

hid_t lj_hdf5_driver_create(const char *path)
{
    failure = 0;
    hid_t access = driver_access(), plan = H5Pcreate(H5P_FILE_CREATE);
    hid_t file = -1;
    /* No times: equal results are equal files. */
    if (access >= 0 && H5Pset_obj_track_times(plan, false) >= 0)
        file = H5Fcreate(path, H5F_ACC_TRUNC, plan, access);
    H5Pclose(plan);
    H5Pclose(access);
    return file;
}

hid_t lj_hdf5_driver_open(const char *path)
{
    failure = 0;
    hid_t access = driver_access();
    hid_t file = access >= 0 ? H5Fopen(path, H5F_ACC_RDWR, access) : -1;
    H5Pclose(access);
    return file;
}

int lj_hdf5_driver_failure(void)
{
    return failure;
}
