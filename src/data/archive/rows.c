/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a part, as stored, in memory. A storage chunk is decoded whole and stays in its scratch
 * until the scratch is needed for another chunk, so that neighbouring reads decode it once.
 *
 * A chunk is read raw if it covers whole rows and chunk.c knows its filters: then only the copy out
 * of the file is made under the HDF5 lock, and decoding runs outside it. All other data, and chunks
 * that were never written, go through H5Dread.
 *
 * A chunk above 512 MiB goes through H5Dread a few rows at a time. HDF5 decodes it whole for any of
 * them, so its cache of chunks is given just the room to keep it: that takes no more memory than
 * reading one row does, and at most the 4 GiB that a chunk may have. Of all parts with such chunks
 * one is open at a time. */
#include "data/archive/archive.h"

#include <libdeflate.h>
#include <string.h>

/* ---- scratch ----------------------------------------------------------------------------- */

/* Rows that a scratch must hold for the most demanding part. */
static int64_t rows_needed(const struct lj_archive *archive)
{
    int64_t rows = 1;
    for (int p = 0; p < archive->header.info.parts; p++) {
        const struct lj_part *part = &archive->part[p];
        rows = lj_max_i64(rows, part->chunk_rows ? part->chunk_rows : part->rows_at_once);
    }
    return rows;
}

static struct lj_scratch *scratch_create(const struct lj_archive *archive)
{
    const struct lj_archive_info *info = &archive->header.info;
    size_t rows = (size_t)rows_needed(archive) * lj_row_bytes(archive) + 16;
    int64_t plane = (int64_t)info->channels * info->stored_height * info->stored_width;
    struct lj_scratch *s = lj_alloc(sizeof *s, "archive scratch");
    if (!s)
        return NULL;
    /* deflate never expands data by more; should a raw chunk be larger, HDF5 reads it */
    s->raw_bytes = rows + rows / 512 + 1024;
    s->rows_bytes = rows;
    s->part = s->chunk = -1;
    s->raw = lj_alloc(s->raw_bytes, "archive scratch");
    s->rows = lj_alloc(rows, "archive scratch");
    s->spare = lj_alloc(rows, "archive scratch");
    s->planes = lj_alloc_array(plane, sizeof *s->planes, "archive scratch");
    s->resize =
        lj_alloc_array(lj_archive_resize_scratch(info), sizeof *s->resize, "archive scratch");
    s->inflate = libdeflate_alloc_decompressor();
    if (s->raw && s->rows && s->spare && s->planes && s->resize && s->inflate)
        return s;
    lj_scratch_free(s);
    return NULL;
}

void lj_scratch_free(struct lj_scratch *scratch)
{
    if (!scratch)
        return;
    lj_free(scratch->raw);
    lj_free(scratch->rows);
    lj_free(scratch->spare);
    lj_free(scratch->planes);
    lj_free(scratch->resize);
    if (scratch->inflate)
        libdeflate_free_decompressor(scratch->inflate);
    lj_free(scratch);
}

/* The scratch to use: a free one that holds the chunk, else the free one that was not used for
 * longest. NULL: all are busy. */
static struct lj_scratch *choose_scratch(struct lj_archive *archive, int64_t part, int64_t chunk)
{
    struct lj_scratch *best = NULL;
    for (int64_t i = 0; i < archive->scratches; i++) {
        struct lj_scratch *s = archive->scratch[i];
        if (s->busy)
            continue;
        if (s->part == part && s->chunk == chunk && chunk >= 0)
            return s;
        if (!best || s->used < best->used)
            best = s;
    }
    return best;
}

/* One more scratch, for one more thread that reads. NULL: LJ_ERR_RESOURCE. */
static struct lj_scratch *add_scratch(struct lj_archive *archive)
{
    int64_t count = archive->scratches;
    struct lj_scratch **larger = lj_alloc_array(count + 1, sizeof *larger, "archive scratch");
    struct lj_scratch *s = larger ? scratch_create(archive) : NULL;
    if (!s) {
        lj_free(larger);
        return NULL;
    }
    if (count > 0)
        memcpy(larger, archive->scratch, (size_t)count * sizeof(struct lj_scratch *));
    lj_free(archive->scratch);
    larger[count] = s;
    archive->scratch = larger;
    archive->scratches = count + 1;
    return s;
}

static struct lj_scratch *scratch_take(struct lj_archive *archive, int64_t part, int64_t chunk)
{
    pthread_mutex_lock(&archive->lock);
    struct lj_scratch *s = choose_scratch(archive, part, chunk);
    if (!s)
        s = add_scratch(archive);
    if (s) {
        s->busy = true;
        s->used = ++archive->uses;
    }
    pthread_mutex_unlock(&archive->lock);
    return s;
}

void lj_scratch_release(struct lj_archive *archive, struct lj_scratch *scratch)
{
    pthread_mutex_lock(&archive->lock);
    scratch->busy = false;
    pthread_mutex_unlock(&archive->lock);
}

/* ---- datasets: with the HDF5 lock held --------------------------------------------------- */

static void close_part(struct lj_archive *archive, int64_t part)
{
    if (archive->open[part] >= 0)
        H5Dclose(archive->open[part]);
    archive->open[part] = -1;
}

/* Enters a part into the ring of open datasets. When the ring is full, the dataset opened longest
 * ago is closed for it, and HDF5 closes a file with its last dataset. */
static void make_room(struct lj_archive *archive, int64_t part)
{
    int64_t place = archive->openings++ % LJ_OPEN_MAX;
    if (archive->openings > LJ_OPEN_MAX)
        close_part(archive, archive->opened[place]);
    archive->opened[place] = part;
}

/* Access to a part: HDF5's default, or with room for its large chunk, for which the part that has
 * such room now is closed. Returns a property list to be closed. */
static hid_t access_to(struct lj_archive *archive, int64_t part)
{
    enum { SLOTS = 521 }; /* HDF5's default */
    hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    int64_t open = lj_min_i64(archive->openings, LJ_OPEN_MAX);
    if (archive->part[part].kept_bytes == 0)
        return access;
    for (int64_t i = 0; i < open; i++)
        if (archive->part[archive->opened[i]].kept_bytes > 0)
            close_part(archive, archive->opened[i]);
    H5Pset_chunk_cache(access, SLOTS, (size_t)archive->part[part].kept_bytes,
                       H5D_CHUNK_CACHE_W0_DEFAULT);
    return access;
}

/* Does the dataset still have the shape it had when rank 0 indexed it? The file may have been
 * replaced, and buffers have room for the indexed shape only. */
static bool is_as_indexed(const struct lj_archive *archive, int64_t part, hid_t dataset)
{
    const struct lj_archive_info *info = &archive->header.info;
    const hsize_t rows = (hsize_t)archive->part[part].rows, height = (hsize_t)info->stored_height,
                  width = (hsize_t)info->stored_width, channels = (hsize_t)info->channels;
    const hsize_t wanted[][4] = {[LJ_DATA_AXES_NHWC] = {rows, height, width, channels},
                                 [LJ_DATA_AXES_NCHW] = {rows, channels, height, width},
                                 [LJ_DATA_AXES_NHW] = {rows, height, width},
                                 [LJ_DATA_AXES_HWC] = {height, width, channels},
                                 [LJ_DATA_AXES_CHW] = {channels, height, width}};
    hid_t space = H5Dget_space(dataset);
    hsize_t dim[H5S_MAX_RANK];
    int dims = H5Sget_simple_extent_dims(space, dim, NULL);
    H5Sclose(space);
    bool same = dims == (int)strlen(lj_data_axes_word(archive->header.axes));
    for (int i = 0; i < dims && same; i++)
        same = dim[i] == wanted[archive->header.axes][i];
    return same;
}

static int dataset_open(struct lj_archive *archive, int64_t part, hid_t *dataset)
{
    const char *path = lj_part_file(archive, &archive->part[part]);
    *dataset = archive->open[part];
    if (*dataset >= 0) {
        lj_hdf5_looks_at(path);
        return LJ_OK;
    }
    const char *name = lj_part_dataset(archive, &archive->part[part]);
    hid_t file = -1;
    LJ_TRY(lj_hdf5_open_file(path, &file));
    hid_t access = access_to(archive, part);
    *dataset = H5Dopen2(file, name, access);
    H5Pclose(access);
    H5Fclose(file); /* HDF5 keeps it open while its dataset is open */
    if (*dataset >= 0 && !is_as_indexed(archive, part, *dataset)) {
        H5Dclose(*dataset);
        *dataset = -1;
    }
    if (*dataset < 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s:%s: has changed since the archive was opened; do not replace its "
                       "files while a run reads them",
                       path, name);
    make_room(archive, part);
    archive->open[part] = *dataset;
    return LJ_OK;
}

void lj_parts_close(struct lj_archive *archive)
{
    lj_hdf5_lock();
    for (int p = 0; archive->open && p < archive->header.info.parts; p++)
        if (archive->open[p] >= 0)
            H5Dclose(archive->open[p]);
    lj_hdf5_unlock();
}

/* ---- reading ----------------------------------------------------------------------------- */

static int unreadable(const struct lj_archive *archive, int64_t part, int64_t first)
{
    char name[LJ_NAME_BYTES];
    lj_archive_name_row(archive, archive->part[part].first_row + first, name, sizeof name);
    return lj_fail(LJ_ERR_DATA,
                   "%s: its data is damaged; copy the file again, or leave the row out", name);
}

/* Reads rows [first, first + count) through HDF5, which converts them to the
 * native type. Lock held. */
static bool read_rows(const struct lj_archive *archive, hid_t dataset, int64_t first, int64_t count,
                      void *rows)
{
    hsize_t start[4] = {0}, extent[4] = {0};
    hid_t space = H5Dget_space(dataset);
    int dims = H5Sget_simple_extent_dims(space, extent, NULL);
    if (!lj_axes_one_image(archive->header.axes)) {
        start[0] = (hsize_t)first;
        extent[0] = (hsize_t)count;
    }
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, extent, NULL);
    hid_t memory = H5Screate_simple(dims, extent, NULL);
    herr_t status = H5Dread(dataset, lj_hdf5_memory_type(archive->header.element), memory, space,
                            H5P_DEFAULT, rows);
    H5Sclose(memory);
    H5Sclose(space);
    return status >= 0;
}

/* Reads the raw chunk that begins at row `first`; returns its length. 0: it was never written, is
 * larger than the scratch, or cannot be read, so HDF5 must read it. Lock held. */
static size_t read_raw(hid_t dataset, int64_t first, struct lj_scratch *scratch, uint32_t *skipped)
{
    hsize_t offset[4] = {(hsize_t)first, 0, 0, 0}, bytes = 0;
    if (H5Dget_chunk_storage_size(dataset, offset, &bytes) < 0 || bytes > scratch->raw_bytes)
        return 0;
    if (bytes == 0 || H5Dread_chunk(dataset, H5P_DEFAULT, offset, skipped, scratch->raw) < 0)
        return 0;
    return (size_t)bytes;
}

/* Reads and decodes a whole chunk, into scratch->rows. */
static int fill_chunk(struct lj_archive *archive, int64_t part_index, int64_t chunk,
                      struct lj_scratch *scratch)
{
    const struct lj_part *part = &archive->part[part_index];
    int64_t first = chunk * part->chunk_rows;
    size_t raw_bytes = 0;
    uint32_t skipped = 0;
    hid_t dataset = -1;
    bool good = true;
    lj_hdf5_lock();
    int status = dataset_open(archive, part_index, &dataset);
    if (status == LJ_OK && part->raw && !archive->hdf5_only)
        raw_bytes = read_raw(dataset, first, scratch, &skipped);
    if (status == LJ_OK && raw_bytes == 0)
        good = read_rows(archive, dataset, first, lj_min_i64(part->chunk_rows, part->rows - first),
                         scratch->rows);
    lj_hdf5_unlock();
    LJ_TRY(status);
    if (raw_bytes)
        good = lj_chunk_decode(part, scratch, raw_bytes, skipped,
                               (size_t)part->chunk_rows * lj_row_bytes(archive),
                               lj_element_bytes(archive->header.element));
    return good ? LJ_OK : unreadable(archive, part_index, first);
}

/* Reads just these rows, of a part without chunks. */
static int fill_rows(struct lj_archive *archive, int64_t part, int64_t row, int64_t count,
                     struct lj_scratch *scratch)
{
    hid_t dataset = -1;
    lj_hdf5_lock();
    int status = dataset_open(archive, part, &dataset);
    if (status == LJ_OK && !read_rows(archive, dataset, row, count, scratch->rows))
        status = unreadable(archive, part, row);
    lj_hdf5_unlock();
    return status;
}

int64_t lj_rows_at_once(const struct lj_part *part, int64_t first, int64_t count)
{
    if (part->chunk_rows)
        return lj_min_i64(count, part->chunk_rows - first % part->chunk_rows);
    return lj_min_i64(count, part->rows_at_once);
}

int lj_rows_read(struct lj_archive *archive, int64_t part_index, int64_t first, int64_t count,
                 struct lj_scratch **scratch, const unsigned char **at)
{
    const struct lj_part *part = &archive->part[part_index];
    int64_t chunk = part->chunk_rows ? first / part->chunk_rows : -1;
    struct lj_scratch *s = scratch_take(archive, part_index, chunk);
    if (!s)
        return lj_fail(LJ_ERR_RESOURCE, "out of memory to decode a chunk; repack the archive with "
                                        "smaller chunks (`pack`)");
    bool held = chunk >= 0 && s->part == part_index && s->chunk == chunk;
    int status = LJ_OK;
    if (!held) {
        s->part = s->chunk = -1;
        status = chunk >= 0 ? fill_chunk(archive, part_index, chunk, s)
                            : fill_rows(archive, part_index, first, count, s);
    }
    lj_progress();
    if (status != LJ_OK) {
        lj_scratch_release(archive, s);
        return status;
    }
    s->part = part_index;
    s->chunk = chunk;
    *scratch = s;
    *at = s->rows + (size_t)(chunk >= 0 ? first % part->chunk_rows : 0) * lj_row_bytes(archive);
    return LJ_OK;
}

void lj_archive_use_hdf5_only(struct lj_archive *archive, bool only)
{
    archive->hdf5_only = only;
}
