/* SPDX-License-Identifier: Apache-2.0 */
/* A file's datasets of images become parts of the archive; all must have one shape and type. Each
 * rank does so with its share of the files (scan.c). */
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
/* Chunks with more bytes are not decoded into every reader's scratch: HDF5 reads a few of their
 * rows at a time, out of the one such chunk that a rank keeps (rows.c). */
static const int64_t chunk_bytes_max = INT64_C(1) << 29;

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

static int add_texts(struct lj_builder *b, const char *texts, int64_t bytes)
{
    int64_t *used = &b->archive->header.texts_bytes;
    void *all = b->archive->texts;
    LJ_TRY(grow(&all, *used, &b->text_capacity, *used + bytes, 1));
    b->archive->texts = all;
    if (bytes > 0)
        memcpy(b->archive->texts + *used, texts, (size_t)bytes);
    *used += bytes;
    return LJ_OK;
}

static int add_text(struct lj_builder *b, const char *text, int64_t *offset)
{
    *offset = b->archive->header.texts_bytes;
    return add_texts(b, text, (int64_t)strlen(text) + 1);
}

/* Adds to what the fingerprint is of. */
static int add_hashed(struct lj_builder *b, const void *data, int64_t bytes)
{
    struct lj_bytes *all = &b->hashed;
    void *at = all->at;
    LJ_TRY(grow(&at, all->bytes, &all->capacity, all->bytes + bytes, 1));
    all->at = at;
    if (bytes > 0)
        memcpy(all->at + all->bytes, data, (size_t)bytes);
    all->bytes += bytes;
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
static int agree_with_first(struct lj_builder *b, const struct lj_found *found, const char *type,
                            enum lj_element element, enum lj_data_axes axes, const char *path,
                            const char *where)
{
    struct lj_archive_header *header = &b->archive->header;
    int from = lj_axes_one_image(axes) ? 0 : 1; /* the first axis of an image */
    if (!b->known) {
        b->dims = found->dims;
        memcpy(b->dim, found->dim, sizeof b->dim);
        header->element = element;
        snprintf(header->type_text, sizeof header->type_text, "%s", type);
        snprintf(header->images_text, sizeof header->images_text, "%s", found->path);
        snprintf(b->first_file, sizeof b->first_file, "%s", path);
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

/* Bytes of the decoded chunks that lie side by side across one row, which HDF5 can keep; 0: these
 * are more than a single chunk of HDF5 can have, which is too much to keep. */
static int64_t kept_bytes(const struct lj_found *found, const hsize_t *chunk, hid_t type)
{
    double bytes = (double)chunk[0] * (double)H5Tget_size(type);
    for (int i = 1; i < found->dims; i++)
        bytes *= (double)((found->dim[i] + chunk[i] - 1) / chunk[i]) * (double)chunk[i];
    return bytes <= (double)UINT32_MAX ? (int64_t)bytes : 0;
}

/* Finds how a dataset is stored, and so how many rows are read and grouped together.
 *   most  in  bytes of a chunk that is decoded into a scratch */
static int read_storage(struct lj_builder *b, struct lj_part *part, hid_t dataset,
                        const struct lj_found *found, int64_t most, const char *where)
{
    struct lj_archive_header *header = &b->archive->header;
    size_t row_bytes = lj_row_bytes(b->archive);
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
    if (part->chunk_rows > most / (int64_t)row_bytes) {
        bool filtered = H5Pget_nfilters(plan) > 0; /* else HDF5 reads the rows alone */
        part->kept_bytes = filtered ? kept_bytes(found, chunk, type) : 0;
        part->raw = 0;
        part->chunk_rows = 0;
    }
    if (!b->known)
        snprintf(header->storage_text, sizeof header->storage_text, "%s", text);
    H5Tclose(type);
    H5Pclose(plan);
    return status;
}

/* Adds the dataset's rows and bytes to those of the archive. */
static int add_sizes(struct lj_builder *b, const struct lj_found *found, const char *where)
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

static int hash_part(struct lj_builder *b, const struct lj_found *found, const char *path,
                     const char *type)
{
    const char *base = lj_base_name(path);
    LJ_TRY(add_hashed(b, base, (int64_t)strlen(base)));
    LJ_TRY(add_hashed(b, found->path, (int64_t)strlen(found->path)));
    LJ_TRY(add_hashed(b, found->dim, found->dims * (int64_t)sizeof *found->dim));
    return add_hashed(b, type, (int64_t)strlen(type));
}

/* The fingerprint of a part alone, from what was hashed for it: where its file lies and what else
 * is in the archive do not matter. */
static uint64_t fingerprint_part(const struct lj_builder *b, int64_t begun, const char *path)
{
    struct stat about = {0};
    uint64_t bytes = stat(path, &about) == 0 ? (uint64_t)about.st_size : 0;
    return XXH3_64bits_withSeed((const char *)b->hashed.at + begun,
                                (size_t)(b->hashed.bytes - begun), bytes);
}

/* Do values of the dataset lie in another file than this one: external or virtual ones, or all of
 * them, where a link leads there? */
static bool lies_elsewhere(hid_t dataset, hid_t file)
{
    char own[4 * LJ_NAME_BYTES] = "", here[4 * LJ_NAME_BYTES] = "";
    hid_t plan = H5Dget_create_plist(dataset);
    bool inside = H5Pget_layout(plan) != H5D_VIRTUAL && H5Pget_external_count(plan) <= 0;
    H5Pclose(plan);
    return !inside || H5Fget_name(dataset, own, sizeof own) < 0 ||
           H5Fget_name(file, here, sizeof here) < 0 || strcmp(own, here) != 0;
}

static int add_part(struct lj_builder *b, const struct lj_found *found, hid_t dataset, hid_t file,
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
    LJ_TRY(agree_with_first(b, found, name, element, axes, path, where));
    LJ_TRY(add_sizes(b, found, where));
    LJ_TRY(lj_storage_check(dataset, where));
    void *parts = archive->part;
    LJ_TRY(grow(&parts, info->parts, &b->part_capacity, info->parts + 1, sizeof *archive->part));
    archive->part = parts;
    struct lj_part part = {.rows = lj_axes_one_image(axes) ? 1 : (int64_t)found->dim[0],
                           .first_row = info->rows,
                           .elsewhere = lies_elsewhere(dataset, file)};
    int64_t most = options->chunk_bytes_max ? options->chunk_bytes_max : chunk_bytes_max;
    LJ_TRY(read_storage(b, &part, dataset, found, most, where));
    LJ_TRY(lj_blank_find(&archive->header, &part, dataset, options->blank, where));
    part.first_group = b->groups;
    b->groups += lj_groups_of_part(&part);
    LJ_TRY(add_text(b, path, &part.file));
    LJ_TRY(add_text(b, found->path, &part.dataset));
    int64_t begun = b->hashed.bytes;
    LJ_TRY(hash_part(b, found, path, name));
    part.fingerprint = fingerprint_part(b, begun, path);
    if (part.rows > 0) {
        archive->part[info->parts++] = part;
        b->known = true;
    }
    info->rows += part.rows;
    return LJ_OK;
}

/* Datasets that nobody named are joined only if all files call them the same. */
static int check_name(const struct lj_builder *b, const struct lj_found_list *list,
                      const char *path)
{
    const char *first = b->archive->header.images_text;
    if (!b->known || list->count == 0)
        return LJ_OK;
    if (strcasecmp(lj_base_name(first), lj_base_name(list->at[0].path)) == 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: its images are %s, those of %s are %s; choose by data.images=NAME, or join "
                   "them by a pattern (data.images=*)",
                   path, list->at[0].path, b->first_file, first);
}

static int add_file(struct lj_builder *b, hid_t file, const char *path,
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
            status = add_part(b, &list.at[i], dataset, file, path, options);
            H5Dclose(dataset);
        }
    }
    struct stat about = {0};
    if (status == LJ_OK && stat(path, &about) == 0)
        status = add_hashed(b, &about.st_size, (int64_t)sizeof about.st_size);
    lj_free(list.at);
    return status;
}

int lj_builder_add(struct lj_builder *b, const char *path, const struct lj_archive_options *options)
{
    hid_t file = -1;
    lj_hdf5_lock();
    int status = lj_hdf5_open_file(path, &file);
    if (status == LJ_OK)
        status = add_file(b, file, path, options);
    if (file >= 0)
        H5Fclose(file);
    lj_hdf5_unlock();
    lj_progress();
    return status;
}

int lj_builder_append(struct lj_builder *b, const struct lj_builder *more)
{
    struct lj_archive *archive = b->archive;
    struct lj_archive_info *info = &archive->header.info;
    const struct lj_archive_header *added = &more->archive->header;
    int64_t texts = archive->header.texts_bytes;
    void *parts = archive->part;
    LJ_TRY(add_hashed(b, more->hashed.at, more->hashed.bytes));
    LJ_TRY(add_texts(b, more->archive->texts, added->texts_bytes));
    LJ_TRY(grow(&parts, info->parts, &b->part_capacity, info->parts + added->info.parts,
                sizeof *archive->part));
    archive->part = parts;
    for (int p = 0; p < added->info.parts; p++) {
        struct lj_part part = more->archive->part[p];
        part.file += texts;
        part.dataset += texts;
        part.first_row += info->rows;
        part.first_group += b->groups;
        archive->part[info->parts + p] = part;
    }
    info->parts += added->info.parts;
    info->rows += added->info.rows;
    b->groups += more->groups;
    b->lengths_differ = b->lengths_differ || more->lengths_differ;
    if (lj_add_sizes(b->bytes, more->bytes, &b->bytes))
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA, "data.archive: its datasets claim more than 2^63 bytes together; a "
                                "file is damaged");
}

void lj_index_only(struct lj_archive_header *header)
{
    struct lj_archive_info *info = &header->info;
    info->type = info->axes = info->axes_reason = info->images = NULL;
    info->labels = info->storage = info->blank = NULL;
    info->has_labels = false;
    info->classes = info->selected = 0;
    header->labels_text[0] = 0;
}

void lj_builder_free(struct lj_builder *b)
{
    lj_free(b->hashed.at);
    b->hashed = (struct lj_bytes){0};
}
