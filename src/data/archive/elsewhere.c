/* SPDX-License-Identifier: Apache-2.0 */
/* Where HDF5 looks for the other files of a dataset: the raw files of external storage, the sources
 * of a virtual dataset. The rules are those of H5Pset_efile_prefix and H5Pset_virtual_prefix in
 * HDF5's reference, and the same from 1.10 to 1.14. */
#include "data/archive/archive.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096 };

/* The folder of a path, without the slash; "." for a name alone. */
static void folder_of(const char *path, char *folder, size_t capacity)
{
    const char *slash = strrchr(path, '/');
    if (slash)
        snprintf(folder, capacity, "%.*s", (int)(slash - path), path);
    else
        snprintf(folder, capacity, ".");
}

/* The prefix of an environment variable as HDF5 reads it when it opens a dataset: ${ORIGIN} at its
 * beginning is the folder of the dataset's file. False: there is none. */
static bool prefix_of(const char *variable, const char *file, char *prefix, size_t capacity)
{
    static const char origin[] = "${ORIGIN}";
    const char *text = getenv(variable);
    if (!text || !text[0] || strcmp(text, ".") == 0)
        return false;
    if (strncmp(text, origin, strlen(origin)) == 0) {
        char folder[PATH_BYTES];
        folder_of(file, folder, sizeof folder);
        snprintf(prefix, capacity, "%s%s", folder, text + strlen(origin));
    } else {
        snprintf(prefix, capacity, "%s", text);
    }
    return true;
}

void lj_external_path(const char *file, const char *name, char *path, size_t capacity)
{
    char prefix[PATH_BYTES];
    if (name[0] != '/' && prefix_of("HDF5_EXTFILE_PREFIX", file, prefix, sizeof prefix))
        snprintf(path, capacity, "%s/%s", prefix, name);
    else
        snprintf(path, capacity, "%s", name);
}

/* Opens a file if it is one of HDF5's, in the way HDF5 opens the sources of this dataset. */
static hid_t open_as_hdf5(hid_t dataset, const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0 || !S_ISREG(about.st_mode))
        return -1;
    hid_t own = H5Iget_file_id(dataset), plan = H5Fget_access_plist(own);
    lj_hdf5_looks_at(path);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, plan);
    H5Pclose(plan);
    H5Fclose(own);
    return file;
}

static hid_t open_below(hid_t dataset, const char *folder, int length, const char *name)
{
    char path[3 * PATH_BYTES];
    snprintf(path, sizeof path, "%.*s/%s", length, folder, name);
    return open_as_hdf5(dataset, path);
}

hid_t lj_source_file_open(hid_t dataset, const char *path, const char *name)
{
    char folder[PATH_BYTES], real[PATH_MAX];
    if (strcmp(name, ".") == 0)
        return H5Iget_file_id(dataset);
    hid_t file = name[0] == '/' ? open_as_hdf5(dataset, name) : -1;
    if (name[0] == '/')
        name = strrchr(name, '/') + 1;
    const char *prefixes = getenv("HDF5_VDS_PREFIX");
    for (const char *at = prefixes; at && *at && file < 0;) {
        int length = (int)strcspn(at, ":");
        if (length > 0)
            file = open_below(dataset, at, length, name);
        at += length + (at[length] == ':');
    }
    if (file < 0 && prefix_of("HDF5_VDS_PREFIX", path, folder, sizeof folder))
        file = open_below(dataset, folder, (int)strlen(folder), name);
    folder_of(path, folder, sizeof folder);
    if (file < 0)
        file = open_below(dataset, folder, (int)strlen(folder), name);
    if (file < 0)
        file = open_as_hdf5(dataset, name);
    if (file < 0 && realpath(path, real)) {
        folder_of(real, folder, sizeof folder);
        file = open_below(dataset, folder, (int)strlen(folder), name);
    }
    return file;
}
