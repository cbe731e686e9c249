/* SPDX-License-Identifier: Apache-2.0 */
/* PNG files (W3C, Portable Network Graphics, third edition, 2025): a signature, then chunks of
 * length, type, data and CRC-32: IHDR with size and type, IDAT with the compressed rows, IEND. Each
 * row begins with its filter; it is 2 ("up") throughout, the difference from the row above, which
 * suits pictures whose pixels are enlarged to squares. */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    PNG_SIGNATURE = 8,
    PNG_CHUNK = 12, /* bytes of a chunk besides its data */
    PNG_HEADER = 13 /* bytes of data of IHDR */
};

static unsigned char *put_u32(unsigned char *at, uint64_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (24 - 8 * i));
    return at + 4;
}

/* Puts length and type before `count` bytes of data that lie at `at` + 8, and their CRC behind.
 * Returns the end. */
static unsigned char *close_chunk(unsigned char *at, const char *type, size_t count)
{
    put_u32(at, count);
    memcpy(at + 4, type, 4);
    return put_u32(at + 8 + count, crc32_z(crc32_z(0, NULL, 0), at + 4, count + 4));
}

static unsigned char *put_header(unsigned char *at, int64_t width, int64_t height)
{
    const unsigned char kind[5] = {8, 2, 0, 0, 0}; /* 8 bits, RGB, deflate, filters, no interlace */
    memcpy(put_u32(put_u32(at + 8, (uint64_t)width), (uint64_t)height), kind, sizeof kind);
    return close_chunk(at, "IHDR", PNG_HEADER);
}

/* Fills rows (height, 1 + 3 width). */
static void filter_rows(unsigned char *rows, int64_t width, int64_t height,
                        const unsigned char *rgb)
{
    int64_t bytes = 3 * width;
    for (int64_t y = 0; y < height; y++) {
        const unsigned char *row = rgb + y * bytes, *above = row - bytes;
        *rows++ = 2;
        for (int64_t i = 0; i < bytes; i++)
            *rows++ = (unsigned char)(row[i] - (y > 0 ? above[i] : 0));
    }
}

/* Makes the file in `out`, which has room for it. Returns its length; 0: zlib failed. */
static size_t encode(unsigned char *out, int64_t width, int64_t height, const unsigned char *rows,
                     uLong count)
{
    const unsigned char signature[PNG_SIGNATURE] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    memcpy(out, signature, sizeof signature);
    unsigned char *at = put_header(out + PNG_SIGNATURE, width, height);
    uLongf compressed = compressBound(count);
    if (compress2(at + 8, &compressed, rows, count, Z_DEFAULT_COMPRESSION) != Z_OK)
        return 0;
    at = close_chunk(at, "IDAT", compressed);
    return (size_t)(close_chunk(at, "IEND", 0) - out);
}

int lj_png_write(const char *path, int64_t width, int64_t height, const unsigned char *rgb)
{
    int64_t count = height * (3 * width + 1);
    if (count > INT32_MAX / 2)
        return lj_fail(LJ_ERR_RESOURCE,
                       "%s: a picture of %lld x %lld pixels is too large; fewer "
                       "rows=",
                       path, (long long)width, (long long)height);
    size_t room = PNG_SIGNATURE + 3 * PNG_CHUNK + PNG_HEADER + compressBound((uLong)count);
    unsigned char *rows = lj_alloc((size_t)count, "picture"), *out = lj_alloc(room, "picture");
    int status = rows && out ? LJ_OK : LJ_ERR_RESOURCE;
    size_t length = 0;
    if (status == LJ_OK) {
        filter_rows(rows, width, height, rgb);
        length = encode(out, width, height, rows, (uLong)count);
        status = length > 0 ? lj_file_write(path, out, length)
                            : lj_fail(LJ_ERR_RESOURCE, "%s: out of memory: zlib", path);
    }
    lj_free(out);
    lj_free(rows);
    return status;
}
