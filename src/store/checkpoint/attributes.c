/* SPDX-License-Identifier: Apache-2.0 */
/* The attributes of / of a checkpoint, written and read. */
#include "store/checkpoint/checkpoint.h"
#include "store/hdf5/hdf5.h"

#include <string.h>
#include <xxhash.h>

#define FORMAT "lejepa_mpi checkpoint"
#define CHECKSUM                                                                                 \
    "XXH3-64 of each dataset's bytes; on / of format_version, step, seed, "                      \
    "tensors, moments, from version 2 on average, from version 3 on objective (int64), format, " \
    "config, provenance (with NUL)"
enum { VERSION_PLAIN = 1, VERSION_AVERAGE = 2, VERSION_OBJECTIVE = 3 };

/* The least that has room for what the file holds, so that older programs read what they can. */
static int64_t version_of(const struct lj_checkpoint_attributes *a)
{
    if (a->objective > 0)
        return VERSION_OBJECTIVE;
    return a->average ? VERSION_AVERAGE : VERSION_PLAIN;
}

/* As CHECKSUM says. */
static uint64_t hash_of(const struct lj_checkpoint_attributes *a)
{
    const int64_t version = version_of(a);
    const int64_t numbers[] = {version,    a->step,    a->seed,     a->tensors,
                               a->moments, a->average, a->objective};
    const size_t later = (size_t)(VERSION_OBJECTIVE - version); /* numbers of later versions */
    XXH3_state_t *state = XXH3_createState();
    LJ_CHECK(state, "no memory for a checksum");
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, numbers, sizeof numbers - later * sizeof *numbers);
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
           lj_hdf5_put_i64(file, "format_version", version_of(a)) &&
           lj_hdf5_put_i64(file, "step", a->step) && lj_hdf5_put_i64(file, "seed", a->seed) &&
           lj_hdf5_put_i64(file, "tensors", a->tensors) &&
           lj_hdf5_put_i64(file, "moments", a->moments) &&
           (version_of(a) < VERSION_AVERAGE || lj_hdf5_put_i64(file, "average", a->average)) &&
           (version_of(a) < VERSION_OBJECTIVE ||
            lj_hdf5_put_i64(file, "objective", a->objective)) &&
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

static int check_format(hid_t file, const char *path, int64_t *version)
{
    char *format = NULL;
    bool good = lj_hdf5_get_text(file, "format", &format) && strcmp(format, FORMAT) == 0 &&
                lj_hdf5_get_i64(file, "format_version", version);
    lj_free(format);
    if (!good)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: not a checkpoint of lejepa_mpi: attribute format is not \"%s\"", path,
                       FORMAT);
    if (*version < VERSION_PLAIN || *version > VERSION_OBJECTIVE)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: format_version is %lld, this program reads %d to %d; use the version "
                       "of the program that wrote it",
                       path, (long long)*version, (int)VERSION_PLAIN, (int)VERSION_OBJECTIVE);
    return LJ_OK;
}

int lj_checkpoint_get_attributes(hid_t file, const char *path, struct lj_checkpoint_attributes *a,
                                 char **config, char **provenance)
{
    uint64_t hash = 0;
    int64_t version = 0;
    *config = *provenance = NULL;
    a->average = a->objective = 0;
    LJ_TRY(check_format(file, path, &version));
    if (!lj_hdf5_get_i64(file, "step", &a->step) || !lj_hdf5_get_i64(file, "seed", &a->seed) ||
        !lj_hdf5_get_i64(file, "tensors", &a->tensors) ||
        !lj_hdf5_get_i64(file, "moments", &a->moments) ||
        (version >= VERSION_AVERAGE && !lj_hdf5_get_i64(file, "average", &a->average)) ||
        (version >= VERSION_OBJECTIVE && !lj_hdf5_get_i64(file, "objective", &a->objective)) ||
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
