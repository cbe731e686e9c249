/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints in which any dataset or attribute may be of another type, length or storage, hold
 * something else or be missing; with checksums that are right, where there are any. */
#include "fuzz_hdf5.h"
#include "store/checkpoint/checkpoint.h"
#include "store/hdf5/hdf5.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { ELEMENTS = 48, CHANNELS = 2, CENTRE = 7, HELD_MAX = 1024 };

static struct lj_param list[] = {
    {.name = "a", .dims = 2, .dim = {2, 3}, .count = 6, .offset = 0},
    {.name = "b.weight", .dims = 1, .dim = {4}, .count = 4, .offset = 16},
    {.name = "c", .dims = 0, .count = 1, .offset = 32},
};
enum { TENSORS = sizeof list / sizeof *list };
static const struct lj_params params = {
    .list = list, .count = TENSORS, .capacity = TENSORS, .elements = ELEMENTS};
static float values[ELEMENTS]; /* of every tensor of a good checkpoint */

/* ---- the file ---------------------------------------------------------------------------- */

/* The checksum of what the dataset holds, if that is little. */
static uint64_t hash_of(hid_t set)
{
    static float held[HELD_MAX];
    hid_t space = H5Dget_space(set);
    hssize_t count = H5Sget_simple_extent_npoints(space);
    H5Sclose(space);
    if (count < 0 || count > HELD_MAX ||
        H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, held) < 0)
        return 0;
    return XXH3_64bits(held, (size_t)count * sizeof *held);
}

/* Attribute xxh3, or another one, or none. */
static void put_checksum(struct fuzz_bytes *b, hid_t set)
{
    int change = fuzz_below(b, 16);
    uint64_t hash = hash_of(set) ^ (change == 15);
    LJ_CHECK(change == 14 || lj_hdf5_put_u64(set, "xxh3", hash), "xxh3");
}

static void put_tensor(struct fuzz_bytes *b, hid_t file, const char *group, const char *name,
                       int dims, const int64_t *extents)
{
    char path[1024]; /* the longest name and the group before it */
    hsize_t dim[LJ_DIMS_MAX];
    snprintf(path, sizeof path, "%s/%s", group, name);
    for (int i = 0; i < dims; i++)
        dim[i] = (hsize_t)extents[i];
    struct fuzz_dataset dataset = {path, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, dims, dim, values};
    hid_t set = fuzz_put(b, file, &dataset);
    if (set < 0)
        return;
    put_checksum(b, set);
    H5Dclose(set);
}

static void put_group(struct fuzz_bytes *b, hid_t file, const char *group)
{
    int surplus = fuzz_below(b, 16);
    for (int i = 0; i < TENSORS; i++)
        put_tensor(b, file, group, list[i].name, list[i].dims, list[i].dim);
    const int64_t four = 4;
    char name[LJ_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[surplus == 15 ? LJ_NAME_MAX - 1 : LJ_NAME_MAX] = 0;
    if (surplus >= 14)
        put_tensor(b, file, group, name, 1, &four);
    if (surplus == 13)
        put_tensor(b, file, group, "d/e", 1, &four);
}

static void put_pixels(struct fuzz_bytes *b, hid_t file)
{
    static const char *const names[] = {"mean", "std", "least", "most", "low", "high"};
    const int64_t channels = CHANNELS;
    for (int i = 0; i < 6; i++)
        put_tensor(b, file, "/data", names[i], 1, &channels);
}

/* None, one or two arrays of an objective. */
static void put_state(struct fuzz_bytes *b, hid_t file)
{
    const int64_t count = CENTRE;
    int arrays = fuzz_below(b, 4);
    if (arrays >= 1)
        put_tensor(b, file, "/objective", "centre", 1, &count);
    if (arrays == 3)
        put_tensor(b, file, "/objective", "other", 1, &count);
}

/* Those of / with their checksum, then perhaps one of them of another kind. */
static void put_attributes(struct fuzz_bytes *b, hid_t file)
{
    static const char *const names[] = {"format",  "format_version", "step",     "seed",
                                        "tensors", "moments",        "config",   "provenance",
                                        "xxh3",    "average",        "objective"};
    static const int64_t counts_of_arrays[] = {0, 0, 0, 0, 1, 1, 2, INT64_MAX};
    static const int64_t counts[] = {TENSORS, TENSORS + 1, 0, -1, INT64_MAX};
    const struct lj_checkpoint_attributes attributes = {
        .step = fuzz_byte(b) - 4,
        .seed = fuzz_byte(b),
        .tensors = counts[lj_max_i64(0, fuzz_below(b, 16) - 11)],
        .moments = fuzz_below(b, 4) != 3,
        .average = fuzz_below(b, 4) == 3,
        .config = fuzz_below(b, 4) == 3 ? "" : "seed: 1\n",
        .provenance = fuzz_below(b, 4) == 3 ? "{\"pixels\": 12" : "{\"pixels\": \"u8 and more\"}",
        .objective = counts_of_arrays[fuzz_below(b, 8)]};
    LJ_CHECK(lj_checkpoint_put_attributes(file, &attributes), "attributes");
    int which = fuzz_below(b, 64);
    if (which < 64 - 11)
        return;
    H5Adelete(file, names[which - (64 - 11)]);
    fuzz_put_text(b, file, names[which - (64 - 11)], "lejepa_mpi checkpoint");
}

static void make_file(struct fuzz_bytes *b, const char *path)
{
    hid_t file = fuzz_create(path);
    put_attributes(b, file);
    put_group(b, file, "/weights");
    if (fuzz_below(b, 4) != 3) {
        put_group(b, file, "/optim/moment1");
        put_group(b, file, "/optim/moment2");
    }
    if (fuzz_below(b, 4) != 3)
        put_group(b, file, "/average");
    put_pixels(b, file);
    put_state(b, file);
    H5Fclose(file);
}

/* ---- reading ----------------------------------------------------------------------------- */

/* Returns its status. */
static int read_header(const char *path)
{
    struct lj_checkpoint_header header;
    int status = lj_checkpoint_read_header(path, &header);
    fuzz_expect(status);
    if (status != LJ_OK)
        return status;
    const float *const arrays[] = {header.mean, header.std, header.least,
                                   header.most, header.low, header.high};
    for (int i = 0; i < 6; i++)
        if (arrays[i])
            fuzz_look(arrays[i], header.channels * (int64_t)sizeof(float));
    LJ_CHECK(memchr(header.pixels, 0, sizeof header.pixels) && header.config && header.provenance,
             "texts");
    lj_checkpoint_header_free(&header);
    return LJ_OK;
}

enum { UNTOUCHED = 0x5b };

/* Reads the weights or, with `moments`, all arrays; between the tensors nothing is written. Returns
 * the status. */
static int read_arrays(const char *path, bool moments)
{
    static float array[4][ELEMENTS];
    uint8_t untouched[sizeof array[0]];
    memset(array, UNTOUCHED, sizeof array);
    memset(untouched, UNTOUCHED, sizeof untouched);
    float centre[CENTRE + 1] = {[CENTRE] = 1};
    struct lj_state_array state = {.name = "centre", .count = CENTRE, .values = centre};
    struct lj_checkpoint_arrays arrays = {.states = moments,
                                          .state = &state,
                                          .weights = array[0],
                                          .moment1 = moments ? array[1] : NULL,
                                          .moment2 = moments ? array[2] : NULL,
                                          .average = moments ? array[3] : NULL};
    int status = lj_checkpoint_read(path, &params, &arrays);
    fuzz_expect(status);
    LJ_CHECK(centre[CENTRE] == 1, "written behind the state");
    for (int a = 0; a < 4; a++)
        for (int i = 0; i < TENSORS; i++) {
            int64_t end = list[i].offset + list[i].count;
            int64_t next = i + 1 < TENSORS ? list[i + 1].offset : ELEMENTS;
            LJ_CHECK(memcmp(array[a] + end, untouched, (size_t)(next - end) * sizeof(float)) == 0,
                     "written behind tensor %s", list[i].name);
        }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    for (int i = 0; i < ELEMENTS; i++)
        values[i] = (float)i;
    fuzz_begin();
    const char *path = fuzz_path("checkpoint.h5");
    make_file(&bytes, path);
    int verified = lj_checkpoint_verify(path);
    fuzz_expect(verified);
    int header = read_header(path);
    LJ_CHECK(verified != LJ_OK || header == LJ_OK, "verified, but has no header: %s",
             lj_error_text());
    bool weights = read_arrays(path, false) == LJ_OK, all = read_arrays(path, true) == LJ_OK;
    LJ_CHECK(weights || !all, "moments without weights");
    LJ_CHECK(!all || header != LJ_OK || verified == LJ_OK, "read, but not verified");
    fuzz_end();
    return 0;
}
