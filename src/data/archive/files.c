/* SPDX-License-Identifier: Apache-2.0 */
/* data.archive -> files. It is a path, a glob or a directory of *.h5 and *.hdf5, or several
 * of these with commas between them. Items stay in the order in which the user lists them;
 * the files of a glob or a directory are sorted by bytes, so that rows have the same
 * numbers under any locale. */
#include "data/archive/archive.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int append(struct lj_file_list *list, char *const *paths, size_t count)
{
    char **all = lj_alloc_array(list->count + (int64_t)count, sizeof *all, "archive");
    if (!all)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < list->count; i++)
        all[i] = list->path[i];
    lj_free(list->path);
    list->path = all;
    for (size_t i = 0; i < count; i++) {
        char *copy = lj_alloc(strlen(paths[i]) + 1, "archive");
        if (!copy)
            return LJ_ERR_RESOURCE;
        memcpy(copy, paths[i], strlen(paths[i]) + 1);
        all[list->count++] = copy;
    }
    return LJ_OK;
}

/* Appends the files that match either pattern, sorted; the second may be NULL.
 * item: for messages. */
static int append_matches(struct lj_file_list *list, const char *item, const char *first,
                          const char *second)
{
    glob_t found = {0};
    int missing = glob(first, GLOB_NOSORT, NULL, &found);
    if (second)
        missing &= glob(second, GLOB_NOSORT | (missing ? 0 : GLOB_APPEND), NULL, &found);
    int status = LJ_OK;
    if (missing) {
        status = lj_fail(LJ_ERR_DATA, "%s: no HDF5 file (*.h5, *.hdf5) matches; check data.archive",
                         item);
    } else {
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_bytes);
        status = append(list, found.gl_pathv, found.gl_pathc);
    }
    globfree(&found);
    return status;
}

static int append_item(struct lj_file_list *list, char *item)
{
    struct stat info;
    if (stat(item, &info) == 0 && S_ISDIR(info.st_mode)) {
        char first[8192], second[8192];
        snprintf(first, sizeof first, "%s/*.h5", item);
        snprintf(second, sizeof second, "%s/*.hdf5", item);
        return append_matches(list, item, first, second);
    }
    if (strpbrk(item, "*?[") && stat(item, &info) != 0)
        return append_matches(list, item, item, NULL);
    return append(list, &item, 1);
}

int lj_file_list_make(struct lj_file_list *list, const char *text)
{
    *list = (struct lj_file_list){0};
    char *copy = lj_alloc(strlen(text) + 1, "archive");
    if (!copy)
        return LJ_ERR_RESOURCE;
    memcpy(copy, text, strlen(text) + 1);
    int status = LJ_OK;
    char *rest = NULL;
    for (char *item = strtok_r(copy, ",", &rest); item && status == LJ_OK;
         item = strtok_r(NULL, ",", &rest))
        status = append_item(list, item);
    lj_free(copy);
    if (status == LJ_OK && list->count == 0)
        status = lj_fail(LJ_ERR_DATA, "data.archive names no file; give data.archive=PATH");
    if (status != LJ_OK)
        lj_file_list_free(list);
    return status;
}

void lj_file_list_free(struct lj_file_list *list)
{
    for (int64_t i = 0; i < list->count; i++)
        lj_free(list->path[i]);
    lj_free(list->path);
    *list = (struct lj_file_list){0};
}

int lj_paths_share(struct lj_paths *paths, struct lj_comm *comm, const struct lj_file_list *list)
{
    int64_t sizes[2] = {list->count, 0}; /* files; bytes of their paths */
    for (int64_t i = 0; i < list->count; i++)
        sizes[1] += (int64_t)strlen(list->path[i]) + 1;
    lj_broadcast(comm, sizes, (int64_t)sizeof sizes, 0);
    int64_t places = sizes[0] * (int64_t)sizeof *paths->at;
    *paths = (struct lj_paths){.count = sizes[0]};
    LJ_TRY(lj_shared_create(&paths->shared, comm, places + sizes[1], "archive"));
    int64_t *at = lj_shared_memory(paths->shared);
    char *texts = (char *)(at + sizes[0]), *end = texts;
    paths->at = at;
    paths->texts = texts;
    for (int64_t i = 0; i < list->count; i++) {
        at[i] = end - texts;
        end = stpcpy(end, list->path[i]) + 1;
    }
    lj_shared_broadcast(paths->shared);
    return LJ_OK;
}

void lj_paths_free(struct lj_paths *paths)
{
    lj_shared_destroy(paths->shared);
    *paths = (struct lj_paths){0};
}

void lj_files_of_rank(const struct lj_comm *comm, int64_t files, int64_t *first, int64_t *end)
{
    *first = (int64_t)((__int128)files * comm->rank / comm->size);
    *end = (int64_t)((__int128)files * (comm->rank + 1) / comm->size);
}
