/* SPDX-License-Identifier: Apache-2.0 */
/* Event files of TensorBoard, written without protobuf: of its messages they need three.
 *
 * A file is a sequence of TFRecords (tensorflow/core/lib/io/record_writer.h), all little-endian:
 *
 *     8 bytes length | 4 bytes masked CRC-32C of the length | message | 4 bytes masked CRC of it
 *
 * and each message is an Event (tensorflow/core/util/event.proto), of which these fields occur:
 *
 *     Event       1 wall_time (double)   2 step (int64)   3 file_version (string)
 *                 5 summary (Summary)    7 session_log (SessionLog)
 *     Summary     1 value (Value, repeated)
 *     Value       1 tag (string)         2 simple_value (float)
 *     SessionLog  1 status (enum)
 *
 * The first event of a file names the version. With version 2, a SessionLog that says START makes
 * readers forget all values of its step and later ones, which a run that was killed may have logged
 * after its last checkpoint and now logs again. Readers take the files of a directory in the order
 * of their names, so that the name has the time first. */
#include "run/tensorboard.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EVENT_MAX = 4096, VALUE_MAX = 128, PATH_BYTES = 4352 };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */
enum { SESSION_START = 1 };
static const char file_stem[] = "events.out.tfevents.";

/* A message that grows. */
struct message {
    size_t size;
    unsigned char bytes[EVENT_MAX];
};

struct lj_tensorboard {
    FILE *file; /* NULL after a failure */
    char path[PATH_BYTES];
    struct message event, summary;
};

/* ---- encoding ---------------------------------------------------------------------------- */

uint32_t lj_crc32c(const void *bytes, size_t count)
{
    const uint32_t polynomial = 0x82F63B78; /* reflected */
    const unsigned char *byte = bytes;
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < count; i++) {
        crc ^= byte[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
    }
    return ~crc;
}

/* Checksums of data that hold checksums are masked. */
static uint32_t masked_crc(const void *bytes, size_t count)
{
    uint32_t crc = lj_crc32c(bytes, count);
    return (crc >> 15 | crc << 17) + 0xA282EAD8;
}

static void put_bytes(struct message *m, const void *bytes, size_t count)
{
    LJ_CHECK(count <= EVENT_MAX - m->size, "an event of TensorBoard has too many values");
    memcpy(m->bytes + m->size, bytes, count);
    m->size += count;
}

static void put_little_endian(struct message *m, uint64_t value, int count)
{
    unsigned char bytes[8];
    for (int i = 0; i < count; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    put_bytes(m, bytes, (size_t)count);
}

/* Seven bits a byte; the highest bit says that more follow. */
static void put_varint(struct message *m, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_little_endian(m, (value & 0x7F) | 0x80, 1);
    put_little_endian(m, value, 1);
}

static void put_tag(struct message *m, int field, int wire_type)
{
    put_varint(m, (uint64_t)field << 3 | (uint64_t)wire_type);
}

static void put_integer(struct message *m, int field, int64_t value)
{
    put_tag(m, field, VARINT);
    put_varint(m, (uint64_t)value);
}

static void put_double(struct message *m, int field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_tag(m, field, FIXED64);
    put_little_endian(m, bits, 8);
}

static void put_float(struct message *m, int field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_tag(m, field, FIXED32);
    put_little_endian(m, bits, 4);
}

/* A text, or a message within the message. */
static void put_block(struct message *m, int field, const void *bytes, size_t count)
{
    put_tag(m, field, BYTES);
    put_varint(m, count);
    put_bytes(m, bytes, count);
}

static void begin_event(struct message *m, double wall_s, int64_t step)
{
    m->size = 0;
    put_double(m, 1, wall_s);
    if (step != 0) /* proto3 leaves out zeros */
        put_integer(m, 2, step);
}

double lj_wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- the file ---------------------------------------------------------------------------- */

static void write_event(struct lj_tensorboard *t)
{
    struct message head = {0}, tail = {0};
    put_little_endian(&head, t->event.size, 8);
    put_little_endian(&head, masked_crc(head.bytes, head.size), 4);
    put_little_endian(&tail, masked_crc(t->event.bytes, t->event.size), 4);
    if (!t->file || (fwrite(head.bytes, head.size, 1, t->file) == 1 &&
                     fwrite(t->event.bytes, t->event.size, 1, t->file) == 1 &&
                     fwrite(tail.bytes, tail.size, 1, t->file) == 1 && fflush(t->file) == 0))
        return;
    lj_warn("%s: cannot be written: %s; this job logs nothing more for TensorBoard (metrics.jsonl "
            "has the same values)",
            t->path, strerror(errno));
    fclose(t->file);
    t->file = NULL;
}

/* The time of a new file: now, or after the last file of the directory, should clocks differ. */
static long long stamp_after(DIR *dir, long long now)
{
    size_t length = strlen(file_stem);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (strncmp(entry->d_name, file_stem, length) == 0) {
            long long other = strtoll(entry->d_name + length, NULL, 10);
            now = other >= now ? other + 1 : now;
        }
    return now;
}

static int open_file(struct lj_tensorboard *t, const char *run_dir, double wall_s)
{
    char host[256] = "";
    int length = snprintf(t->path, sizeof t->path, "%.3900s/tensorboard", run_dir);
    DIR *dir = NULL;
    if (mkdir(t->path, 0777) == 0 || errno == EEXIST)
        dir = opendir(t->path);
    if (dir) {
        long long stamp = stamp_after(dir, (long long)wall_s);
        closedir(dir);
        gethostname(host, sizeof host - 1);
        snprintf(t->path + length, sizeof t->path - (size_t)length, "/%s%010lld.%s.%ld", file_stem,
                 stamp, host, (long)getpid());
        t->file = fopen(t->path, "wb");
    }
    if (t->file)
        return LJ_OK;
    return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s; or set log.tensorboard=false",
                   t->path, strerror(errno));
}

int lj_tensorboard_open(struct lj_tensorboard **tensorboard, const char *run_dir, int64_t first,
                        double wall_s)
{
    static const char version[] = "brain.Event:2";
    struct lj_tensorboard *t = lj_alloc(sizeof *t, "tensorboard");
    *tensorboard = t;
    if (!t)
        return LJ_ERR_RESOURCE;
    LJ_TRY(open_file(t, run_dir, wall_s));
    begin_event(&t->event, wall_s, 0);
    put_block(&t->event, 3, version, strlen(version));
    write_event(t);
    t->summary.size = 0;
    put_integer(&t->summary, 1, SESSION_START);
    begin_event(&t->event, wall_s, first + 1);
    put_block(&t->event, 7, t->summary.bytes, t->summary.size);
    write_event(t);
    return LJ_OK;
}

void lj_tensorboard_begin(struct lj_tensorboard *t, int64_t step, double wall_s)
{
    if (!t)
        return;
    begin_event(&t->event, wall_s, step);
    t->summary.size = 0;
}

void lj_tensorboard_add(struct lj_tensorboard *t, const char *group, const char *name, double value)
{
    struct message one = {0};
    char tag[VALUE_MAX];
    if (!t)
        return;
    snprintf(tag, sizeof tag, "%s/%s", group, name);
    put_block(&one, 1, tag, strlen(tag));
    put_float(&one, 2, (float)value);
    put_block(&t->summary, 1, one.bytes, one.size);
}

void lj_tensorboard_end(struct lj_tensorboard *t)
{
    if (!t)
        return;
    put_block(&t->event, 5, t->summary.bytes, t->summary.size);
    write_event(t);
}

void lj_tensorboard_close(struct lj_tensorboard *t)
{
    if (t && t->file)
        fclose(t->file);
    lj_free(t);
}
