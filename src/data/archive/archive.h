/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data. The archive's inside. An archive is a sequence of parts (datasets); a part is read in blocks
 * of consecutive rows (its storage chunks); a block is decoded into a scratch, its rows are converted to
 * float32 planes. Files, each calling those below it:
 *
 *   open.c        opens (rank 0 indexes, everybody receives the index) and closes
 *   statistics.c  mean, deviation, percentiles
 *   read.c        selected indices -> images
 *   index.c       datasets -> parts, groups                       (rank 0)
 *   labels.c      labels, data.where                              (rank 0)
 *   find.c        file -> datasets of images                      (rank 0)
 *   axes.c        shape -> order of the axes
 *   files.c       data.archive -> list of files
 *   block.c       part, block -> rows as stored                   (any thread)
 *   chunk.c       raw chunk -> rows as stored                     (any thread, no HDF5)
 *   convert.c     row as stored -> planes
 *   resize.c      data.size
 *   archive.c     facts, parts, rows and their names
 *   hdf5.c        opening files, reading columns, messages        (under the lock)
 *
 * and write.c, which writes a training archive for `pack`. */
#ifndef LEJEPA_DATA_ARCHIVE_H
#define LEJEPA_DATA_ARCHIVE_H

#include <hdf5.h>
#include <pthread.h>

#include "data/data.h"
#include "kernels/kernels.h"

struct libdeflate_decompressor;

enum { LJ_FILTERS_MAX = 3, LJ_OPEN_MAX = 32, LJ_SCRATCH_MAX = 96, LJ_NAME_BYTES = 1024 };

/* One dataset. Plain data: broadcast as it is. */
struct lj_part {
    int64_t file, dataset; /* offsets into the archive's texts */
    int64_t rows, first_row;
    int64_t block_rows; /* rows of a storage chunk; 0: not chunked, any rows can be read */
    int64_t group_rows; /* rows read together: whole chunks, or a handful of rows */
    int32_t raw;        /* chunks can be decoded without HDF5 */
    int32_t filters;    /* of the pipeline, in the order of writing; only when raw */
    int32_t filter[LJ_FILTERS_MAX];
    int32_t run_rows; /* most rows read at once when not in blocks */
};

/* What is the same on every rank. Plain data: broadcast as it is. */
struct lj_archive_header {
    struct lj_archive_info info; /* its texts are set on each rank */
    enum lj_element element;     /* what HDF5 is asked for */
    enum lj_data_axes axes;      /* as decided, never LJ_DATA_AXES_AUTO */
    enum lj_data_stretch stretch;
    enum lj_data_nan nan;
    int64_t groups, texts_bytes;
    int64_t filtered; /* data.where left rows out: there is a table of rows */
    char type_text[8], axes_text[8], reason_text[256], storage_text[256];
    char images_text[LJ_NAME_BYTES], labels_text[LJ_NAME_BYTES];
    float low[LJ_CHANNELS_MAX], high[LJ_CHANNELS_MAX]; /* percentiles */
};

/* A decoded block, and the memory to decode the next. */
struct lj_scratch {
    int64_t part, block; /* held whole in rows; -1: none */
    bool busy;
    int64_t used; /* time of last use */
    size_t packed_bytes, rows_bytes;
    unsigned char *packed, *rows, *spare;
    float *planes, *resize; /* (C, stored H, stored W), and what resizing needs */
    struct libdeflate_decompressor *inflate;
};

struct lj_archive {
    struct lj_archive_header header;
    struct lj_part *part; /* (parts) */
    char *texts;
    int64_t *row;   /* (selected) or NULL: all rows */
    int32_t *label; /* (selected) or NULL */
    int64_t *group; /* (groups + 1) */
    /* below: this rank's own */
    bool have_statistics, hdf5_only;
    float mean[LJ_CHANNELS_MAX], std[LJ_CHANNELS_MAX];
    hid_t *open; /* (parts) dataset handle or -1; guarded by the HDF5 lock */
    int64_t opened[LJ_OPEN_MAX];
    int64_t openings;
    pthread_mutex_t lock; /* of scratch */
    struct lj_scratch *scratch[LJ_SCRATCH_MAX];
    int64_t uses;
};

/* ---- hdf5.c: call with the lock held ---- */

/* Opens for reading without file locks. Errors: LJ_ERR_DATA with the reason. */
int lj_hdf5_open_file(const char *path, hid_t *file) LJ_MUST_USE;
hid_t lj_hdf5_memory_type(enum lj_element element);
/* "17092x64x64x3" */
void lj_hdf5_shape_text(const hsize_t *dim, int dims, char *text, size_t capacity);
/* Is the dataset there? */
bool lj_hdf5_has(hid_t file, const char *dataset);
/* Reads a column of numbers: shape (n), (n, 1), ... Sets *rows; values (rows) owned by the caller.
 * Errors: LJ_ERR_DATA; *values is NULL. */
int lj_hdf5_read_column(hid_t file, const char *path, const char *dataset, int64_t *rows,
                        double **values) LJ_MUST_USE;

/* ---- files.c ---- */

struct lj_file_list {
    char **path; /* owned */
    int64_t count;
};
int lj_file_list_make(struct lj_file_list *list, const char *text) LJ_MUST_USE;
void lj_file_list_free(struct lj_file_list *list);

/* ---- find.c: with the lock held ---- */

struct lj_found {
    char path[LJ_NAME_BYTES]; /* "/group/images" */
    int dims;
    bool numeric;
    hsize_t dim[H5S_MAX_RANK];
};
struct lj_found_list {
    struct lj_found *at; /* owned */
    int64_t count, capacity;
};
/* The datasets of images of one file, sorted by path. images: data.images, "" automatic. */
int lj_find_images(struct lj_found_list *list, hid_t file, const char *path,
                   const char *images) LJ_MUST_USE;

/* ---- axes.c ---- */

/* Decides the order of the axes and fills axes, channels, stored size and the reason. Visible to
 * tests. */
int lj_axes_decide(struct lj_archive_header *header, enum lj_data_axes wanted, const hsize_t *dim,
                   int dims, const char *where) LJ_MUST_USE;

/* ---- index.c, labels.c: rank 0 ---- */

int lj_archive_index(struct lj_archive *archive,
                     const struct lj_archive_options *options) LJ_MUST_USE;
/* Labels of all rows and the rows that data.where keeps. */
int lj_archive_columns(struct lj_archive *archive,
                       const struct lj_archive_options *options) LJ_MUST_USE;

/* ---- archive.c ---- */

const char *lj_part_file(const struct lj_archive *archive, const struct lj_part *part);
const char *lj_part_dataset(const struct lj_archive *archive, const struct lj_part *part);
/* The part that the row lies in. */
int64_t lj_archive_part_of(const struct lj_archive *archive, int64_t row);
size_t lj_row_bytes(const struct lj_archive *archive);

/* ---- block.c ---- */

/* Rows from first on that lj_block_read can deliver at once; at most count. */
int64_t lj_block_run(const struct lj_part *part, int64_t first, int64_t count);
/* Makes rows [first, first + count) of a part, all of one block, available.
 *   *at  out  the first of them, in the scratch, rows next to each other as stored
 *   *scratch  out  given back by lj_scratch_release */
int lj_block_read(struct lj_archive *archive, int64_t part, int64_t first, int64_t count,
                  struct lj_scratch **scratch, const unsigned char **at) LJ_MUST_USE;
void lj_scratch_release(struct lj_archive *archive, struct lj_scratch *scratch);
void lj_scratch_free(struct lj_scratch *scratch);
/* Closes this rank's datasets. */
void lj_parts_close(struct lj_archive *archive);

/* Tests compare the two ways to read a chunk: true leaves everything to HDF5. */
void lj_archive_use_hdf5_only(struct lj_archive *archive, bool only);

/* ---- chunk.c ---- */

/* Undoes the part's filters but those in skipped (bit i: filter i was not applied).
 *   scratch->packed (packed_bytes) in;  scratch->rows (bytes) out
 * False when the chunk is damaged. */
bool lj_chunk_decode(const struct lj_part *part, struct lj_scratch *scratch, size_t packed_bytes,
                     uint32_t skipped, size_t bytes, size_t element_bytes);

/* ---- convert.c ---- */

/* One stored row to planes (C, H, W) in units of the full scale. */
void lj_convert_row(const struct lj_archive_header *header, const void *row, float *planes);
bool lj_all_finite(const float *values, int64_t count);
/* data.nan=zero, then data.stretch, in place. */
void lj_stretch_planes(const struct lj_archive_header *header, float *planes);

/* ---- read.c ---- */

/* As lj_archive_read, but before stretch and resize, (count, C, stored H, stored W). */
int lj_archive_read_plain(struct lj_archive *archive, int64_t first, int64_t count,
                          float *images) LJ_MUST_USE;

/* ---- resize.c ---- */

bool lj_archive_resizes(const struct lj_archive_info *info);
/* Floats that lj_archive_resize needs besides. */
int64_t lj_archive_resize_scratch(const struct lj_archive_info *info);
/* planes (C, stored H, stored W) to image (C, H, W). */
void lj_archive_resize(const struct lj_archive_info *info, float *image, const float *planes,
                       float *scratch);

/* ---- statistics.c ---- */

/* Estimates header.low and header.high. Local (rank 0). */
int lj_archive_percentiles(struct lj_archive *archive) LJ_MUST_USE;

#endif
