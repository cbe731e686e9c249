/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data. The archive's inside. An archive is a sequence of parts, one for each dataset of
 * images; row r of a part is one image. Rows are read by storage chunks: a chunk is decoded whole
 * into a scratch, then its rows are converted to float32 planes. A file calls those below it:
 *
 *   open.c        opens (all ranks index, everybody receives the index) and closes
 *   statistics.c  means and deviations of the pixels, limits of the stretch
 *   read.c        selected indices -> images
 *   labels.c      labels, data.where                              (all ranks)
 *   columns.c     one value a row                                 (under the lock)
 *   scan.c        files -> parts                                  (all ranks)
 *   cache.c       the parts that an earlier scan has found
 *   index.c       file -> parts
 *   find.c        file -> its datasets of images
 *   axes.c        shape -> order of the axes
 *   storage.c     dataset -> whether its values are stored
 *   elsewhere.c   name of another file -> the file
 *   files.c       data.archive -> list of files
 *   groups.c      selected rows -> groups
 *   narrow.c      fewer of the selected rows                      (all ranks)
 *   select.c      bits of rows -> the selected rows, their groups and labels
 *   subset.c      some of the numbers 0 .. n-1, in little memory
 *   tables.c      tables -> memory of a node
 *   rows.c        part, rows -> the rows as stored                (any thread)
 *   chunk.c       raw chunk -> rows as stored                     (any thread, no HDF5)
 *   convert.c     row as stored -> planes
 *   blank.c       dataset -> its blank values; blank pixels -> NaN
 *   resize.c      planes -> planes of data.size
 *   archive.c     facts, parts, rows and their names
 *   hdf5.c        opening files, shapes, messages                 (under the lock)
 *
 * and write.c, which writes a training archive for `pack`; place.c gives a whole file its name. */
#ifndef LEJEPA_DATA_ARCHIVE_H
#define LEJEPA_DATA_ARCHIVE_H

#include <hdf5.h>
#include <pthread.h>

#include "data/data.h"
#include "kernels/kernels.h"

struct libdeflate_decompressor;

enum { LJ_FILTERS_MAX = 3, LJ_BLANKS_MAX = 3, LJ_OPEN_MAX = 32, LJ_NAME_BYTES = 1024 };

/* One dataset of images. Plain data: broadcast as it is. */
struct lj_part {
    int64_t file;                   /* its file's path, as an offset into the archive's texts */
    int64_t dataset;                /* its name in the file, likewise */
    int64_t rows;                   /* images */
    uint64_t fingerprint;           /* of its file's name and size, its name, shape and type */
    int64_t first_row;              /* number of its first row in the archive */
    int64_t chunk_rows;             /* rows of a storage chunk; 0: not read by chunks */
    int64_t group_rows;             /* rows of a group of lj_archive_groups, if all are selected */
    int64_t first_group;            /* number of its first group, if no group is left out */
    int32_t raw;                    /* 1: chunks can be read raw and decoded without HDF5 */
    int32_t filters;                /* length of the filter pipeline; valid only when raw */
    int32_t filter[LJ_FILTERS_MAX]; /* H5Z_FILTER_*, in the order in which writing applied them */
    int32_t rows_at_once;           /* most rows of one read when chunk_rows is 0 */
    int64_t kept_bytes;             /* of a large chunk that HDF5 keeps decoded; 0: keeps none */
    int32_t blanks;                 /* values of blank */
    int32_t elsewhere;              /* 1: its values lie in other files, too */
    double blank[LJ_BLANKS_MAX];    /* stored values that mean "no measurement" */
};

/* Members of a subset that follow one another. */
struct lj_subset_run {
    int64_t first;  /* member */
    int64_t number; /* how many members there are before */
};
/* A subset of 0 .. all-1: runs, or bits. */
struct lj_subset {
    int64_t all, members;
    int64_t runs;              /* 0: kept as bits */
    struct lj_subset_run *run; /* (runs + 1), the last one is {all, members} */
    uint64_t *bits;            /* (all / 64, rounded up) */
    int64_t *before;           /* (blocks + 1) members before each LJ_SUBSET_BLOCK numbers */
};
enum { LJ_SUBSET_BLOCK = 512, LJ_SUBSET_TABLES = 3 };

/* A table of the index, which reaches every rank. */
struct lj_table {
    void **array;
    int64_t bytes; /* 0: there is none */
};

/* What is the same on every rank. Plain data: broadcast as it is. */
struct lj_archive_header {
    struct lj_archive_info info;     /* its strings point into this struct; set on each rank */
    enum lj_element element;         /* type of the pixels in memory, as HDF5 is asked for it */
    enum lj_data_axes axes;          /* order of the axes, never LJ_DATA_AXES_AUTO */
    enum lj_data_stretch stretch;    /* data.stretch */
    enum lj_data_nan nan;            /* data.nan */
    float factor;                    /* what values are multiplied by, for data.full_scale */
    int64_t texts_bytes;             /* length of the archive's texts */
    int64_t skip_labels;             /* 1: nobody looked for labels */
    int64_t blank_given;             /* 1: data.blank says which values are blank */
    char type_text[8];               /* info.type */
    char axes_text[8];               /* info.axes */
    char reason_text[256];           /* info.axes_reason */
    char storage_text[256];          /* info.storage */
    char blank_text[96];             /* info.blank */
    char images_text[LJ_NAME_BYTES]; /* info.images */
    char labels_text[LJ_NAME_BYTES]; /* info.labels */
    struct lj_limits limits;         /* of data.stretch */
};

/* A file as it was before it was opened. */
struct lj_stamp {
    int64_t bytes;                /* -1: there is none */
    int64_t seconds, nanoseconds; /* of its last change */
};
/* What belongs to a scan besides its parts, to know one day whether they still hold. */
struct lj_scan_note {
    uint64_t asked[2];      /* hash of the names of the files, and of the settings */
    int64_t files;          /* number */
    struct lj_stamp *stamp; /* (files) */
    int64_t looked_s;       /* the time when the first file was looked at */
    bool recalled;          /* the parts are those of an earlier scan */
    char text[2304];        /* why not, or why they cannot be kept; "": no reason */
};

/* A decoded chunk, and the memory to decode another. */
struct lj_scratch {
    int64_t part;                            /* part of the chunk in `rows`; -1: none is there */
    int64_t chunk;                           /* its number in the part; -1: not read by chunks */
    bool busy;                               /* taken by a reader */
    int64_t used;                            /* lj_archive.uses at its last use */
    size_t raw_bytes;                        /* size of raw */
    size_t rows_bytes;                       /* size of rows and of spare */
    unsigned char *raw;                      /* a chunk as it lies in the file */
    unsigned char *rows;                     /* its rows, decoded */
    unsigned char *spare;                    /* between two filters */
    float *planes;                           /* (C, stored H, stored W) one row, to be resized */
    float *resize;                           /* scratch of resizing */
    struct libdeflate_decompressor *inflate; /* libdeflate's own state */
};

struct lj_archive {
    struct lj_archive_header header; /* the same on every rank */
    struct lj_part *part;            /* (parts) the same on every rank */
    char *texts;                     /* paths and names, each ended by 0; the same on every rank */
    struct lj_subset rows;           /* of all rows: the selected ones; the same on every rank */
    struct lj_subset groups;         /* of all groups: those with a selected row; likewise */
    void *label;                     /* (selected) integers of label_bytes; NULL: no labels */
    int label_bytes;                 /* 1, 2 or 4; 0: no labels */
    struct lj_shared *shared;        /* holds part and texts; NULL while rank 0 makes them */
    struct lj_shared *selection;     /* holds rows, groups and label; NULL likewise */
    struct lj_scan_note *note;       /* rank 0: for lj_archive_keep_index; NULL: nothing is kept */
    bool have_statistics;            /* mean, std, least and most are known on this rank */
    bool hdf5_only;                  /* tests: read no chunk raw */
    float mean[LJ_CHANNELS_MAX];     /* of each channel */
    float std[LJ_CHANNELS_MAX];      /* of each channel; 1 where it does not vary */
    float least[LJ_CHANNELS_MAX];    /* value of each channel, of those that make the mean */
    float most[LJ_CHANNELS_MAX];     /* likewise the largest */
    hid_t *open;                     /* (parts) this rank's handle or -1; under the HDF5 lock */
    int64_t opened[LJ_OPEN_MAX];     /* parts with a handle, a ring in the order of opening */
    int64_t openings;                /* handles opened so far: the next place in the ring */
    pthread_mutex_t lock;            /* of the fields below */
    struct lj_scratch **scratch;     /* (scratches) as many as were busy at once; used again */
    int64_t scratches;
    int64_t uses; /* times a scratch was taken */
};

/* ---- hdf5.c: call with the HDF5 lock held ------------------------------------------------ */

/* Opens a file for reading, without file locks; silences HDF5's own messages. Local.
 *   file  out  closed by the caller; -1 on failure
 * Errors: LJ_ERR_DATA with the reason. */
int lj_hdf5_open_file(const char *path, hid_t *file) LJ_MUST_USE;
/* How many files this process has opened by it. For tests. */
int64_t lj_hdf5_opened(void);
/* HDF5's native type of an element; not to be closed. */
hid_t lj_hdf5_memory_type(enum lj_element element);
/* Writes a shape like "17092x64x64x3", or "scalar". */
void lj_hdf5_shape_text(const hsize_t *dim, int dims, char *text, size_t capacity);
/* Is there a dataset of this name? */
bool lj_hdf5_has(hid_t file, const char *dataset);
/* The number of elements of a shape. False: it does not fit into 63 bits. */
bool lj_hdf5_count(const hsize_t *dim, int dims, int64_t *count);

/* ---- files.c ----------------------------------------------------------------------------- */

struct lj_file_list {
    char **path;   /* (count) list and strings owned */
    int64_t count; /* files */
};
/* Lists the files that data.archive names. Local.
 *   text  in  a path, a glob or a directory, or several with commas between them
 * Errors: LJ_ERR_DATA (nothing there), LJ_ERR_RESOURCE; the list is then empty. */
int lj_file_list_make(struct lj_file_list *list, const char *text) LJ_MUST_USE;
void lj_file_list_free(struct lj_file_list *list);

/* The same list in the memory of a node. */
struct lj_paths {
    struct lj_shared *shared;
    int64_t count;     /* files */
    const int64_t *at; /* (count) where in the texts a path begins */
    const char *texts; /* paths, each ended by 0 */
};
/* Every rank receives rank 0's list. Collective.
 *   paths  out  freed by lj_paths_free, also on failure
 * Errors: LJ_ERR_RESOURCE. */
int lj_paths_share(struct lj_paths *paths, struct lj_comm *comm,
                   const struct lj_file_list *list) LJ_MUST_USE;
void lj_paths_free(struct lj_paths *paths); /* collective */
static inline const char *lj_path(const struct lj_paths *paths, int64_t i)
{
    return paths->texts + paths->at[i];
}
/* This rank's contiguous share [*first, *end) of so many files. Local. */
void lj_files_of_rank(const struct lj_comm *comm, int64_t files, int64_t *first, int64_t *end);

/* ---- find.c: call with the HDF5 lock held ------------------------------------------------ */

/* A dataset of a file. */
struct lj_found {
    char path[LJ_NAME_BYTES];  /* "/group/images" */
    int dims;                  /* number of axes */
    bool numeric;              /* integers or floats */
    hsize_t dim[H5S_MAX_RANK]; /* (dims) shape */
};
struct lj_found_list {
    struct lj_found *at;            /* (count) owned, freed by lj_free */
    int64_t count;                  /* datasets */
    int64_t capacity;               /* allocated */
    char unreadable[LJ_NAME_BYTES]; /* path of the first dataset that HDF5 cannot open; "" */
};
/* The datasets of images of one file, sorted by path. Local.
 *   list    in/out  empty before
 *   path    in      the file's name, for messages
 *   images  in      data.images; "": choose by name and shape
 * Errors: LJ_ERR_DATA (none, or several that may be meant; the message lists them; one that cannot
 * be opened, which may be meant, too, unless images is a path),
 * LJ_ERR_RESOURCE; list->at must be freed then, too. */
int lj_find_images(struct lj_found_list *list, hid_t file, const char *path,
                   const char *images) LJ_MUST_USE;

/* ---- storage.c: call with the HDF5 lock held --------------------------------------------- */

/* Checks that the values of a dataset are stored, in this file or in others, and that they can be
 * as many as its shape says. Local.
 *   where  in  "file:dataset", for messages
 * Errors: LJ_ERR_DATA: values are missing, or the shape is a lie; the message names the file.
 * Cost: a walk over the index of chunks; of a virtual dataset, every source is opened once. */
int lj_storage_check(hid_t dataset, const char *where) LJ_MUST_USE;

/* ---- elsewhere.c: call with the HDF5 lock held ------------------------------------------- */

/* The path that HDF5 opens for a name in the list of external files: an absolute name is taken as
 * it is, others lie below HDF5_EXTFILE_PREFIX, or else below the working directory.
 *   file  in  path of the dataset's file */
void lj_external_path(const char *file, const char *name, char *path, size_t capacity);
/* Opens the file that HDF5 opens for the name of a source of a virtual dataset: an absolute path;
 * or the name (of an absolute path, what is behind its last slash) below the folders of
 * HDF5_VDS_PREFIX, in the dataset's folder, in the working directory, in the folder that the links
 * of the dataset's file lead to. "." is the dataset's own file.
 *   file  in  path of the dataset's file
 * Returns a file to be closed; negative: there is none. */
hid_t lj_source_file_open(hid_t dataset, const char *file, const char *name);

/* ---- axes.c ------------------------------------------------------------------------------ */

/* Decides the order of the axes. Local; visible to tests.
 *   header  out  axes, and of info: channels, stored size; axes_text, reason_text
 *   wanted  in   data.axes
 *   dim     in   (dims) shape of the dataset
 *   where   in   "file:dataset", for messages
 * Errors: LJ_ERR_DATA: the shape does not decide, or contradicts data.axes. */
int lj_axes_decide(struct lj_archive_header *header, enum lj_data_axes wanted, const hsize_t *dim,
                   int dims, const char *where) LJ_MUST_USE;
/* Is a dataset of these axes one image, without an axis of rows? */
bool lj_axes_one_image(enum lj_data_axes axes);
/* Checks that a shape of three axes, which lj_axes_decide took for (N, H, W), cannot be one image
 * with channels. Local.
 *   header          out  reason_text, if the lengths decide
 *   dim             in   (3)
 *   lengths_differ  in   not all datasets have the same first axis, which then counts images
 * Errors: LJ_ERR_DATA: it can; the message names both values of data.axes. */
int lj_axes_check_rows(struct lj_archive_header *header, const hsize_t *dim, bool lengths_differ,
                       const char *where) LJ_MUST_USE;

/* ---- index.c: local; takes the HDF5 lock ------------------------------------------------- */

struct lj_bytes {
    char *at; /* (bytes) owned */
    int64_t bytes, capacity;
};
/* An archive while it is being indexed: parts, texts and header of the files so far. */
struct lj_builder {
    struct lj_archive *archive; /* borrowed */
    bool known;                 /* header and dim are those of the first dataset with rows */
    hsize_t dim[4];             /* shape of the first dataset */
    int dims;                   /* its axes */
    bool lengths_differ;        /* the first axes of two datasets do */
    int64_t bytes;              /* of all parts' images in memory */
    int64_t groups;             /* of all parts */
    int64_t part_capacity;      /* of archive->part */
    int64_t text_capacity;      /* of archive->texts, bytes */
    struct lj_bytes hashed;     /* names, shapes, types and file sizes, for the fingerprint */
    char first_file[4 * LJ_NAME_BYTES]; /* path of the first dataset's file */
};
/* Opens a file and adds its datasets of images.
 * Errors: LJ_ERR_DATA (no images, or others than those before), LJ_ERR_RESOURCE. */
int lj_builder_add(struct lj_builder *b, const char *path,
                   const struct lj_archive_options *options) LJ_MUST_USE;
/* Adds what another builder has of later files. Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE. */
int lj_builder_append(struct lj_builder *b, const struct lj_builder *more) LJ_MUST_USE;
/* Frees the builder's own memory; the archive stays. */
void lj_builder_free(struct lj_builder *b);

/* Leaves of a header what a scan fills in. */
void lj_index_only(struct lj_archive_header *header);

/* ---- scan.c ------------------------------------------------------------------------------ */

/* Fills header, parts and texts of rank 0's archive from the files, which all ranks open, each a
 * contiguous share. Collective; the result is the same on any number of ranks.
 * Errors, on every rank alike: those of the first failing file in their order; LJ_ERR_RESOURCE. */
int lj_archive_scan(struct lj_archive *archive, struct lj_comm *comm,
                    const struct lj_archive_options *options) LJ_MUST_USE;

/* ---- cache.c ----------------------------------------------------------------------------- */

/* Notes what an archive of these files must be checked by one day, and fills rank 0's archive as
 * lj_archive_scan does from the file options->cache, if that was written by lj_archive_keep_index
 * for the same files and settings, and no file has changed since. Collective: each rank looks at a
 * share of the files, and opens none.
 *   recalled  out  the archive is filled; false: it must be scanned
 * Errors, on every rank alike: LJ_ERR_RESOURCE. */
int lj_archive_recall(struct lj_archive *archive, struct lj_comm *comm,
                      const struct lj_archive_options *options, const struct lj_paths *paths,
                      bool *recalled) LJ_MUST_USE;
void lj_scan_note_free(struct lj_scan_note *note); /* accepts NULL */

/* ---- place.c ----------------------------------------------------------------------------- */

/* Writes a file under a temporary name beside path, syncs and renames it; on failure nothing of it
 * remains. Local. Errors: LJ_ERR_RESOURCE. */
int lj_file_place(const char *path, const void *bytes, size_t count) LJ_MUST_USE;

/* ---- tables.c: local --------------------------------------------------------------------- */

/* Bytes of so many tables in shared memory. */
int64_t lj_tables_bytes(const struct lj_table *table, int count);
/* Gives the tables their places there, where rank 0 puts its own, and frees them. */
void lj_tables_place(const struct lj_table *table, int count, struct lj_shared *shared, bool root);

/* ---- labels.c ---------------------------------------------------------------------------- */

/* Reads the columns of data.where, which select rows, and the labels of the selected rows; called
 * once every rank knows the parts. Each rank reads a share of the rows. Takes the HDF5 lock.
 * Collective.
 * Errors, on every rank alike: LJ_ERR_DATA, LJ_ERR_CONFIG, LJ_ERR_RESOURCE. */
int lj_archive_columns(struct lj_archive *archive, struct lj_comm *comm,
                       const struct lj_archive_options *options) LJ_MUST_USE;

/* ---- select.c ---------------------------------------------------------------------------- */

/* A rank's contiguous share of all rows of an archive, and which of them are selected. */
struct lj_share {
    int64_t first, end; /* rows [first, end); may be none */
    uint64_t *bits;     /* (rows) owned */
};
/* Makes this rank's share. Local.
 *   share  out  lj_share_free, also on failure
 *   all    in   all rows are selected; else none
 * Errors: LJ_ERR_RESOURCE. */
int lj_share_make(struct lj_share *share, const struct lj_comm *comm, int64_t rows,
                  bool all) LJ_MUST_USE;
void lj_share_free(struct lj_share *share);
/* Of a row of the share: whether it is selected; that it is; that it is not. */
bool lj_share_has(const struct lj_share *share, int64_t row);
void lj_share_set(struct lj_share *share, int64_t row);
void lj_share_clear(struct lj_share *share, int64_t row);
/* How many rows of the share are selected. */
int64_t lj_share_count(const struct lj_share *share);

/* Selects the rows of everybody's shares: sets rows, groups, label and info.selected, and, with
 * labels, info.classes; those of before are forgotten. Collective.
 *   label  in  (selected rows of the share) overwritten; NULL, on every rank: no labels
 * Errors, on every rank alike: LJ_ERR_RESOURCE; the archive can only be closed then. */
int lj_archive_select(struct lj_archive *archive, struct lj_comm *comm,
                      const struct lj_share *share, int32_t *label) LJ_MUST_USE;
/* Frees rows, groups and labels. Collective. */
void lj_archive_unselect(struct lj_archive *archive);

/* ---- groups.c ---------------------------------------------------------------------------- */

/* Number of groups that a part is cut into. */
int64_t lj_groups_of_part(const struct lj_part *part);
/* Makes archive->groups, which is empty before, from archive->rows. Local.
 * Errors: LJ_ERR_RESOURCE. */
int lj_archive_make_groups(struct lj_archive *archive) LJ_MUST_USE;

/* ---- subset.c: local --------------------------------------------------------------------- */

/* Bits of the numbers 0 .. all-1, none set. Owned by the caller; NULL: LJ_ERR_RESOURCE. */
uint64_t *lj_bits_alloc(int64_t all);
void lj_bits_set(uint64_t *bits, int64_t value);
/* Makes a subset of the numbers whose bits are set.
 *   subset  out  freed by lj_subset_free; empty on failure
 *   bits    in   from lj_bits_alloc; taken over, also on failure
 * Errors: LJ_ERR_RESOURCE. Cost: a few passes over the bits. */
int lj_subset_make(struct lj_subset *subset, int64_t all, uint64_t *bits) LJ_MUST_USE;
/* The subset of all numbers. */
int lj_subset_whole(struct lj_subset *subset, int64_t all) LJ_MUST_USE;
void lj_subset_free(struct lj_subset *subset);
/* The tables of a subset, as far as it has them.
 *   table  out  (LJ_SUBSET_TABLES)
 * Returns LJ_SUBSET_TABLES. */
int64_t lj_subset_tables(struct lj_subset *subset, struct lj_table *table);
/* The member that has `number` smaller ones. number: 0 .. members-1. Cost: a binary search. */
int64_t lj_subset_member(const struct lj_subset *subset, int64_t number);
/* How many members are smaller than value, 0 .. all. Cost: of runs a binary search, of bits at most
 * LJ_SUBSET_BLOCK of them. */
int64_t lj_subset_before(const struct lj_subset *subset, int64_t value);

/* ---- archive.c --------------------------------------------------------------------------- */

/* Path of the part's file, and name of the dataset in it; owned by the archive. */
const char *lj_part_file(const struct lj_archive *archive, const struct lj_part *part);
const char *lj_part_dataset(const struct lj_archive *archive, const struct lj_part *part);
/* Index of the part that a row of the archive lies in. */
int64_t lj_archive_part_of(const struct lj_archive *archive, int64_t row);
/* What is behind the last slash of a path in a file. */
const char *lj_base_name(const char *path);
/* Bytes of one row as it is stored in memory before conversion. */
size_t lj_row_bytes(const struct lj_archive *archive);

/* ---- rows.c: local, thread-safe ---------------------------------------------------------- */

/* How many rows one lj_rows_read can deliver from row `first` of the part on; at most count. */
int64_t lj_rows_at_once(const struct lj_part *part, int64_t first, int64_t count);
/* Reads rows [first, first + count) of a part; count at most lj_rows_at_once. Takes the HDF5 lock.
 *   part     in   index of the part
 *   scratch  out  holds the rows; given back by lj_scratch_release
 *   at       out  the first row, inside the scratch; rows as stored, one behind another
 * Errors: LJ_ERR_DATA (unreadable, or the file was replaced), LJ_ERR_RESOURCE; no scratch is taken
 * then. Cost: one read of the storage chunk, unless a free scratch still holds it. */
int lj_rows_read(struct lj_archive *archive, int64_t part, int64_t first, int64_t count,
                 struct lj_scratch **scratch, const unsigned char **at) LJ_MUST_USE;
void lj_scratch_release(struct lj_archive *archive, struct lj_scratch *scratch);
void lj_scratch_free(struct lj_scratch *scratch);
/* Closes this rank's handles of datasets. */
void lj_parts_close(struct lj_archive *archive);

/* For tests, which compare the two ways to read a chunk: true reads every chunk through HDF5. */
void lj_archive_use_hdf5_only(struct lj_archive *archive, bool only);

/* ---- chunk.c ----------------------------------------------------------------------------- */

/* Decodes a raw chunk by undoing the part's filters, last one first. Local.
 *   scratch        in/out  raw in; rows out, which may swap buffers with spare
 *   raw_bytes      in      length of the raw chunk
 *   skipped        in      bit i: filter i was not applied to this chunk
 *   bytes          in      length of the decoded chunk
 *   element_bytes  in      of one pixel
 * False when the chunk is damaged: a checksum or a length is wrong. */
bool lj_chunk_decode(const struct lj_part *part, struct lj_scratch *scratch, size_t raw_bytes,
                     uint32_t skipped, size_t bytes, size_t element_bytes);

/* ---- convert.c --------------------------------------------------------------------------- */

/* Converts one row as stored to planes (C, H, W), in the units of lj_archive_read. */
void lj_convert_row(const struct lj_archive_header *header, const void *row, float *planes);
/* Are all values finite? */
bool lj_all_finite(const float *values, int64_t count);
/* Applies data.nan=zero, then data.stretch, to planes (C, stored H, stored W) in place. */
void lj_stretch_planes(const struct lj_archive_header *header, float *planes);

/* ---- blank.c ----------------------------------------------------------------------------- */

/* Finds the blank values of a dataset. Local; with the HDF5 lock held.
 *   header   out  blank_given; blank_text of the first part
 *   part     out  blanks, blank
 *   setting  in   data.blank; NULL or "": those of the dataset's attributes; "none": there are none
 *   where    in   "file:dataset", for messages
 * Errors: LJ_ERR_CONFIG: the setting is no number, or none that these pixels can hold; LJ_ERR_DATA:
 * an attribute is damaged, or names too many. */
int lj_blank_find(struct lj_archive_header *header, struct lj_part *part, hid_t dataset,
                  const char *setting, const char *where) LJ_MUST_USE;
/* The value as the type of a file holds it: floats are rounded. False: it has no such value. Local;
 * with the HDF5 lock held. */
bool lj_as_stored(hid_t type, double *value);
/* What says which values are blank, for messages. */
const char *lj_blank_origin(const struct lj_archive_header *header);
/* Sets the blank pixels of a converted row to NaN. Local.
 *   row     in      as stored
 *   planes  in/out  (C, stored H, stored W) of the same row
 * Returns which of part->blank it holds, one if it holds several; -1: none. */
int lj_blank_mark(const struct lj_archive_header *header, const struct lj_part *part,
                  const void *row, float *planes);

/* ---- read.c ------------------------------------------------------------------------------ */

/* As lj_archive_read, but neither checked for NaN nor stretched nor resized; blank pixels are NaN.
 *   images  out  (count, C, stored H, stored W) */
int lj_archive_read_plain(struct lj_archive *archive, int64_t first, int64_t count,
                          float *images) LJ_MUST_USE;

/* ---- resize.c ---------------------------------------------------------------------------- */

/* Does data.size ask for another size than the stored one? */
bool lj_archive_resizes(const struct lj_archive_info *info);
/* Floats of scratch that lj_archive_resize needs. */
int64_t lj_archive_resize_scratch(const struct lj_archive_info *info);
/* Resizes planes (C, stored H, stored W) to image (C, H, W). */
void lj_archive_resize(const struct lj_archive_info *info, float *image, const float *planes,
                       float *scratch);

/* ---- statistics.c ------------------------------------------------------------------------ */

/* The order of two floats, for qsort. */
int lj_compare_floats(const void *a, const void *b);

/* Finds header.limits of a stretch that has some: from a sample of the pixels, which all ranks
 * read, or as data.stretch_scale gives them. Collective; the same on any number of ranks.
 *   scale  in  data.stretch_scale
 * Errors: as lj_archive_read, agreed. */
int lj_archive_find_limits(struct lj_archive *archive, struct lj_comm *comm,
                           double scale) LJ_MUST_USE;
/* The most bytes that statistics read, by all ranks together; for tests to lower. */
extern int64_t lj_statistics_bytes_max;

#endif
