/* SPDX-License-Identifier: Apache-2.0 */
/* Which datasets of a file are the images. The candidates are the datasets of numbers that have 3
 * or 4 axes and are not named like labels. data.images names the images: a path is one dataset; a
 * name without a slash is every dataset of that name, in whatever group; a pattern (scan*,
 * /train/[0-9]) is every candidate whose name, or path, it matches. Without data.images:
 *   1. if any candidate is named images, image, x, data or imgs, those with the first of these;
 *   2. else, if all candidates have one name, all of them;
 *   3. else the file is ambiguous, and the message lists the candidates.
 * Rules 1 and 2 take small and capital letters for the same. */
#include "data/archive/archive.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* HDF5 1.12 changed the type that the callback is given, and with it the function's number. */
#if H5_VERSION_GE(1, 12, 0)
#define visit_objects H5Ovisit3
#else
#define visit_objects H5Ovisit2
#endif

static const char *const image_names[] = {"images", "image", "x", "data", "imgs", NULL};
static const char *const label_names[] = {"labels", "label", "ans", "y", "target", "targets", NULL};

/* Index of the name in the list, in any case; the list's length if it is not there. */
static int place_in(const char *const *names, const char *name)
{
    int i = 0;
    while (names[i] && strcasecmp(names[i], name) != 0)
        i++;
    return i;
}

static int list_grow(struct lj_found_list *list)
{
    if (list->count < list->capacity)
        return LJ_OK;
    int64_t capacity = 2 * list->capacity + 16;
    struct lj_found *at = lj_alloc_array(capacity, sizeof *at, "archive");
    if (!at)
        return LJ_ERR_RESOURCE;
    if (list->count)
        memcpy(at, list->at, (size_t)list->count * sizeof *at);
    lj_free(list->at);
    list->at = at;
    list->capacity = capacity;
    return LJ_OK;
}

static int list_add(struct lj_found_list *list, hid_t dataset, const char *path)
{
    LJ_TRY(list_grow(list));
    struct lj_found *found = &list->at[list->count];
    snprintf(found->path, sizeof found->path, "%s%s", path[0] == '/' ? "" : "/", path);
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    H5T_class_t class = H5Tget_class(type);
    found->numeric = class == H5T_INTEGER || class == H5T_FLOAT;
    found->dims = H5Sget_simple_extent_dims(space, found->dim, NULL);
    H5Tclose(type);
    H5Sclose(space);
    list->count += found->dims >= 0;
    return LJ_OK;
}

static herr_t visit(hid_t root, const char *name, const H5O_info_t *info, void *data)
{
    struct lj_found_list *list = data;
    if (info->type != H5O_TYPE_DATASET)
        return 0;
    lj_progress();
    hid_t dataset = H5Dopen2(root, name, H5P_DEFAULT);
    if (dataset < 0) {
        if (!list->unreadable[0])
            snprintf(list->unreadable, sizeof list->unreadable, "/%.1000s", name);
        return 0;
    }
    int status = list_add(list, dataset, name);
    H5Dclose(dataset);
    return status == LJ_OK ? 0 : -1;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct lj_found *)a)->path, ((const struct lj_found *)b)->path);
}

/* "/images (17092x64x64x3), /labels (17092)" */
static void describe(const struct lj_found_list *list, char *text, size_t capacity)
{
    size_t used = (size_t)snprintf(text, capacity, "%s", list->count ? "" : "no dataset");
    for (int64_t i = 0; i < list->count && used < capacity; i++) {
        char shape[128];
        lj_hdf5_shape_text(list->at[i].dim, list->at[i].dims, shape, sizeof shape);
        used +=
            (size_t)snprintf(text + used, capacity - used, "%s%s (%s%s)", i ? ", " : "",
                             list->at[i].path, shape, list->at[i].numeric ? "" : ", no numbers");
    }
}

/* Numbers in 3 or 4 axes, more than one value per row, and not named like labels. */
static bool may_be_images(const struct lj_found *found)
{
    if (!found->numeric || found->dims < 3 || found->dims > 4)
        return false;
    hsize_t most = 0;
    for (int i = 1; i < found->dims; i++)
        most = found->dim[i] > most ? found->dim[i] : most;
    const char *name = lj_base_name(found->path);
    return most > 1 && label_names[place_in(label_names, name)] == NULL;
}

/* Removes the elements for which keep(element, data) is false. */
static void filter(struct lj_found_list *list, bool (*keep)(const struct lj_found *, const void *),
                   const void *data)
{
    int64_t count = 0;
    for (int64_t i = 0; i < list->count; i++)
        if (keep(&list->at[i], data))
            list->at[count++] = list->at[i];
    list->count = count;
}

static bool is_candidate(const struct lj_found *found, const void *data)
{
    (void)data;
    return may_be_images(found);
}

static bool has_place(const struct lj_found *found, const void *place)
{
    return place_in(image_names, lj_base_name(found->path)) == *(const int *)place;
}

static bool has_name(const struct lj_found *found, const void *name)
{
    return strcmp(lj_base_name(found->path), name) == 0;
}

static bool matches(const struct lj_found *found, const void *pattern)
{
    const char *text = found->path;
    if (!strchr(pattern, '/'))
        text = lj_base_name(text);
    else if (*(const char *)pattern != '/')
        text++;
    return may_be_images(found) && fnmatch(pattern, text, FNM_PATHNAME) == 0;
}

/* Rules 1 to 3 at the top of this file. */
static int choose(struct lj_found_list *list, const char *path)
{
    char there[1200];
    describe(list, there, sizeof there);
    filter(list, is_candidate, NULL);
    if (list->count == 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected a dataset of images, 3 or 4 axes of numbers, found %s; set "
                       "data.archive to the file of the images",
                       path, there);
    int best = place_in(image_names, "");
    bool one_name = true;
    for (int64_t i = 0; i < list->count; i++) {
        int place = place_in(image_names, lj_base_name(list->at[i].path));
        best = place < best ? place : best;
        one_name = one_name &&
                   strcasecmp(lj_base_name(list->at[i].path), lj_base_name(list->at[0].path)) == 0;
    }
    if (image_names[best])
        filter(list, has_place, &best);
    else if (!one_name)
        return lj_fail(LJ_ERR_DATA,
                       "%s: several datasets may be the images: %s; choose by data.images=NAME, or "
                       "join them by a pattern (data.images=*)",
                       path, there);
    return LJ_OK;
}

/* Leaves the datasets that data.images names: by path, by name in any group, or by pattern. */
static int pick(struct lj_found_list *list, hid_t file, const char *path, const char *images)
{
    char there[1200];
    describe(list, there, sizeof there);
    hid_t dataset = strchr(images, '/') ? H5Dopen2(file, images, H5P_DEFAULT) : -1;
    if (dataset >= 0) {
        list->count = 0;
        int status = list_add(list, dataset, images);
        H5Dclose(dataset);
        return status;
    }
    filter(list, strpbrk(images, "*?[") ? matches : has_name, images);
    if (list->count)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA, "%s: there is no dataset %s (data.images); found %s", path, images,
                   there);
}

static int check_kind(const struct lj_found *found, const char *path)
{
    char shape[256];
    lj_hdf5_shape_text(found->dim, found->dims, shape, sizeof shape);
    if (!found->numeric)
        return lj_fail(LJ_ERR_DATA,
                       "%s:%s: expected integers or floats, found strings, compounds or encoded "
                       "images; the command `pack` converts",
                       path, found->path);
    if (found->dims < 3 || found->dims > 4)
        return lj_fail(LJ_ERR_DATA,
                       "%s:%s: expected shape (N,H,W,C), (N,C,H,W) or (N,H,W), found %s; choose "
                       "another by data.images=NAME",
                       path, found->path, shape);
    return LJ_OK;
}

int lj_find_images(struct lj_found_list *list, hid_t file, const char *path, const char *images)
{
    if (visit_objects(file, H5_INDEX_NAME, H5_ITER_INC, visit, list, H5O_INFO_BASIC) < 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: cannot list its datasets; the file is damaged, copy it again", path);
    if (list->count > 1)
        qsort(list->at, (size_t)list->count, sizeof *list->at, by_path);
    int status = images[0] ? pick(list, file, path, images) : choose(list, path);
    bool by_path = images[0] && !strpbrk(images, "*?[") && strchr(images, '/');
    if (list->unreadable[0] && (status != LJ_OK || !by_path))
        return lj_fail(LJ_ERR_DATA,
                       "%s:%s: cannot be opened; the file is damaged, copy it again, or name the "
                       "images by their path in data.images",
                       path, list->unreadable);
    LJ_TRY(status);
    for (int64_t i = 0; i < list->count; i++)
        LJ_TRY(check_kind(&list->at[i], path));
    return LJ_OK;
}
