/* SPDX-License-Identifier: Apache-2.0 */
/* The command `pack`: IDX files into one training archive. Each part IMAGES,LABELS,SPLIT,COUNT of
 * the setting `parts` gives COUNT samples (0: all); with balanced=1 they are the same number of
 * each class that occurs. Which samples are taken is a random choice by the seed, among those of
 * the class or of the part (lj_permute); they stay in the order of the file. */
#include "data/archive/write.h"
#include "data/pack/idx.h"

#include "data/data.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 16, CLASSES = 256, LICENCE_MAX = 1 << 16 };

/* Added to the class in the names of the random orders, which the sampler names too, by smaller
 * numbers: no two orders of one seed are the same. */
static const uint64_t draw_class = (uint64_t)1 << 40;

/* One part of the setting `parts`. */
struct part {
    char *images;   /* path, inside struct pack's text */
    char *labels;   /* path, likewise */
    int64_t split;  /* number given to its samples */
    int64_t count;  /* samples asked for; 0: all */
    int64_t rows;   /* samples of the files */
    int64_t chosen; /* samples taken */
    uint8_t *label; /* (rows) */
    uint8_t *keep;  /* (rows) 1: taken */
};

/* The archive being made. */
struct pack {
    const struct lj_config *config; /* borrowed */
    char text[LJ_TEXT_MAX];         /* the setting `parts`, cut into words */
    struct part part[PARTS_MAX];    /* (parts) */
    int parts;                      /* of the setting */
    int64_t rows;                   /* images read so far */
    int64_t height;                 /* of an image, pixels */
    int64_t width;                  /* of an image, pixels */
    uint8_t *images;                /* (chosen samples of all parts, height, width) */
    uint8_t *split;                 /* (chosen samples) */
    int32_t *labels;                /* (chosen samples) */
    char licence[LICENCE_MAX];      /* text of the licence; "" none */
};

/* ---- parts ------------------------------------------------------------------------------- */

static bool parse_number(const char *word, int64_t high, int64_t *number)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(word, &end, 10);
    *number = value;
    return isdigit((unsigned char)word[0]) && *end == 0 && errno == 0 && value <= high;
}

static int parse_part(struct part *part, char *text)
{
    char *word[4], *rest = text;
    for (int i = 0; i < 4; i++)
        word[i] = strsep(&rest, ",");
    bool good = !rest && word[3] && word[0][0] && word[1][0];
    good = good && parse_number(word[2], UINT8_MAX, &part->split) &&
           parse_number(word[3], INT32_MAX, &part->count);
    part->images = word[0];
    part->labels = word[1];
    if (good)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "part beginning with `%s` is not IMAGES,LABELS,SPLIT,COUNT: two files, a split "
                   "of 0 to 255, a number of samples (0: all)",
                   text);
}

static int parse_parts(struct pack *pack)
{
    snprintf(pack->text, sizeof pack->text, "%s", pack->config->arg_parts);
    char *rest = pack->text, *text;
    while ((text = strsep(&rest, ";"))) {
        if (text[0] == 0)
            continue;
        if (pack->parts == PARTS_MAX)
            return lj_fail(LJ_ERR_CONFIG, "parts has more than %d parts", PARTS_MAX);
        LJ_TRY(parse_part(&pack->part[pack->parts++], text));
    }
    if (pack->parts == 0)
        return lj_fail(LJ_ERR_CONFIG, "pack needs parts=IMAGES,LABELS,SPLIT,COUNT");
    if (pack->config->arg_out[0] == 0)
        return lj_fail(LJ_ERR_CONFIG, "pack needs out=FILE, the archive to write");
    return LJ_OK;
}

static int read_licence(struct pack *pack)
{
    const char *path = pack->config->arg_licence;
    if (path[0] == 0)
        return LJ_OK;
    FILE *file = fopen(path, "r");
    if (!file)
        return lj_fail(LJ_ERR_CONFIG, "licence=%s: %s", path, strerror(errno));
    size_t length = fread(pack->licence, 1, sizeof pack->licence, file);
    bool fits = length < sizeof pack->licence && !ferror(file);
    fclose(file);
    if (!fits)
        return lj_fail(LJ_ERR_CONFIG, "licence=%s: unreadable or %d bytes and more", path,
                       LICENCE_MAX);
    pack->licence[length] = 0;
    return LJ_OK;
}

/* ---- choice ------------------------------------------------------------------------------ */

static int read_label_bytes(struct part *part, struct lj_idx *idx)
{
    part->rows = idx->shape[0];
    part->label = lj_alloc_array(part->rows, 1, "pack");
    part->keep = lj_alloc_array(part->rows, 1, "pack");
    if (!part->label || !part->keep)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < part->rows; i++)
        LJ_TRY(lj_idx_read(idx, &part->label[i]));
    return lj_idx_end(idx);
}

static int read_labels(struct part *part)
{
    struct lj_idx idx;
    LJ_TRY(lj_idx_open(&idx, part->labels, 1));
    int status = read_label_bytes(part, &idx);
    lj_idx_close(&idx);
    return status;
}

/* Marks `count` rows, chosen at random among the `members` rows that have this label; label -1:
 * among all. which: number of the part. */
static void choose(struct part *part, int64_t seed, uint64_t which, int label, int64_t members,
                   int64_t count)
{
    uint64_t name = draw_class + (uint64_t)(label + 1);
    int64_t seen = 0;
    for (int64_t i = 0; i < part->rows; i++) {
        if (label >= 0 && part->label[i] != label)
            continue;
        part->keep[i] = lj_permute(seed, LJ_DRAW_ORDER, which, name, members, seen++) < count;
        part->chosen += part->keep[i];
    }
}

/* Marks the same number of rows of every class that occurs: count / classes, or, without a count,
 * as many as the rarest class has. */
static int choose_balanced(struct part *part, int64_t seed, uint64_t which)
{
    int64_t members[CLASSES] = {0}, classes = 0, rarest = INT64_MAX;
    for (int64_t i = 0; i < part->rows; i++)
        members[part->label[i]]++;
    for (int c = 0; c < CLASSES; c++)
        if (members[c] > 0) {
            classes++;
            rarest = lj_min_i64(rarest, members[c]);
        }
    int64_t each = part->count > 0 ? part->count / classes : rarest;
    if (part->count % classes != 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "%s has %lld classes and %lld samples were asked for: give a multiple of "
                       "%lld, or balanced=0",
                       part->labels, (long long)classes, (long long)part->count,
                       (long long)classes);
    if (each > rarest)
        return lj_fail(LJ_ERR_DATA,
                       "%s: %lld samples of each class were asked for, the rarest has %lld",
                       part->labels, (long long)each, (long long)rarest);
    for (int c = 0; c < CLASSES; c++)
        if (members[c] > 0)
            choose(part, seed, which, c, members[c], each);
    return LJ_OK;
}

static int choose_samples(struct pack *pack, int which)
{
    struct part *part = &pack->part[which];
    LJ_TRY(read_labels(part));
    if (pack->config->arg_balanced)
        return choose_balanced(part, pack->config->seed, (uint64_t)which);
    if (part->count > part->rows)
        return lj_fail(LJ_ERR_DATA, "%s has %lld samples, %lld were asked for", part->labels,
                       (long long)part->rows, (long long)part->count);
    int64_t count = part->count > 0 ? part->count : part->rows;
    choose(part, pack->config->seed, (uint64_t)which, -1, part->rows, count);
    return LJ_OK;
}

/* ---- images ------------------------------------------------------------------------------ */

static int check_header(struct pack *pack, const struct part *part, const struct lj_idx *idx)
{
    if (idx->shape[0] != part->rows)
        return lj_fail(LJ_ERR_DATA, "%s has %lld images, %s has %lld labels", part->images,
                       (long long)idx->shape[0], part->labels, (long long)part->rows);
    if (pack->height == 0) {
        pack->height = idx->shape[1];
        pack->width = idx->shape[2];
    }
    if (idx->shape[1] == pack->height && idx->shape[2] == pack->width)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA, "%s has images of %lld x %lld, the first part of %lld x %lld",
                   idx->path, (long long)idx->shape[1], (long long)idx->shape[2],
                   (long long)pack->height, (long long)pack->width);
}

/* Allocates memory for the chosen samples of all parts, once the headers of all parts agree. */
static int prepare_images(struct pack *pack)
{
    int64_t rows = 0;
    for (int i = 0; i < pack->parts; i++) {
        struct lj_idx idx;
        LJ_TRY(lj_idx_open(&idx, pack->part[i].images, 3));
        int status = check_header(pack, &pack->part[i], &idx);
        lj_idx_close(&idx);
        LJ_TRY(status);
        rows += pack->part[i].chosen;
    }
    pack->images = lj_alloc_array(rows, (size_t)(pack->height * pack->width), "pack");
    pack->labels = lj_alloc_array(rows, sizeof *pack->labels, "pack");
    pack->split = lj_alloc_array(rows, 1, "pack");
    return pack->images && pack->labels && pack->split ? LJ_OK : LJ_ERR_RESOURCE;
}

static int read_chosen(struct pack *pack, const struct part *part, struct lj_idx *idx)
{
    LJ_TRY(check_header(pack, part, idx)); /* the file may have been replaced meanwhile */
    uint8_t *skipped = lj_alloc((size_t)idx->item_bytes, "pack");
    int status = skipped ? LJ_OK : LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < part->rows && status == LJ_OK; i++) {
        bool keep = part->keep[i];
        status = lj_idx_read(idx, keep ? pack->images + pack->rows * idx->item_bytes : skipped);
        if (status == LJ_OK && keep) {
            pack->labels[pack->rows] = part->label[i];
            pack->split[pack->rows++] = (uint8_t)part->split;
        }
    }
    lj_free(skipped);
    return status == LJ_OK ? lj_idx_end(idx) : status;
}

static int read_images(struct pack *pack, const struct part *part)
{
    struct lj_idx idx;
    LJ_TRY(lj_idx_open(&idx, part->images, 3));
    int status = read_chosen(pack, part, &idx);
    lj_idx_close(&idx);
    return status;
}

/* ---- archive ----------------------------------------------------------------------------- */

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "images.gz, labels.gz, split 0: 500 of 600; ..." */
static void describe_sources(const struct pack *pack, char *text, size_t capacity)
{
    size_t used = 0;
    for (int i = 0; i < pack->parts && used < capacity; i++) {
        const struct part *part = &pack->part[i];
        int length =
            snprintf(text + used, capacity - used, "%s%s, %s, split %lld: %lld of %lld",
                     i > 0 ? "; " : "", file_name(part->images), file_name(part->labels),
                     (long long)part->split, (long long)part->chosen, (long long)part->rows);
        used += (size_t)length;
    }
}

static int write_archive(const struct pack *pack)
{
    char description[256], source[2 * LJ_TEXT_MAX] = "";
    snprintf(
        description, sizeof description,
        "images with labels: a random choice of each part%s, seed %lld, in the order of the files",
        pack->config->arg_balanced ? ", equally many of each class" : "",
        (long long)pack->config->seed);
    describe_sources(pack, source, sizeof source);
    struct lj_archive_content content = {
        .rows = pack->rows,
        .height = pack->height,
        .width = pack->width,
        .images = pack->images,
        .labels = pack->labels,
        .split = pack->split,
        .description = description,
        .source = source,
        .licence = pack->licence,
    };
    LJ_TRY(lj_archive_write(pack->config->arg_out, &content));
    lj_say("packed %lld images of %lld x %lld into %s", (long long)pack->rows,
           (long long)pack->height, (long long)pack->width, pack->config->arg_out);
    return LJ_OK;
}

static int pack_parts(struct pack *pack)
{
    LJ_TRY(parse_parts(pack));
    LJ_TRY(read_licence(pack));
    for (int i = 0; i < pack->parts; i++)
        LJ_TRY(choose_samples(pack, i));
    LJ_TRY(prepare_images(pack));
    for (int i = 0; i < pack->parts; i++)
        LJ_TRY(read_images(pack, &pack->part[i]));
    return write_archive(pack);
}

int lj_pack(const struct lj_config *config)
{
    struct pack *pack = lj_alloc(sizeof *pack, "pack");
    if (!pack)
        return LJ_ERR_RESOURCE;
    pack->config = config;
    int status = pack_parts(pack);
    for (int i = 0; i < pack->parts; i++) {
        lj_free(pack->part[i].label);
        lj_free(pack->part[i].keep);
    }
    lj_free(pack->images);
    lj_free(pack->labels);
    lj_free(pack->split);
    lj_free(pack);
    return status;
}
