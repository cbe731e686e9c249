/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. store: checkpoints (one HDF5 file, independent of the rank count) and safetensors.
 *
 * Checkpoint layout: /weights/<timm name> float32 with attributes (role, description);
 * /optim/moment1/<name>, /optim/moment2/<name>; attributes on /: format, format_version, step, seed,
 * config (YAML), provenance (JSON), checksum algorithm; dataset /data/mean, /data/std float32. */
#ifndef LEJEPA_STORE_STORE_H
#define LEJEPA_STORE_STORE_H

#include "base/base.h"
#include "comm/comm.h"
#include "nn/nn.h"

enum { LJ_PATH_MAX = 4096 };

/* What a checkpoint holds. All arrays laid out like params. */
struct lj_checkpoint {
    const struct lj_params *params;
    int64_t step; /* finished steps */
    int64_t seed;
    const char *config;     /* YAML text */
    const char *provenance; /* JSON text */
    const float *weights;
    const float *moment1; /* NULL when written without optimiser state */
    const float *moment2;
    int channels;
    const float *mean, *std; /* (channels) of the pixels */
};

/* Writes dir/step-%09d.h5: temporary name, flush, fsync, XXH3-64 checksums of each dataset's bytes
 * kept as attribute `xxh3`, rename, directory fsync; then removes all but the newest `keep`.
 * Local (rank 0). Errors: LJ_ERR_RESOURCE (disk full ...): the temporary file is removed. */
int lj_checkpoint_write(const char *dir, const struct lj_checkpoint *checkpoint,
                        int keep) LJ_MUST_USE;

/* Newest checkpoint of dir that verifies; damaged ones are warned about by name. Local (rank 0).
 *   path  out  "" when there is none. Errors: none good although some exist: LJ_ERR_CHECKPOINT. */
int lj_checkpoint_newest(const char *dir, char path[LJ_PATH_MAX]) LJ_MUST_USE;

/* Checks structure and every checksum. Local. Errors: LJ_ERR_CHECKPOINT. */
int lj_checkpoint_verify(const char *path) LJ_MUST_USE;

/* The head: texts and numbers, without weights. Strings are owned by header until _free. Local. */
struct lj_checkpoint_header {
    int64_t step, seed;
    char *config, *provenance;
    int channels;
    float *mean, *std;
};
int lj_checkpoint_read_header(const char *path, struct lj_checkpoint_header *header) LJ_MUST_USE;
void lj_checkpoint_header_free(struct lj_checkpoint_header *header);

/* Reads into arrays laid out like params; moments may be NULL (not wanted). Names and shapes must
 * match exactly. Local; checks checksums. Errors: LJ_ERR_CHECKPOINT naming tensor, expected, found. */
int lj_checkpoint_read(const char *path, const struct lj_params *params, float *weights,
                       float *moment1, float *moment2) LJ_MUST_USE;

/* ---- result files ---------------------------------------------------------------------------------- */

/* An HDF5 file that appears whole or not at all, for results of other modules:
 *
 *     LJ_TRY(lj_hdf5_create(&file, path));          takes the HDF5 lock
 *     bool good = H5Dwrite(... file.id ...) >= 0;
 *     return lj_hdf5_finish(&file, good);           closes, releases the lock, publishes or removes
 *
 * A file written in parts lets go of the lock in between, so that archives can be read:
 *     status = lj_hdf5_pause(&file, good);  ...  lj_hdf5_resume(&file);
 * No other file may be created meanwhile. */
struct lj_hdf5_file {
    int64_t id; /* HDF5's hid_t */
    char path[LJ_PATH_MAX], temporary[LJ_PATH_MAX];
};

/* Creates the file under a temporary name beside path, and holds the HDF5 lock until finish. A full
 * disk is remembered, not reported, until then. Local. Errors: LJ_ERR_RESOURCE (lock released). */
int lj_hdf5_create(struct lj_hdf5_file *file, const char *path) LJ_MUST_USE;

/* Releases the lock while the file stays open. Local. Errors: LJ_ERR_RESOURCE when not good, or when
 * the disk has refused something so far: finish with good false then (lock released, too). */
int lj_hdf5_pause(struct lj_hdf5_file *file, bool good) LJ_MUST_USE;
/* Takes the lock again, for more writing or for finish. Local. */
void lj_hdf5_resume(struct lj_hdf5_file *file);

/* Closes; if good and nothing failed, fsync and rename to path; else the temporary file is removed.
 * Local. Errors: LJ_ERR_RESOURCE. */
int lj_hdf5_finish(struct lj_hdf5_file *file, bool good) LJ_MUST_USE;

/* A text attribute (fixed-length UTF-8) of a file, group or dataset. Under the lock. */
bool lj_hdf5_put_text(int64_t object, const char *name, const char *text) LJ_MUST_USE;

/* ---- safetensors ---------------------------------------------------------------------------------- */

/* Writes the parameters as float32 tensors with their names; those whose name starts with
 * skip_prefix (may be NULL) are left out. metadata is a JSON object of strings or NULL. Atomic by
 * temporary name and rename. Local. */
int lj_safetensors_write(const char *path, const struct lj_params *params, const float *weights,
                         const char *skip_prefix, const char *metadata) LJ_MUST_USE;

/* Reads F32, F16 or BF16 tensors into weights. Every parameter whose name does not start with
 * optional_prefix must be there with its shape; tensors nobody asks for are listed in one warning.
 * Hostile files are safe: header length, JSON, dtype, shape, offsets (in order, no overlap, inside
 * the file) are all checked. Local. Errors: LJ_ERR_CHECKPOINT. */
int lj_safetensors_read(const char *path, const struct lj_params *params,
                        const char *optional_prefix, float *weights) LJ_MUST_USE;

#endif
