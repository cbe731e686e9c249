/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. store: all files but archives and a run's logs. Checkpoints (HDF5, independent
 * of the number of ranks) and where a run keeps them, files of embeddings, single arrays,
 * safetensors.
 *
 * All functions are local; of several ranks, rank 0 calls them, unless it is said otherwise. A file
 * appears whole or not at all: it is written under a temporary name, synced and renamed. */
#ifndef LEJEPA_STORE_STORE_H
#define LEJEPA_STORE_STORE_H

#include "base/base.h"
#include "nn/nn.h"

#include <jansson.h>

enum { LJ_PATH_MAX = 4096 }; /* bytes of a path, with its NUL */

/* ---- checkpoints --------------------------------------------------------------------------------
 *
 *     /weights/<name>                       float32, by timm's names
 *     /optim/moment1/<name>, moment2/<name> float32, state of AdamW, if it was written
 *     /average/<name>                       float32, running average of the weights, if the run
 *                                           keeps one
 *     /objective/<name>                     float32, what the objective carries from step to step,
 *                                           such as a centre, if it has something
 *     /data/mean, std, least, most          float32 (channels); older files lack the last two
 *     /data/low, high                       float32 (channels), limits of data.stretch, if it has
 *                                           any; older files lack those of asinh
 *     attributes of /                       format, format_version, step, seed, tensors, moments,
 *                                           average (from version 2 on), objective (from version 3
 *                                           on), config (YAML), provenance (JSON), checksum, xxh3
 *
 * A file has the least format_version that has room for what it holds: 3 with arrays of the
 * objective, else 2 with an average, else 1.
 *
 * Every dataset has attributes role, description and xxh3, the XXH3-64 of its bytes; the xxh3 of /
 * covers the attributes of /. */

/* What a checkpoint holds. All arrays but those of the objective are laid out like params;
 * everything is borrowed. */
struct lj_checkpoint {
    const struct lj_params *params;
    int64_t step; /* finished steps */
    int64_t seed;
    const char *config;     /* YAML text */
    const char *provenance; /* JSON text */
    const float *weights;
    const float *moment1; /* NULL: written without the optimiser's state */
    const float *moment2;
    const float *average; /* NULL: the run keeps none */
    int states;
    const struct lj_state_array *state; /* (states) of the objective */
    int channels;
    const float *mean, *std;   /* (channels) of the pixels */
    const float *least, *most; /* (channels) their range; NULL: not known */
    const float *low, *high;   /* (channels) limits of data.stretch; NULL: it has none */
};

/* Writes the step's file into dir, which is made if its parent exists; then removes what is
 * older than the newest `keep` good checkpoints of dir. From any thread, one at a time; the HDF5
 * lock is free again and again meanwhile. Local. Errors: LJ_ERR_RESOURCE (disk full, ...); then
 * nothing is left behind and nothing removed. */
int lj_checkpoint_write(const char *dir, const struct lj_checkpoint *checkpoint,
                        int keep) LJ_MUST_USE;

/* Checks the structure and every checksum. Local. Errors: LJ_ERR_CHECKPOINT, LJ_ERR_RESOURCE. */
int lj_checkpoint_verify(const char *path) LJ_MUST_USE;

/* What a checkpoint says of itself, without its weights. */
struct lj_checkpoint_header {
    int64_t step, seed;
    bool has_average;
    char *config, *provenance; /* owned */
    int channels;
    float *mean, *std;   /* (channels) owned */
    float *least, *most; /* (channels) owned; NULL in checkpoints that do not hold them */
    float *low, *high;   /* (channels) owned; NULL where the file has none */
    char pixels[8];      /* type of the archive's elements, as in struct lj_archive_info; "" in
                          checkpoints that do not say it */
};
/* Local. Errors: LJ_ERR_CHECKPOINT, LJ_ERR_RESOURCE; then there is nothing to free. */
int lj_checkpoint_read_header(const char *path, struct lj_checkpoint_header *header) LJ_MUST_USE;
void lj_checkpoint_header_free(struct lj_checkpoint_header *header);

/* What a checkpoint is read into: arrays laid out like params, borrowed; NULL: not wanted. */
struct lj_checkpoint_arrays {
    float *weights, *moment1, *moment2;
    float *average;   /* left as it is where the file has none */
    bool has_average; /* out */
    int states;
    const struct lj_state_array *state; /* (states) of the objective; with any, the file must have
                                           these and no others */
};
/* Reads them. Names and shapes must match exactly; checksums are checked. Local.
 * Errors: LJ_ERR_CHECKPOINT, naming the tensor, what was expected and what was found. */
int lj_checkpoint_read(const char *path, const struct lj_params *params,
                       struct lj_checkpoint_arrays *arrays) LJ_MUST_USE;

/* The same without the tensors whose names begin with a prefix, in params and in the file: their
 * weights stay as they are. Local. Errors: likewise.
 *   left  in  the prefix */
int lj_checkpoint_read_without(const char *path, const struct lj_params *params, const char *left,
                               float *weights) LJ_MUST_USE;

/* ---- where checkpoints lie ----------------------------------------------------------------------
 *
 * A run directory RUN keeps them as RUN/checkpoints/step-NNNNNNNNN.h5, with nine digits of the step
 * or more. A user may name a file, a run directory, or a directory of checkpoints. */

/* RUN/checkpoints, whether it exists or not. Local. Errors: LJ_ERR_RESOURCE (path too long). */
int lj_checkpoint_directory(const char *run, char dir[LJ_PATH_MAX]) LJ_MUST_USE;

/* The file of a step in a directory of checkpoints. Local. Errors: LJ_ERR_RESOURCE
 * (path too long). */
int lj_checkpoint_path(const char *dir, int64_t step, char path[LJ_PATH_MAX]) LJ_MUST_USE;

/* The newest good one of a directory of checkpoints. It is verified, older ones only by size and
 * header; damaged ones are warned about by name. Local.
 *   path  out  "" when there is none, or no such directory
 * Errors: LJ_ERR_CHECKPOINT when there are some, but none is good. */
int lj_checkpoint_newest(const char *dir, char path[LJ_PATH_MAX]) LJ_MUST_USE;

/* The one of the last step, good or not. Local.
 *   path  out  as for lj_checkpoint_newest */
int lj_checkpoint_last(const char *dir, char path[LJ_PATH_MAX]) LJ_MUST_USE;

/* lj_checkpoint_newest and lj_checkpoint_read in one, so that each file is read once.
 *   where  in   a checkpoint, or a directory of them: its newest good one
 *   path   out  the file that was read, or is good and does not fit params; "" when none is good
 * Errors: those of both; the arrays are unspecified then. */
int lj_checkpoint_load(const char *where, const struct lj_params *params,
                       struct lj_checkpoint_arrays *arrays, char path[LJ_PATH_MAX]) LJ_MUST_USE;

/* The one file that a user means: `where` itself, or the newest good one of a directory. A file is
 * not looked at. Local. Errors: LJ_ERR_CHECKPOINT when a directory holds none. */
int lj_checkpoint_resolve(const char *where, char path[LJ_PATH_MAX]) LJ_MUST_USE;

/* All files that a user means: `where` itself, or those of a directory, oldest first. They are
 * not looked at. */
struct lj_checkpoint_list {
    int64_t count;
    char (*path)[LJ_PATH_MAX]; /* (count) owned */
};
/* Local. Errors: LJ_ERR_CHECKPOINT when a directory holds none, LJ_ERR_RESOURCE; then there is
 * nothing to free. */
int lj_checkpoint_list(const char *where, struct lj_checkpoint_list *list) LJ_MUST_USE;
void lj_checkpoint_list_free(struct lj_checkpoint_list *list);

/* ---- embeddings and arrays --------------------------------------------------------------- */

/* Where the rows of a file of embeddings come from, as far as it says so. */
struct lj_embeddings_source {
    char *archive;          /* data.archive, owned; NULL: not said */
    char *fingerprint;      /* of the archive, owned; NULL: not said */
    int64_t layers;         /* of the encoder, whose features they are: 1 or 2 */
    char *weights;          /* of the encoder: "last" or "average", owned; NULL: not said */
    char *weights_hash;     /* of them, owned; NULL: not said, or the features are none of theirs */
    int64_t parts;          /* datasets of the archive; 0: not said */
    int64_t *first_row;     /* (parts) ascending: row of the archive; owned, as the others */
    int64_t *rows;          /* (parts) */
    uint64_t *fingerprints; /* (parts) as in struct lj_archive_part */
};

/* A file of embeddings: datasets embeddings (N, C) float32 and, when known, labels (N) int32 and
 * row (N) int64, the row of the archive. Which dataset of which file that is, say /parts/first_row,
 * rows, fingerprint, file and dataset (parts); what made them, the attribute provenance (JSON). */
struct lj_embeddings {
    int64_t rows, width;
    float *values;   /* (rows, width) owned; NULL when not read */
    int32_t *labels; /* (rows) owned, NULL when absent */
    int64_t *row;    /* (rows) owned, NULL when absent */
    struct lj_embeddings_source source;
};
/* Reads all of a file but the values: their shape, labels and rows; any integer type is converted,
 * labels may also be whole numbers of any float type. Local.
 *   unlabelled  in  the label that is read as -1, as NaN is; NULL: only NaN is
 * Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE; then there is nothing to free. */
int lj_embeddings_read_index(const char *path, const double *unlabelled,
                             struct lj_embeddings *embeddings) LJ_MUST_USE;
/* Reads the values of some rows; any integer or float type is converted. Local; any rank may.
 *   width       in   as in the index
 *   first, end  in   rows [first, end)
 *   values      out  (end - first, width) owned by the caller: lj_free
 * Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE; then there is nothing to free. */
int lj_embeddings_read_values(const char *path, int64_t width, int64_t first, int64_t end,
                              float **values) LJ_MUST_USE;
void lj_embeddings_free(struct lj_embeddings *embeddings);
/* Writes a whole file, without its source. Local. Errors: LJ_ERR_RESOURCE. */
int lj_embeddings_write(const char *path, const struct lj_embeddings *embeddings,
                        const char *provenance) LJ_MUST_USE;

/* A dataset of the archive whose rows are embedded. */
struct lj_embeddings_part {
    const char *file, *dataset;
    int64_t first_row, rows; /* as in struct lj_embeddings_source */
    uint64_t fingerprint;
};
/* What a file of embeddings shall hold. Everything is borrowed. */
struct lj_embeddings_layout {
    int64_t rows, width;
    int64_t views;        /* V > 0: instead of embeddings, the dataset projections (V, N, width) */
    int64_t global_views; /* of them: its attribute of that name */
    bool labels, row;     /* whether it has these datasets */
    const char *provenance; /* JSON object that says what made the embeddings; its members archive,
                               archive_fingerprint, features, layers, weights and weights_xxh3 are
                               read back */
    int64_t parts;          /* 0: not known */
    const struct lj_embeddings_part *part; /* (parts) in the order of rows */
};
/* The same in parts: create, put rows in order, now and then sync; then close or abandon. The HDF5
 * lock is free between the calls, so that archives can be read meanwhile; one such file at a time.
 *
 * An unfinished file lies beside path, as dir/.name.tmp, with a note of its rows on disk,
 * dir/.name.rows. When its writer was killed, the next one goes on if the layout is the same, names
 * of files in its provenance ("checkpoint", "archive") apart; else it starts anew and says why.
 * Local. Errors: LJ_ERR_RESOURCE: not writable, or being written by another process.
 *   file  out  also after a failure, to be abandoned; NULL when it could not be created
 *   done  out  rows that are there already; NULL: start anew, and let nothing be continued */
struct lj_embeddings_file;
int lj_embeddings_create(struct lj_embeddings_file **file, const char *path,
                         const struct lj_embeddings_layout *layout, int64_t *done) LJ_MUST_USE;
/* Rows [first, first + count): values (count, width), or (count, V, width), labels and row (count),
 * NULL where the file has none. Local. Errors: LJ_ERR_RESOURCE (disk full). */
int lj_embeddings_put(struct lj_embeddings_file *file, int64_t first, int64_t count,
                      const float *values, const int32_t *labels, const int64_t *row) LJ_MUST_USE;
/* Makes the first `rows` rows last through a crash; not for a file created with done NULL. Local.
 * Errors: LJ_ERR_RESOURCE. */
int lj_embeddings_sync(struct lj_embeddings_file *file, int64_t rows) LJ_MUST_USE;
/* Publishes the whole file. Local. Errors: LJ_ERR_RESOURCE; then nothing is left. */
int lj_embeddings_close(struct lj_embeddings_file *file) LJ_MUST_USE;
/* After a failure: keeps the unfinished file, if rows of it were synced and the disk has refused
 * nothing, else removes it. Accepts NULL. Local. Returns the rows kept. */
int64_t lj_embeddings_abandon(struct lj_embeddings_file *file);

/* Reads a dataset of any integer or float type as float32. Local.
 *   optional  in  absence is no error: *values NULL
 *   dims      in: room in dim, at most 3; out: number of dimensions
 *   values    out owned by the caller: lj_free
 * Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE. */
int lj_array_read(const char *path, const char *dataset, bool optional, int *dims, int64_t dim[3],
                  float **values) LJ_MUST_USE;
/* An array (V, N, D) of V views, or (N, C) of one. */
struct lj_array_shape {
    bool found; /* false: there is no such dataset */
    int64_t views, rows, width;
    int64_t global_views; /* its first so many views, by its attribute; 0: not said */
};
#define LJ_ARRAY_GLOBAL_VIEWS "global_views" /* name of that attribute */
/* Finds such a dataset of any integer or float type. Local.
 *   optional  in  absence is no error: found is false
 * Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE. */
int lj_array_find_rows(const char *path, const char *dataset, bool optional,
                       struct lj_array_shape *shape) LJ_MUST_USE;
/* Reads rows [first, end) of all its views as float32. Local; any rank may.
 *   values  out  (end - first, V, D) owned by the caller: lj_free
 * Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE; then there is nothing to free. */
int lj_array_read_rows(const char *path, const char *dataset, int64_t first, int64_t end,
                       float **values) LJ_MUST_USE;

/* Writes a new file with one dataset (V, N, D) float32 by rows, in any order. The HDF5 lock is free
 * between the calls; one such file at a time. Local. Errors: LJ_ERR_RESOURCE.
 *   file  out  also after a failure, for lj_array_finish; NULL when it could not be created */
struct lj_array_file;
int lj_array_create(struct lj_array_file **file, const char *path, const char *dataset,
                    const struct lj_array_shape *shape, const char *description) LJ_MUST_USE;
/* Rows [first, first + count) of all views: values (count, V, D). */
int lj_array_put_rows(struct lj_array_file *file, int64_t first, int64_t count,
                      const float *values) LJ_MUST_USE;
/* Publishes the file if it is whole, else removes it: then no error, and its text stays. Accepts
 * NULL. */
int lj_array_finish(struct lj_array_file *file, bool whole) LJ_MUST_USE;

/* ---- safetensors ------------------------------------------------------------------------- */

/* Writes the parameters as float32 tensors by their names. Local.
 *   skip_prefix  in  parameters whose name starts so are left out; NULL: none
 *   metadata     in  a JSON object of strings, or NULL
 * Errors: LJ_ERR_RESOURCE; LJ_ERR_CHECKPOINT when metadata is something else. */
int lj_safetensors_write(const char *path, const struct lj_params *params, const float *weights,
                         const char *skip_prefix, const char *metadata) LJ_MUST_USE;

/* Reads tensors of type F32, F16 or BF16 into weights. Tensors that are no parameter are listed in
 * one warning. Hostile files are safe: length of the header, JSON, types, shapes and offsets are
 * checked. Local.
 *   optional_prefix  in   parameters whose name starts so may be missing, all of them together; any
 *                         other must be there, with its shape. NULL: none may be missing
 *   weights          out  what is missing is left as it is
 *   whole            out  nothing was missing
 * Errors: LJ_ERR_CHECKPOINT, LJ_ERR_RESOURCE. */
int lj_safetensors_read(const char *path, const struct lj_params *params,
                        const char *optional_prefix, float *weights, bool *whole) LJ_MUST_USE;

/* How weights of timm are made to fit where the encoder takes other images than they were trained
 * on. Names are timm's. */
struct lj_adaption {
    const char *first_conv; /* convolution of the images; "": none */
    const char *classifier; /* linear layer whose tensors are left out unless they are parameters */
    int64_t prefix;         /* tokens before those of patches */
};
/* As lj_safetensors_read, for weights of timm's encoders:
 *   - the first convolution for other channels than ours: their sum for one channel; for more, they
 *     are repeated as far as needed, times theirs / ours
 *   - pos_embed of another grid: resampled, tokens before the patches as they are, or zero where
 *     the file has positions of patches only
 *   - attn.qkv.bias missing in all blocks: zero
 *   - layer scale (ls1.gamma, ls2.gamma) is multiplied into the layer before it
 * Log lines tell what was done. Tensors that have no place are refused, except for the classifier
 * and counts of batches.
 *   leave     in  leave the parameters of optional_prefix as they are, whatever the file has
 *   adaption  in  NULL: none of this; every tensor has to fit, and others are warned of */
int lj_safetensors_read_adapted(const char *path, const struct lj_params *params,
                                const char *optional_prefix, bool leave,
                                const struct lj_adaption *adaption, float *weights,
                                bool *whole) LJ_MUST_USE;

/* ---- timm's configuration ---------------------------------------------------------------- */

/* What an export says for timm. mean and std are for images in timm's units, 0..1: the pixels as
 * stored, divided by `divisor`, then stretched. */
struct lj_timm_config {
    const char *architecture; /* function of timm; "": it has none */
    const char *arguments;    /* of that function, a JSON object; "": none */
    const char *pool;         /* "token", "avg" */
    const char *first_conv, *classifier;
    int64_t features, classes; /* width before the classifier; of the classifier, 0: none */
    int64_t size;              /* pixels of an image, size x size */
    bool any_size;             /* the encoder takes others, too, without being told */
    int channels;
    const double *mean, *std; /* (channels) */
    const double *low,
        *high;           /* (channels) limits of the stretch, of the pixels divided by `divisor`;
                                 NULL: it has none, or they are not known */
    const char *pixels;  /* type of the archive's elements; "": not known */
    const char *stretch; /* data.stretch */
    double divisor;      /* 0: not known */
    int64_t step;
};

/* The configuration as a JSON object of strings for lj_safetensors_write. Local. Returns text owned
 * by the caller (lj_free); NULL: LJ_ERR_RESOURCE. */
char *lj_timm_metadata(const struct lj_timm_config *config);

/* May config.json be written beside the file path? Local. Errors: LJ_ERR_CONFIG when there is one
 * that this program did not write. */
int lj_timm_check_place(const char *path) LJ_MUST_USE;

/* Writes config.json beside the file path. Local. Errors: LJ_ERR_RESOURCE. */
int lj_timm_write(const char *path, const struct lj_timm_config *config) LJ_MUST_USE;

/* Compares what a safetensors file, or the config.json beside it, says of its encoder with the
 * arguments of ours, as far as it says it: some do not show in shapes. Local.
 *   adapted  in  by lj_safetensors_read_adapted: only those that do not show in shapes count, and
 *                the file may have no argument whose meaning is not known here
 * Errors: LJ_ERR_CHECKPOINT, naming the first that differs. */
int lj_timm_check_arguments(const char *path, const char *arguments, bool adapted) LJ_MUST_USE;

/* What a safetensors file and its configuration say of the encoder. */
struct lj_timm_encoder {
    char from[LJ_PATH_MAX];   /* the file itself, or the config.json beside it */
    char architecture[64];    /* function of timm; "": not said */
    char pool[16];            /* "token", "avg", or another; "": not said */
    int64_t heads, size;      /* attention heads; pixels of a side; 0: not said, nor by pos_embed */
    bool oblong;              /* its images are not square */
    bool ours;                /* written by this program */
    struct lj_tensor *tensor; /* (tensors) owned */
    int64_t tensors;
};
/* Reads it. Local.
 *   encoder  out  owned by the caller: lj_timm_encoder_free, also after a failure
 * Errors: LJ_ERR_CHECKPOINT, LJ_ERR_RESOURCE. */
int lj_timm_read_encoder(const char *path, struct lj_timm_encoder *encoder) LJ_MUST_USE;
void lj_timm_encoder_free(struct lj_timm_encoder *encoder);

/* What a safetensors file says of pixels, in timm's units. */
struct lj_timm_pixels {
    bool found;
    int64_t others; /* not found, since they are of so many other channels; 0: they are not */
    char from[LJ_PATH_MAX]; /* the file itself, or the config.json beside it */
    bool ours;              /* of pixels as this program reads them; else they are in 0..1 */
    char stretch[32];       /* data.stretch that mean and std come after */
    double *mean, *std;     /* (channels) the caller provides the arrays */
    bool has_limits;        /* the file says the limits of the stretch */
    double *low, *high;     /* (channels) likewise: its limits, as in struct lj_timm_config */
};
/* Reads it from the metadata of a safetensors file, else from the config.json beside it, be they of
 * this program or of timm. Numbers of another count of channels are taken if they are the same for
 * all of them. Local.
 *   channels  in      of the images
 *   pixels    in/out  the arrays in; the rest out
 * Errors: LJ_ERR_CHECKPOINT: damaged; LJ_ERR_RESOURCE. */
int lj_timm_read(const char *path, int channels, struct lj_timm_pixels *pixels) LJ_MUST_USE;

/* ---- plain files -------------------------------------------------------------------------- */

/* Writes a file of these bytes. Local. Errors: LJ_ERR_RESOURCE; nothing is left then. */
int lj_file_write(const char *path, const void *bytes, size_t count) LJ_MUST_USE;

/* Refuses to write over what is read: out, if it exists, must be another file than input, by
 * whatever names. Local. Errors: LJ_ERR_CONFIG, naming out=. */
int lj_file_spare(const char *out, const char *input) LJ_MUST_USE;

/* Writes a JSON value as indented text. Local.
 *   value   in  NULL, which jansson gives when it has no memory, is an error
 *   digits  in  of numbers, at most; 17: exact
 * Errors: LJ_ERR_RESOURCE. */
int lj_json_write(const char *path, const json_t *value, int digits) LJ_MUST_USE;

/* Writes a picture as PNG. Local.
 *   rgb  in  (height, width, 3) red, green, blue, 0..255
 * Errors: LJ_ERR_RESOURCE, also for a picture too large for one piece of compressed data, 2 GiB. */
int lj_png_write(const char *path, int64_t width, int64_t height,
                 const unsigned char *rgb) LJ_MUST_USE;

/* ---- weights of either kind of file ------------------------------------------------------ */

/* Where weights came from. */
struct lj_weights_source {
    char file[LJ_PATH_MAX];
    bool checkpoint; /* else safetensors */
    bool whole;      /* the parameters of optional_prefix were read, too */
    uint64_t xxh3;   /* XXH3-64 of the file's bytes */
};
/* Reads the weights of a checkpoint, not their average, which must have exactly these parameters,
 * or of a safetensors file. The file's first bytes decide which it is. A classifier of a checkpoint
 * (its provenance has `classes`) is not read, as if the parameters of optional_prefix were missing.
 * Local.
 *   where            in   file, or a directory as for lj_checkpoint_resolve
 *   optional_prefix  in   as for lj_safetensors_read
 *   leave            in   leave the parameters of optional_prefix as they are
 *   adaption         in   as for lj_safetensors_read_adapted; NULL: every tensor has to fit
 *   source           out  unspecified after a failure
 * Errors: those of lj_checkpoint_read and lj_safetensors_read. */
int lj_weights_read(const char *where, const struct lj_params *params, const char *optional_prefix,
                    bool leave, const struct lj_adaption *adaption, float *weights,
                    struct lj_weights_source *source) LJ_MUST_USE;

#endif
