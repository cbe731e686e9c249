/* SPDX-License-Identifier: Apache-2.0 */
/* The attributes of / of a checkpoint, written and read. */
#include "store/checkpoint/checkpoint.h"
#include "store/hdf5/hdf5.h"

#include <string.h>
#include <xxhash.h>

#define FORMAT "lejepa_mpi checkpoint"
#define CHECKSUM                                                            \
    "XXH3-64 of each dataset's bytes; on / of format_version, step, seed, " \
    "tensors, moments (int64), format, config, provenance (with NUL)"
enum { VERSION = 1 };

/* As CHECKSUM says. */
static uint64_t hash_of(const struct lj_checkpoint_attributes *a)
{
    const int64_t numbers[] = {VERSION, a->step, a->seed, a->tensors, a->moments};
    XXH3_state_t *state = XXH3_createState();
    LJ_CHECK(state, "no memory for a checksum");
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, numbers, sizeof numbers);
    XXH3_64bits_update(state, FORMAT, sizeof FORMAT);
    XXH3_64bits_update(state, a->config, strlen(a->config) + 1);
    XXH3_64bits_update(state, a->provenance, strlen(a->provenance) + 1);
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

bool lj_checkpoint_put_attributes(hid_t file, const struct lj_checkpoint_attributes *a)
{
    return lj_hdf5_put_text(file, "format", FORMAT) &&
           lj_hdf5_put_i64(file, "format_version", VERSION) &&
           lj_hdf5_put_i64(file, "step", a->step) && lj_hdf5_put_i64(file, "seed", a->seed) &&
           lj_hdf5_put_i64(file, "tensors", a->tensors) &&
           lj_hdf5_put_i64(file, "moments", a->moments) &&
           lj_hdf5_put_text(file, "config", a->config) &&
           lj_hdf5_put_text(file, "provenance", a->provenance) &&
           lj_hdf5_put_text(file, "checksum", CHECKSUM) &&
           lj_hdf5_put_u64(file, "xxh3", hash_of(a));
}

int lj_checkpoint_damaged(const char *path, const char *what, const char *name)
{
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: %s%s is missing or damaged; use another checkpoint (`lejepa_mpi checkpoint "
                   "verify` tells which are good)",
                   path, what, name);
}

static int check_format(hid_t file, const char *path)
{
    char *format = NULL;
    int64_t version = 0;
    bool good = lj_hdf5_get_text(file, "format", &format) && strcmp(format, FORMAT) == 0 &&
                lj_hdf5_get_i64(file, "format_version", &version);
    lj_free(format);
    if (!good)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: not a checkpoint of lejepa_mpi: attribute format is not \"%s\"", path,
                       FORMAT);
    if (version != VERSION)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: format_version is %lld, this program reads %d; use the version of the "
                       "program that wrote it",
                       path, (long long)version, (int)VERSION);
    return LJ_OK;
}

int lj_checkpoint_get_attributes(hid_t file, const char *path, struct lj_checkpoint_attributes *a,
                                 char **config, char **provenance)
{
    uint64_t hash = 0;
    *config = *provenance = NULL;
    LJ_TRY(check_format(file, path));
    if (!lj_hdf5_get_i64(file, "step", &a->step) || !lj_hdf5_get_i64(file, "seed", &a->seed) ||
        !lj_hdf5_get_i64(file, "tensors", &a->tensors) ||
        !lj_hdf5_get_i64(file, "moments", &a->moments) ||
        !lj_hdf5_get_text(file, "config", config) ||
        !lj_hdf5_get_text(file, "provenance", provenance) || !lj_hdf5_get_u64(file, "xxh3", &hash))
        return lj_checkpoint_damaged(path, "an attribute of /", "");
    a->config = *config;
    a->provenance = *provenance;
    if (hash != hash_of(a))
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: the attributes of / do not have their checksum; use another checkpoint",
                       path);
    return LJ_OK;
}
