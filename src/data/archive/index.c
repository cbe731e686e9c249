/* SPDX-License-Identifier: Apache-2.0 */
/* Rank 0's work at opening: opens every file once, makes its datasets of images parts of the
 * archive and checks that all have one shape and type. */
#include "data/archive/archive.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* Sizes of a group. A contiguous dataset is cut into groups of 64 rows, fewer if these exceed 256
 * KiB, but at least 16. In a chunked one, a group is a whole chunk; chunks of fewer than 16 rows
 * are joined to groups of at least 16. So there are never many more groups than a sixteenth of the
 * rows, and an epoch's order is quickly made. */
enum { GROUP_ROWS = 64, GROUP_BYTES = 256 << 10, GROUP_FEWEST = 16 };
/* Chunks with more bytes are not held whole in memory: HDF5 reads a few of their rows at a time. */
static const int64_t chunk_bytes_max = INT64_C(1) << 29;

/* An archive while it is being indexed. */
struct builder {
    struct lj_archive *archive; /* borrowed */
    int64_t part_capacity;      /* of archive->part */
    int64_t text_capacity;      /* of archive->texts, bytes */
    hsize_t dim[4];             /* shape of the first part */
    bool lengths_differ;        /* the first axes of two parts do */
    int dims;                   /* axes of the first part */
    int64_t bytes;              /* of all parts' images in memory */
    int64_t groups;             /* of all parts */
    XXH3_state_t *hash;         /* of names, shapes, types and file sizes: the fingerprint */
};

/* Makes room in an array of count elements of `bytes` bytes, for `needed` elements or more. */
static int grow(void **array, int64_t count, int64_t *capacity, int64_t needed, size_t bytes)
{
    if (needed <= *capacity)
        return LJ_OK;
    int64_t larger = 2 * needed + 64;
    void *copy = lj_alloc_array(larger, bytes, "archive");
    if (!copy)
        return LJ_ERR_RESOURCE;
    if (count)
        memcpy(copy, *array, (size_t)count * bytes);
    lj_free(*array);
    *array = copy;
    *capacity = larger;
    return LJ_OK;
}

static int add_text(struct builder *b, const char *text, int64_t *offset)
{
    int64_t length = (int64_t)strlen(text) + 1, *used = &b->archive->header.texts_bytes;
    void *texts = b->archive->texts;
    LJ_TRY(grow(&texts, *used, &b->text_capacity, *used + length, 1));
    b->archive->texts = texts;
    memcpy(b->archive->texts + *used, text, (size_t)length);
    *offset = *used;
    *used += length;
    return LJ_OK;
}

/* The name of a type in a file, and the element that HDF5 converts it to when reading: wide
 * integers become double, half floats become float. NULL: not a type of pixels. */
static const char *type_name(hid_t type, enum lj_element *element)
{
    static const struct {
        H5T_class_t class;
        size_t bytes;
        H5T_sign_t sign;
        enum lj_element element;
        const char *name;
    } types[] = {
        {H5T_INTEGER, 1, H5T_SGN_NONE, LJ_ELEMENT_U8, "u8"},
        {H5T_INTEGER, 1, H5T_SGN_2, LJ_ELEMENT_I8, "i8"},
        {H5T_INTEGER, 2, H5T_SGN_NONE, LJ_ELEMENT_U16, "u16"},
        {H5T_INTEGER, 2, H5T_SGN_2, LJ_ELEMENT_I16, "i16"},
        {H5T_INTEGER, 4, H5T_SGN_NONE, LJ_ELEMENT_U32, "u32"},
        {H5T_INTEGER, 4, H5T_SGN_2, LJ_ELEMENT_F64, "i32"},
        {H5T_INTEGER, 8, H5T_SGN_NONE, LJ_ELEMENT_F64, "u64"},
        {H5T_INTEGER, 8, H5T_SGN_2, LJ_ELEMENT_F64, "i64"},
        {H5T_FLOAT, 2, H5T_SGN_ERROR, LJ_ELEMENT_F32, "f16"},
        {H5T_FLOAT, 4, H5T_SGN_ERROR, LJ_ELEMENT_F32, "f32"},
        {H5T_FLOAT, 8, H5T_SGN_ERROR, LJ_ELEMENT_F64, "f64"},
    };
    H5T_class_t class = H5Tget_class(type);
    H5T_sign_t sign = class == H5T_INTEGER ? H5Tget_sign(type) : H5T_SGN_ERROR;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].class == class && types[i].bytes == H5Tget_size(type) &&
            types[i].sign == sign) {
            *element = types[i].element;
            return types[i].name;
        }
    return NULL;
}

/* Takes type, axes and shape from the first part; checks that every other part has the same. */
static int agree_with_first(struct builder *b, const struct lj_found *found, const char *type,
                            enum lj_element element, enum lj_data_axes axes, const char *where)
{
    struct lj_archive_header *header = &b->archive->header;
    int from = lj_axes_one_image(axes) ? 0 : 1; /* the first axis of an image */
    if (header->info.parts == 0) {
        b->dims = found->dims;
        memcpy(b->dim, found->dim, sizeof b->dim);
        header->element = element;
        snprintf(header->type_text, sizeof header->type_text, "%s", type);
        snprintf(header->images_text, sizeof header->images_text, "%s", found->path);
        return lj_axes_decide(header, axes, found->dim, found->dims, where);
    }
    bool same = found->dims == b->dims;
    for (int i = from; i < b->dims && same; i++)
        same = found->dim[i] == b->dim[i];
    char mine[128], first[128];
    lj_hdf5_shape_text(found->dim + from, found->dims - from, mine, sizeof mine);
    lj_hdf5_shape_text(b->dim + from, b->dims - from, first, sizeof first);
    b->lengths_differ = b->lengths_differ || (found->dim[0] != b->dim[0] && found->dim[0] != 0);
    if (!same)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected images of shape %s as in the first dataset (%s), found %s; "
                       "choose by data.archive and data.images",
                       where, first, header->images_text, mine);
    if (strcmp(type, header->type_text) != 0)
        return lj_fail(LJ_ERR_DATA, "%s: expected type %s as in the first dataset (%s), found %s",
                       where, header->type_text, header->images_text, type);
    return LJ_OK;
}

/* Reads the filter pipeline: appends it to text, lists it in part if chunk.c can undo it (else
 * part->raw becomes 0), and fails if HDF5 cannot undo it either. */
static int read_filters(struct lj_part *part, hid_t plan, size_t element_bytes, const char *where,
                        char *text, size_t capacity)
{
    int count = H5Pget_nfilters(plan), seen[3] = {0, 0, 0};
    size_t used = strlen(text);
    part->filters = 0;
    for (int i = 0; i < count; i++) {
        unsigned flags, values[8] = {0}, config;
        size_t value_count = 8;
        char name[64] = "";
        int id = H5Pget_filter2(plan, (unsigned)i, &flags, &value_count, values, sizeof name, name,
                                &config);
        bool ours =
            id == H5Z_FILTER_DEFLATE || id == H5Z_FILTER_SHUFFLE || id == H5Z_FILTER_FLETCHER32;
        bool fits = id != H5Z_FILTER_SHUFFLE || values[0] == element_bytes;
        if (ours && fits && ++seen[id - 1] == 1 && part->filters < LJ_FILTERS_MAX)
            part->filter[part->filters++] = id;
        else
            part->raw = 0;
        if (used < capacity)
            used += (size_t)snprintf(text + used, capacity - used, ", %.40s", name);
        if (H5Zfilter_avail(id) <= 0)
            return lj_fail(LJ_ERR_DATA,
                           "%s: is stored by filter %d (%.40s), which this HDF5 does not have; "
                           "convert it with `h5repack -f GZIP=4`",
                           where, id, name);
    }
    return LJ_OK;
}

/* The name of a layout without chunks. */
static const char *layout_name(hid_t plan)
{
    if (H5Pget_layout(plan) == H5D_VIRTUAL)
        return "virtual";
    return H5Pget_external_count(plan) > 0 ? "external files" : "contiguous";
}

/* Finds how a dataset is stored, and so how many rows are read and grouped together. */
static int read_storage(struct lj_archive_header *header, struct lj_part *part, hid_t dataset,
                        const struct lj_found *found, size_t row_bytes, const char *where)
{
    hid_t plan = H5Dget_create_plist(dataset), type = H5Dget_type(dataset);
    hsize_t chunk[H5S_MAX_RANK] = {0};
    char text[256], shape[128];
    int status = LJ_OK;
    snprintf(text, sizeof text, "%s", layout_name(plan));
    if (H5Pget_layout(plan) == H5D_CHUNKED) {
        H5Pget_chunk(plan, found->dims, chunk);
        lj_hdf5_shape_text(chunk, found->dims, shape, sizeof shape);
        snprintf(text, sizeof text, "chunked %s", shape);
        part->raw = H5Tequal(type, lj_hdf5_memory_type(header->element)) > 0;
        bool one = lj_axes_one_image(header->axes), whole = true;
        for (int i = one ? 0 : 1; i < found->dims; i++)
            whole = whole && chunk[i] == found->dim[i];
        part->raw = part->raw && whole;
        status =
            read_filters(part, plan, lj_element_bytes(header->element), where, text, sizeof text);
        part->chunk_rows = one ? 1 : (int64_t)chunk[0];
    }
    int64_t few = lj_max_i64(1, lj_min_i64(GROUP_ROWS, GROUP_BYTES / (int64_t)row_bytes));
    part->rows_at_once = (int32_t)few;
    part->group_rows = lj_max_i64(few, GROUP_FEWEST);
    if (part->chunk_rows)
        part->group_rows = lj_round_up(GROUP_FEWEST, part->chunk_rows);
    if (part->chunk_rows > chunk_bytes_max / (int64_t)row_bytes)
        part->raw = 0, part->chunk_rows = 0;
    if (header->info.parts == 0)
        snprintf(header->storage_text, sizeof header->storage_text, "%s", text);
    H5Tclose(type);
    H5Pclose(plan);
    return status;
}

/* Adds the dataset's rows and bytes to those of the archive. */
static int add_sizes(struct builder *b, const struct lj_found *found, const char *where)
{
    char shape[256];
    int64_t count = 0, bytes = 0;
    if (lj_hdf5_count(found->dim, found->dims, &count) &&
        lj_multiply_sizes(count, (int64_t)lj_element_bytes(b->archive->header.element), &bytes) &&
        lj_add_sizes(b->bytes, bytes, &b->bytes))
        return LJ_OK;
    lj_hdf5_shape_text(found->dim, found->dims, shape, sizeof shape);
    return lj_fail(LJ_ERR_DATA,
                   "%s: its shape %s, with what came before, is more than 2^63 bytes; the file is "
                   "damaged, copy it again",
                   where, shape);
}

static void hash_part(XXH3_state_t *hash, const char *path, const struct lj_found *found,
                      const char *type)
{
    const char *base = lj_base_name(path);
    XXH3_64bits_update(hash, base, strlen(base));
    XXH3_64bits_update(hash, found->path, strlen(found->path));
    XXH3_64bits_update(hash, found->dim, (size_t)found->dims * sizeof *found->dim);
    XXH3_64bits_update(hash, type, strlen(type));
}

/* The fingerprint of a part alone: where its file lies and what else is in the archive do not
 * matter. */
static int fingerprint_part(struct lj_part *part, const char *path, const struct lj_found *found,
                            const char *type)
{
    struct stat about = {0};
    int64_t bytes = stat(path, &about) == 0 ? (int64_t)about.st_size : 0;
    XXH3_state_t *hash = XXH3_createState();
    if (!hash)
        return lj_fail(LJ_ERR_RESOURCE, "out of memory for the fingerprint of %s", path);
    XXH3_64bits_reset(hash);
    hash_part(hash, path, found, type);
    XXH3_64bits_update(hash, &bytes, sizeof bytes);
    part->fingerprint = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    return LJ_OK;
}

static int add_part(struct builder *b, const struct lj_found *found, hid_t dataset,
                    const char *path, const struct lj_archive_options *options)
{
    enum lj_data_axes axes = options->axes;
    struct lj_archive *archive = b->archive;
    struct lj_archive_info *info = &archive->header.info;
    char where[2 * LJ_NAME_BYTES];
    snprintf(where, sizeof where, "%s:%s", path, found->path);
    enum lj_element element = LJ_ELEMENT_U8;
    hid_t type = H5Dget_type(dataset);
    const char *name = type_name(type, &element);
    H5Tclose(type);
    if (!name)
        return lj_fail(LJ_ERR_DATA, "%s: expected integers of 1 to 8 or floats of 2 to 8 bytes",
                       where);
    LJ_TRY(agree_with_first(b, found, name, element, axes, where));
    LJ_TRY(add_sizes(b, found, where));
    LJ_TRY(lj_storage_check(dataset, where));
    void *parts = archive->part;
    LJ_TRY(grow(&parts, info->parts, &b->part_capacity, info->parts + 1, sizeof *archive->part));
    archive->part = parts;
    struct lj_part part = {.rows = lj_axes_one_image(axes) ? 1 : (int64_t)found->dim[0],
                           .first_row = info->rows};
    LJ_TRY(read_storage(&archive->header, &part, dataset, found, lj_row_bytes(archive), where));
    LJ_TRY(lj_blank_find(&archive->header, &part, dataset, options->blank, where));
    part.first_group = b->groups;
    b->groups += lj_groups_of_part(&part);
    LJ_TRY(add_text(b, path, &part.file));
    LJ_TRY(add_text(b, found->path, &part.dataset));
    LJ_TRY(fingerprint_part(&part, path, found, name));
    hash_part(b->hash, path, found, name);
    if (part.rows > 0)
        archive->part[info->parts++] = part;
    info->rows += part.rows;
    return LJ_OK;
}

/* Datasets that nobody named are joined only if all files call them the same. */
static int check_name(const struct builder *b, const struct lj_found_list *list, const char *path)
{
    const struct lj_archive *archive = b->archive;
    if (archive->header.info.parts == 0 || list->count == 0)
        return LJ_OK;
    const char *first = lj_part_dataset(archive, &archive->part[0]);
    if (strcasecmp(lj_base_name(first), lj_base_name(list->at[0].path)) == 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: its images are %s, those of %s are %s; choose by data.images=NAME, or join "
                   "them by a pattern (data.images=*)",
                   path, list->at[0].path, lj_part_file(archive, &archive->part[0]), first);
}

static int add_file(struct builder *b, hid_t file, const char *path,
                    const struct lj_archive_options *options)
{
    struct lj_found_list list = {0};
    int status = lj_find_images(&list, file, path, options->images);
    if (status == LJ_OK && !options->images[0])
        status = check_name(b, &list, path);
    for (int64_t i = 0; i < list.count && status == LJ_OK; i++) {
        hid_t dataset = H5Dopen2(file, list.at[i].path, H5P_DEFAULT);
        if (dataset < 0) {
            status = lj_fail(LJ_ERR_DATA, "%s:%s: cannot be opened; the file is damaged", path,
                             list.at[i].path);
        } else {
            status = add_part(b, &list.at[i], dataset, path, options);
            H5Dclose(dataset);
        }
    }
    struct stat about = {0};
    if (stat(path, &about) == 0)
        XXH3_64bits_update(b->hash, &about.st_size, sizeof about.st_size);
    lj_free(list.at);
    return status;
}

static int add_files(struct builder *b, const struct lj_archive_options *options)
{
    struct lj_file_list files = {0};
    LJ_TRY(lj_file_list_make(&files, options->files));
    int status = LJ_OK;
    lj_hdf5_lock();
    for (int64_t i = 0; i < files.count && status == LJ_OK; i++) {
        hid_t file = -1;
        status = lj_hdf5_open_file(files.path[i], &file);
        if (status == LJ_OK)
            status = add_file(b, file, files.path[i], options);
        if (file >= 0)
            H5Fclose(file);
    }
    lj_hdf5_unlock();
    lj_file_list_free(&files);
    if (status == LJ_OK && b->archive->header.info.rows == 0)
        status = lj_fail(LJ_ERR_DATA,
                         "%s: expected images, found datasets without rows; check data.archive",
                         options->files);
    return status;
}

/* Are three axes images without channels? All datasets are known. */
static int check_rows(struct builder *b)
{
    const struct lj_archive *archive = b->archive;
    char where[2 * LJ_NAME_BYTES];
    snprintf(where, sizeof where, "%.1000s:%s", lj_part_file(archive, &archive->part[0]),
             lj_part_dataset(archive, &archive->part[0]));
    return lj_axes_check_rows(&b->archive->header, b->dim, b->lengths_differ, where);
}

static int index_all(struct builder *b, const struct lj_archive_options *options)
{
    LJ_TRY(add_files(b, options));
    if (options->axes == LJ_DATA_AXES_AUTO && b->dims == 3)
        LJ_TRY(check_rows(b));
    struct lj_archive_info *info = &b->archive->header.info;
    info->fingerprint = XXH3_64bits_digest(b->hash);
    info->height = options->size ? options->size : info->stored_height;
    info->width = options->size ? options->size : info->stored_width;
    LJ_TRY(lj_archive_columns(b->archive, options));
    return lj_archive_make_groups(b->archive);
}

int lj_archive_index(struct lj_archive *archive, const struct lj_archive_options *options)
{
    struct builder b = {.archive = archive, .hash = XXH3_createState()};
    if (!b.hash)
        return lj_fail(LJ_ERR_RESOURCE, "out of memory for the archive's fingerprint");
    XXH3_64bits_reset(b.hash);
    int status = index_all(&b, options);
    XXH3_freeState(b.hash);
    return status;
}
