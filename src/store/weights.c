/* SPDX-License-Identifier: Apache-2.0 */
/* Weights out of whatever file a user has. Its first bytes say what it is, not its name: an HDF5
 * file is a checkpoint, anything else is read as safetensors, which checks itself. */
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { BLOCK = 1 << 16 };

/* Adds all bytes of the file to state; first receives the first ones. */
static int add_file(XXH3_state_t *state, const char *path, unsigned char first[8])
{
    unsigned char block[BLOCK] = {0};
    FILE *file = fopen(path, "rbe");
    if (!file)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: %s; expected a checkpoint or a safetensors file",
                       path, strerror(errno));
    size_t count = fread(block, 1, BLOCK, file);
    memcpy(first, block, 8);
    for (; count > 0; count = fread(block, 1, BLOCK, file)) {
        lj_progress();
        XXH3_64bits_update(state, block, count);
    }
    bool good = !ferror(file);
    int reason = errno;
    fclose(file);
    return good ? LJ_OK
                : lj_fail(LJ_ERR_CHECKPOINT, "%s: cannot be read: %s", path, strerror(reason));
}

static int identify(struct lj_weights_source *source)
{
    static const unsigned char hdf5[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char first[8] = {0};
    XXH3_state_t *state = XXH3_createState();
    LJ_CHECK(state, "no memory for a checksum");
    XXH3_64bits_reset(state);
    int status = add_file(state, source->file, first);
    source->xxh3 = XXH3_64bits_digest(state);
    source->checkpoint = memcmp(first, hdf5, sizeof hdf5) == 0;
    XXH3_freeState(state);
    return status;
}

/* Is the projector of a checkpoint a classifier, whose classes mean nothing to other runs? */
static int has_classifier(const char *path, bool *classifier)
{
    struct lj_checkpoint_header header;
    LJ_TRY(lj_checkpoint_read_header(path, &header));
    json_t *provenance = json_loads(header.provenance, 0, NULL);
    *classifier = json_object_get(provenance, "classes") != NULL;
    json_decref(provenance);
    lj_checkpoint_header_free(&header);
    return LJ_OK;
}

static int read_checkpoint(struct lj_weights_source *source, const struct lj_params *params,
                           const char *optional_prefix, bool leave, float *weights)
{
    bool classifier = false;
    if (optional_prefix && !leave)
        LJ_TRY(has_classifier(source->file, &classifier));
    source->whole = !leave && !classifier;
    struct lj_checkpoint_arrays arrays = {.weights = weights};
    if (source->whole)
        return lj_checkpoint_read(source->file, params, &arrays);
    return lj_checkpoint_read_without(source->file, params, optional_prefix, weights);
}

int lj_weights_read(const char *where, const struct lj_params *params, const char *optional_prefix,
                    bool leave, const struct lj_adaption *adaption, float *weights,
                    struct lj_weights_source *source)
{
    *source = (struct lj_weights_source){.whole = true};
    LJ_TRY(lj_checkpoint_resolve(where, source->file));
    LJ_TRY(identify(source));
    if (source->checkpoint)
        return read_checkpoint(source, params, optional_prefix, leave, weights);
    return lj_safetensors_read_adapted(source->file, params, optional_prefix, leave, adaption,
                                       weights, &source->whole);
}
