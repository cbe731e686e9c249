/* SPDX-License-Identifier: Apache-2.0 */
/* IDX: two zero bytes, a type (8: unsigned byte), the number of dimensions, one big-endian 32-bit
 * size each, then the values, the last axis fastest. zlib reads plain and gzipped files alike. */
#include "data/pack/idx.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { UNSIGNED_BYTE = 8, SIDE_MAX = 16384, INFLATE_MAX = 1032 }; /* deflate's largest ratio */

/* Reads exactly `count` bytes. what: names the thing that idx->next counts, for the message. */
static int read_bytes(const struct lj_idx *idx, uint8_t *bytes, int64_t count, const char *what)
{
    if (gzread(idx->stream, bytes, (unsigned)count) == (int)count)
        return LJ_OK;
    int code = Z_OK;
    const char *reason = gzerror(idx->stream, &code);
    if (code == Z_OK || code == Z_BUF_ERROR)
        return lj_fail(LJ_ERR_DATA, "%s ends early: %s %lld is incomplete; get it again", idx->path,
                       what, (long long)idx->next);
    return lj_fail(LJ_ERR_DATA, "%s is damaged: %s; get it again", idx->path,
                   code == Z_ERRNO ? strerror(errno) : reason);
}

static int64_t big_endian(const uint8_t bytes[4])
{
    return (int64_t)bytes[0] << 24 | (int64_t)bytes[1] << 16 | (int64_t)bytes[2] << 8 | bytes[3];
}

static int read_shape(struct lj_idx *idx)
{
    idx->item_bytes = 1;
    for (int i = 0; i < idx->dims; i++) {
        uint8_t bytes[4];
        LJ_TRY(read_bytes(idx, bytes, 4, "header of entry"));
        idx->shape[i] = big_endian(bytes);
        if (i > 0 && (idx->shape[i] < 1 || idx->shape[i] > SIDE_MAX))
            return lj_fail(LJ_ERR_DATA, "%s: images of %lld pixels a side; expected 1 to %d",
                           idx->path, (long long)idx->shape[i], SIDE_MAX);
        if (i > 0)
            idx->item_bytes *= idx->shape[i];
    }
    if (idx->shape[0] < 1)
        return lj_fail(LJ_ERR_DATA, "%s has no entries", idx->path);
    return LJ_OK;
}

/* Refuses a header that promises more than the file can hold, before memory is allocated for it. */
static int check_size(const struct lj_idx *idx)
{
    struct stat status;
    if (stat(idx->path, &status) != 0)
        return lj_fail(LJ_ERR_DATA, "%s: %s", idx->path, strerror(errno));
    int64_t bytes = idx->shape[0] * idx->item_bytes;
    int64_t header = 4 + 4 * (int64_t)idx->dims, size = (int64_t)status.st_size;
    bool plain = gzdirect(idx->stream) != 0;
    if (plain ? size == header + bytes : bytes / INFLATE_MAX <= size)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: the header says %lld entries of %lld bytes, which a %s file of %lld bytes "
                   "does not hold; get it again",
                   idx->path, (long long)idx->shape[0], (long long)idx->item_bytes,
                   plain ? "plain" : "gzipped", (long long)size);
}

static int read_header(struct lj_idx *idx, int dims)
{
    uint8_t magic[4];
    LJ_TRY(read_bytes(idx, magic, 4, "magic number at byte"));
    if (magic[0] != 0 || magic[1] != 0 || magic[2] != UNSIGNED_BYTE || magic[3] != dims)
        return lj_fail(LJ_ERR_DATA,
                       "%s starts with %02x %02x %02x %02x; expected 00 00 08 %02x, an IDX file of "
                       "bytes with %d dimension%s",
                       idx->path, magic[0], magic[1], magic[2], magic[3], dims, dims,
                       dims == 1 ? " (labels)" : "s (images)");
    idx->dims = dims;
    LJ_TRY(read_shape(idx));
    return check_size(idx);
}

int lj_idx_open(struct lj_idx *idx, const char *path, int dims)
{
    *idx = (struct lj_idx){.path = path, .stream = gzopen(path, "rb")};
    if (!idx->stream)
        return lj_fail(LJ_ERR_DATA, "%s: %s", path, strerror(errno));
    gzbuffer(idx->stream, 1 << 17);
    int status = read_header(idx, dims);
    if (status != LJ_OK)
        lj_idx_close(idx);
    return status;
}

int lj_idx_read(struct lj_idx *idx, uint8_t *item)
{
    LJ_TRY(read_bytes(idx, item, idx->item_bytes, "entry"));
    idx->next++;
    return LJ_OK;
}

int lj_idx_end(struct lj_idx *idx)
{
    uint8_t byte;
    int code = Z_OK,
        more = gzread(idx->stream, &byte, 1); /* at the end of a file zlib checks the checksum */
    if (more > 0)
        return lj_fail(LJ_ERR_DATA, "%s goes on behind its %lld entries; get it again", idx->path,
                       (long long)idx->shape[0]);
    gzerror(idx->stream, &code);
    return code == Z_OK ? LJ_OK : read_bytes(idx, &byte, 1, "checksum behind entry");
}

void lj_idx_close(struct lj_idx *idx)
{
    if (idx->stream)
        gzclose(idx->stream);
    idx->stream = NULL;
}
