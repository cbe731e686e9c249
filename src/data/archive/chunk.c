/* SPDX-License-Identifier: Apache-2.0 */
/* Decodes raw chunks without HDF5, and so without its lock: undoes HDF5's own filters, the one
 * applied last first. deflate makes a zlib stream; shuffle stores byte 0 of every element, then
 * byte 1, and so on; fletcher32 appends a checksum. A chunk counts as damaged unless every checksum
 * and every length is right. */
#include "data/archive/archive.h"

#include <libdeflate.h>
#include <string.h>

static void fold(uint32_t *sum)
{
    *sum = (*sum & 0xffff) + (*sum >> 16);
}

/* Fletcher's checksum as HDF5 defines it: big-endian 16-bit words, sums modulo 65535; an odd last
 * byte counts as the high half of a word. */
static uint32_t fletcher32(const unsigned char *data, size_t bytes)
{
    uint32_t low = 0, high = 0;
    size_t words = bytes / 2;
    while (words) {
        size_t count = words < 360 ? words : 360; /* so many cannot overflow 32 bits */
        words -= count;
        for (; count; count--, data += 2) {
            low += (uint32_t)data[0] << 8 | data[1];
            high += low;
        }
        fold(&low);
        fold(&high);
    }
    if (bytes % 2) {
        low += (uint32_t)data[0] << 8;
        high += low;
        fold(&low);
        fold(&high);
    }
    fold(&low);
    fold(&high);
    return high << 16 | low;
}

static bool checksum_fits(const unsigned char *data, size_t bytes)
{
    if (bytes < 4)
        return false;
    const unsigned char *end = data + bytes - 4;
    uint32_t stored =
        end[0] | (uint32_t)end[1] << 8 | (uint32_t)end[2] << 16 | (uint32_t)end[3] << 24;
    return stored == fletcher32(data, bytes - 4);
}

static inline void unshuffle_by(unsigned char *restrict out, const unsigned char *restrict in,
                                size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < size; j++)
            out[i * size + j] = in[j * count + i];
}

static void unshuffle(unsigned char *out, const unsigned char *in, size_t bytes, size_t size)
{
    size_t count = bytes / size;
    if (size == 2)
        unshuffle_by(out, in, count, 2);
    else if (size == 4)
        unshuffle_by(out, in, count, 4);
    else if (size == 8)
        unshuffle_by(out, in, count, 8);
    else
        unshuffle_by(out, in, count, size);
    memcpy(out + count * size, in + count * size, bytes - count * size);
}

/* Length of the chunk before filter number `filter` was applied, when it was written. Valid while
 * no filter before it compresses; deflate is then the first one whose output has another length. */
static size_t bytes_before(const struct lj_part *part, int filter, uint32_t skipped, size_t bytes)
{
    for (int i = 0; i < filter; i++)
        if (part->filter[i] == H5Z_FILTER_FLETCHER32 && !(skipped >> i & 1))
            bytes += 4;
    return bytes;
}

/* A chunk while its filters are undone. Each step reads one buffer and writes the next. */
struct flow {
    unsigned char *at;    /* where the data is now */
    size_t bytes;         /* its length */
    unsigned char *next;  /* the buffer that the next step writes */
    unsigned char *other; /* the buffer that the step after it writes */
};

static void flow_moved(struct flow *flow, size_t bytes)
{
    unsigned char *used = flow->next;
    flow->next = flow->other;
    flow->other = used;
    flow->at = used;
    flow->bytes = bytes;
}

static bool undo(struct flow *flow, const struct lj_part *part, int place, uint32_t skipped,
                 size_t bytes, size_t element_bytes, struct libdeflate_decompressor *inflate)
{
    size_t before = bytes_before(part, place, skipped, bytes);
    switch (part->filter[place]) {
    case H5Z_FILTER_DEFLATE:
        if (libdeflate_zlib_decompress(inflate, flow->at, flow->bytes, flow->next, before, NULL) !=
            LIBDEFLATE_SUCCESS)
            return false;
        flow_moved(flow, before);
        return true;
    case H5Z_FILTER_SHUFFLE:
        if (element_bytes == 1)
            return true;
        if (flow->bytes != before)
            return false;
        unshuffle(flow->next, flow->at, before, element_bytes);
        flow_moved(flow, before);
        return true;
    default:
        if (!checksum_fits(flow->at, flow->bytes))
            return false;
        flow->bytes -= 4;
        return true;
    }
}

bool lj_chunk_decode(const struct lj_part *part, struct lj_scratch *scratch, size_t raw_bytes,
                     uint32_t skipped, size_t bytes, size_t element_bytes)
{
    struct flow flow = {
        .at = scratch->raw, .bytes = raw_bytes, .next = scratch->rows, .other = scratch->spare};
    for (int i = part->filters - 1; i >= 0; i--)
        if (!(skipped >> i & 1) &&
            !undo(&flow, part, i, skipped, bytes, element_bytes, scratch->inflate))
            return false;
    if (flow.bytes != bytes)
        return false;
    if (flow.at == scratch->spare) {
        scratch->spare = scratch->rows;
        scratch->rows = flow.at;
    } else if (flow.at == scratch->raw) {
        memcpy(scratch->rows, flow.at, bytes);
    }
    return true;
}
