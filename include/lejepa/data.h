/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. Scientific HDF5 archives as arrays of images: found, checked and read.
 *
 *     struct lj_archive_options options = lj_archive_options_of(&config);
 *     lj_archive_open(&archive, comm, &options);       rank 0 indexes, everybody learns
 *     lj_archive_read(archive, first, count, images);  any rank, any rows
 *     lj_archive_close(archive);
 */
#ifndef LEJEPA_DATA_H
#define LEJEPA_DATA_H

#include "lejepa/comm.h"
#include "lejepa/config.h"

enum { LJ_CHANNELS_MAX = 64 };
struct lj_archive;

/* What data.stretch maps to 0 and to 1, or, for asinh, to asinh(1): (channels) in the units in
 * which lj_archive_read has pixels before the stretch. They belong to a run, as mean and standard
 * deviation do. Only percentile and asinh have limits. */
struct lj_limits {
    float low[LJ_CHANNELS_MAX];  /* percentile: the 1st percentile; asinh: 0 */
    float high[LJ_CHANNELS_MAX]; /* percentile: the 99th percentile; asinh: the scale */
};

/* How to find the images; fields as in the configuration; strings are borrowed during open. */
struct lj_archive_options {
    const char *files;        /* data.archive */
    const char *images;       /* data.images, "" automatic */
    const char *labels;       /* data.labels, "" automatic, "none" */
    const char *where;        /* data.where, "" all rows */
    const double *unlabelled; /* data.unlabelled; NULL: only negative labels and NaN are none */
    enum lj_data_axes axes;
    enum lj_data_stretch stretch;
    enum lj_data_nan nan;
    double stretch_scale;           /* data.stretch_scale, 0 the noise of each channel */
    int64_t size;                   /* data.size, 0 as stored */
    double full_scale;              /* data.full_scale, 0 that of the type */
    const char *blank;              /* data.blank, "" of the attributes, "none" */
    int64_t chunk_bytes_max;        /* most bytes of a chunk that each reading thread decodes for
                                       itself; 0: 512 MiB. A rank keeps one larger one decoded */
    const struct lj_limits *limits; /* of data.stretch; NULL: of the selected rows */
    bool skip_labels;               /* neither look for labels nor read them */
    /* NULL, or the file of an index that lj_archive_keep_index may have written; "" for one that
     * is yet to be written. On all ranks or none */
    const char *cache;
    /* NULL, or an open archive of the same files, images, axes and size: its index is used and no
     * file opened for one */
    const struct lj_archive *indexed;
};

/* The options of a configuration's archive; strings are borrowed from it. Local. */
LJ_API struct lj_archive_options lj_archive_options_of(const struct lj_config *config);

/* What was found; the same on every rank. */
struct lj_archive_info {
    int64_t rows;     /* of the whole archive */
    int64_t selected; /* rows that data.where keeps */
    int channels;
    int64_t stored_height, stored_width;
    int64_t height, width;   /* after data.size */
    int parts;               /* datasets that make up the archive */
    const char *type;        /* "u8" "i8" "u16" "i16" "u32" "f16" "f32" "f64" */
    const char *axes;        /* "nhwc" "nchw" "nhw" "hwc" "chw" */
    const char *axes_reason; /* the rule that decided */
    const char *images;      /* dataset name of the first part */
    const char *labels;      /* dataset used, "" if none */
    const char *storage;     /* "contiguous", "virtual", "chunked 16x64x64x3, shuffle, deflate" */
    const char *blank;       /* of the first part: "-9999 by data.blank"; "" if none */
    bool has_labels;
    int64_t classes;      /* 1 + largest label; 0 without labels */
    uint64_t fingerprint; /* of names, shapes and sizes; differs when the archive differs */
};

/* Collective: rank 0 opens, checks and indexes; every node receives the index; then every rank
 * opens what it needs when it first reads.
 *   archive  out  owned by the caller
 * Errors: LJ_ERR_DATA with file, dataset, expected and found. */
LJ_API int lj_archive_open(struct lj_archive **archive, struct lj_comm *comm,
                           const struct lj_archive_options *options) LJ_MUST_USE;
/* Accepts NULL. Collective over the communicator of lj_archive_open, which still exists: the ranks
 * of a node have the index in common. */
LJ_API void lj_archive_close(struct lj_archive *archive);
LJ_API const struct lj_archive_info *lj_archive_info(const struct lj_archive *archive);

/* One line of summary for the log. Local. */
LJ_API void lj_archive_describe(const struct lj_archive *archive, char *text, size_t capacity);

/* A dataset that images are taken from. */
struct lj_archive_dataset {
    const char *name; /* its path in the files; owned by the archive */
    int64_t rows;     /* images, in all files that have it */
    int64_t files;    /* how many have it */
};
/* The datasets that make up the archive, by name. Local.
 *   list  out  (capacity) in the order of their first rows
 * Returns how many are listed; if there are more names, their files are missing in the sum. */
LJ_API int lj_archive_datasets(const struct lj_archive *archive, struct lj_archive_dataset *list,
                               int capacity);

/* Of values in order. */
enum lj_quantile { LJ_LEAST, LJ_PERCENT_1, LJ_MEDIAN, LJ_PERCENT_99, LJ_LARGEST, LJ_QUANTILES };
/* What a sample of the selected rows holds, as stored (8-bit integers and data.full_scale as in
 * lj_archive_read), before data.nan and data.stretch. */
struct lj_pixel_sample {
    int64_t rows;     /* that were read: at most 256 */
    double nonfinite; /* share of the values that are NaN, infinite or blank */
    double constant;  /* share of the images that are of one value a channel */
    double seconds;   /* to read and decode an image, on one thread */
    double quantile[LJ_CHANNELS_MAX][LJ_QUANTILES]; /* [enum lj_quantile] of the finite values of
                                                       each channel; NaN: none is finite */
};
/* Reads and describes a sample. Local. Errors: those of lj_archive_read. */
LJ_API int lj_archive_sample(struct lj_archive *archive,
                             struct lj_pixel_sample *sample) LJ_MUST_USE;

/* Row of the archive behind selected index i (0 .. selected-1). Local. */
LJ_API int64_t lj_archive_row(const struct lj_archive *archive, int64_t i);
/* "file.h5:/images row 17" of an archive row, for messages. Local. */
LJ_API void lj_archive_name_row(const struct lj_archive *archive, int64_t row, char *text,
                                size_t capacity);
/* The limits of data.stretch, owned by the archive; NULL when it has none. Local. */
LJ_API const struct lj_limits *lj_archive_limits(const struct lj_archive *archive);
/* Label of selected index i (0 .. selected-1); negative: this row has none (NaN in the file and
 * options.unlabelled are -1 here). Only of an archive that has labels (has_labels). Local. */
LJ_API int32_t lj_archive_label(const struct lj_archive *archive, int64_t i);

/* Reads samples as float32 planes: stored values divided by data.full_scale, which is that of the
 * type for unsigned and signed integers of 8 bits (0..1) and 1 otherwise; then data.stretch, then
 * data.size. Local; thread-safe; takes the HDF5 lock inside.
 *   first, count  in   selected indices first .. first + count - 1
 *   images        out  (count, C, H, W)
 * Errors: LJ_ERR_DATA: unreadable chunk, NaN or blank pixels (names the row) unless data.nan says
 * zero. */
LJ_API int lj_archive_read(struct lj_archive *archive, int64_t first, int64_t count,
                           float *images) LJ_MUST_USE;

#endif
