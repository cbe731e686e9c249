/* SPDX-License-Identifier: Apache-2.0 */
/* Files of embeddings, whole ones that are read and unfinished ones that are continued: any
 * dataset may be of another type, length or storage, hold something else or be missing. */
#include "fuzz_hdf5.h"
#include "store/publish.h"
#include "store/store.h"
#include "store/written.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS_MAX = 6, WIDTH = 3, PARTS_MAX = 3, READ_MAX = 1 << 20 };

static const char *const provenances[] = {
    "{\"archive\": \"a.h5\", \"archive_fingerprint\": \"0123\", \"step\": 3}", "{}", "[1]", "{\"ar",
    "{\"archive\": 1, \"step\": null}"};

/* ---- the file ---------------------------------------------------------------------------- */

static void put(struct fuzz_bytes *b, hid_t file, struct fuzz_dataset dataset)
{
    hid_t set = fuzz_put(b, file, &dataset);
    if (set >= 0)
        H5Dclose(set);
}

/* The parts of an archive of all rows, none or some of which may be empty. */
static int64_t pick_parts(struct fuzz_bytes *b, int64_t rows, struct lj_embeddings_part *part)
{
    int64_t parts = fuzz_below(b, PARTS_MAX + 1), next = 0;
    for (int64_t i = 0; i < parts; i++) {
        part[i] = (struct lj_embeddings_part){.file = "a.h5",
                                              .dataset = i ? "/b" : "/images",
                                              .first_row = next,
                                              .rows = i ? fuzz_below(b, 3) : rows,
                                              .fingerprint = UINT64_MAX - (uint64_t)i};
        next += part[i].rows;
    }
    return parts;
}

static void put_parts(struct fuzz_bytes *b, hid_t file, int64_t parts,
                      const struct lj_embeddings_part *part)
{
    int64_t first[PARTS_MAX] = {0}, rows[PARTS_MAX] = {0};
    uint64_t fingerprint[PARTS_MAX] = {0};
    const hsize_t dim[] = {(hsize_t)parts};
    for (int64_t i = 0; i < parts; i++) {
        first[i] = part[i].first_row;
        rows[i] = part[i].rows;
        fingerprint[i] = part[i].fingerprint;
    }
    if (parts == 0)
        return;
    if (fuzz_below(b, 8) == 7)
        rows[fuzz_below(b, PARTS_MAX)] = INT64_MAX - fuzz_below(b, 3);
    put(b, file,
        (struct fuzz_dataset){"parts/first_row", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, dim, first});
    put(b, file,
        (struct fuzz_dataset){"parts/rows", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, dim, rows});
    put(b, file,
        (struct fuzz_dataset){"parts/fingerprint", H5T_STD_U64LE, H5T_NATIVE_UINT64, 1, dim,
                              fingerprint});
}

/* What the columns of a good file hold. */
struct columns {
    float values[ROWS_MAX * WIDTH];
    int32_t labels[ROWS_MAX];
    int64_t row[ROWS_MAX];
};

static void fill(struct columns *c)
{
    for (int i = 0; i < ROWS_MAX; i++) {
        c->labels[i] = i % 3;
        c->row[i] = i;
        for (int k = 0; k < WIDTH; k++)
            c->values[i * WIDTH + k] = (float)(i * WIDTH + k);
    }
}

static void make_file(struct fuzz_bytes *b, const char *path,
                      const struct lj_embeddings_layout *layout)
{
    struct columns c;
    const hsize_t dim[] = {(hsize_t)layout->rows, WIDTH};
    fill(&c);
    hid_t file = fuzz_create(path);
    fuzz_put_text(b, file, "provenance", provenances[fuzz_below(b, 5)]);
    put(b, file,
        (struct fuzz_dataset){"embeddings", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dim, c.values});
    put(b, file,
        (struct fuzz_dataset){"labels", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, dim, c.labels});
    put(b, file, (struct fuzz_dataset){"row", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, dim, c.row});
    put_parts(b, file, layout->parts, layout->part);
    H5Fclose(file);
}

/* ---- reading ----------------------------------------------------------------------------- */

/* All that was read. */
static void look_at(const struct lj_embeddings *e)
{
    const struct lj_embeddings_source *source = &e->source;
    if (e->labels)
        fuzz_look(e->labels, e->rows * (int64_t)sizeof *e->labels);
    if (e->row)
        fuzz_look(e->row, e->rows * (int64_t)sizeof *e->row);
    fuzz_look(source->fingerprints, source->parts * (int64_t)sizeof *source->fingerprints);
    if (source->archive)
        fuzz_look(source->archive, (int64_t)strlen(source->archive) + 1);
    if (source->fingerprint)
        fuzz_look(source->fingerprint, (int64_t)strlen(source->fingerprint) + 1);
    int64_t next = 0;
    for (int64_t p = 0; p < source->parts; p++) {
        LJ_CHECK(source->first_row[p] == next && source->rows[p] >= 0, "part %lld", (long long)p);
        next += source->rows[p];
    }
}

/* The values at once and row by row are the same. */
static void read_values(const char *path, const struct lj_embeddings *e)
{
    float *all = NULL, *one = NULL;
    int status = lj_embeddings_read_values(path, e->width, 0, e->rows, &all);
    fuzz_expect(status);
    if (status == LJ_OK)
        fuzz_look(all, e->rows * e->width * (int64_t)sizeof *all);
    for (int64_t i = 0; status == LJ_OK && i < lj_min_i64(e->rows, ROWS_MAX); i++) {
        LJ_CHECK(lj_embeddings_read_values(path, e->width, i, i + 1, &one) == LJ_OK, "%s",
                 lj_error_text());
        LJ_CHECK(e->width == 0 ||
                     memcmp(one, all + i * e->width, (size_t)e->width * sizeof *one) == 0,
                 "row %lld", (long long)i);
        lj_free(one);
    }
    lj_free(all);
    LJ_CHECK(lj_embeddings_read_values(path, e->width, e->rows, e->rows + 1, &all) == LJ_ERR_DATA,
             "a row beyond the last one");
}

static void read_file(const char *path)
{
    struct lj_embeddings embeddings;
    int status = lj_embeddings_read_index(path, NULL, &embeddings);
    fuzz_expect(status);
    if (status != LJ_OK)
        return;
    int64_t count = 0;
    LJ_CHECK(lj_multiply_sizes(embeddings.rows, embeddings.width, &count), "a shape");
    look_at(&embeddings);
    if (count <= READ_MAX)
        read_values(path, &embeddings);
    lj_embeddings_free(&embeddings);
}

/* ---- continuing -------------------------------------------------------------------------- */

static int put_rows(struct lj_embeddings_file *file, const struct lj_embeddings_layout *layout,
                    int64_t first)
{
    struct columns c;
    fill(&c);
    return lj_embeddings_put(file, first, layout->rows - first, c.values + first * WIDTH,
                             layout->labels ? c.labels + first : NULL,
                             layout->row ? c.row + first : NULL);
}

/* What was continued is whole, and holds what was put from there on. */
static void check_file(const char *path, const struct lj_embeddings_layout *layout, int64_t done)
{
    struct lj_embeddings e;
    struct columns c;
    fill(&c);
    LJ_CHECK(lj_embeddings_read_index(path, NULL, &e) == LJ_OK, "%s", lj_error_text());
    LJ_CHECK(lj_embeddings_read_values(path, WIDTH, 0, layout->rows, &e.values) == LJ_OK, "%s",
             lj_error_text());
    LJ_CHECK(e.rows == layout->rows && e.width == WIDTH, "%lld rows", (long long)e.rows);
    LJ_CHECK((e.labels != NULL) == layout->labels && (e.row != NULL) == layout->row, "columns");
    for (int64_t i = done; i < layout->rows; i++) {
        LJ_CHECK(memcmp(e.values + i * WIDTH, c.values + i * WIDTH, WIDTH * sizeof *c.values) == 0,
                 "row %lld", (long long)i);
        LJ_CHECK(!e.labels || e.labels[i] == c.labels[i], "label %lld", (long long)i);
        LJ_CHECK(!e.row || e.row[i] == c.row[i], "row %lld", (long long)i);
    }
    lj_embeddings_free(&e);
}

/* The file is what a killed process left, its note as it should be or of the input's bytes. */
static void leave_note(struct fuzz_bytes *b, const char *path, int64_t rows)
{
    struct lj_written written;
    int64_t none;
    LJ_CHECK(lj_written_open(&written, path, &none) == LJ_OK &&
                 lj_written_set(&written, rows) == LJ_OK,
             "%s", lj_error_text());
    if (fuzz_below(b, 8) == 7) {
        const uint8_t at = fuzz_byte(b), byte = fuzz_byte(b);
        LJ_CHECK(pwrite(written.file, &byte, 1, at % 64) == 1, "%s", written.path);
    }
    lj_written_close(&written, true);
}

static void go_on(struct fuzz_bytes *b, const char *path, struct lj_embeddings_layout *layout)
{
    char left[LJ_PATH_MAX];
    struct lj_embeddings_file *file;
    int64_t done = 0;
    layout->labels = fuzz_below(b, 4) != 3;
    layout->row = fuzz_below(b, 4) != 3;
    layout->provenance = provenances[fuzz_below(b, 2)];
    leave_note(b, path, fuzz_below(b, ROWS_MAX + 2));
    LJ_CHECK(lj_store_temporary(left, path) == LJ_OK && rename(path, left) == 0, "%s", path);
    int status = lj_embeddings_create(&file, path, layout, &done);
    LJ_CHECK(status == LJ_OK && done >= 0 && done <= layout->rows, "%lld of %lld rows: %s",
             (long long)done, (long long)layout->rows, lj_error_text());
    LJ_CHECK(put_rows(file, layout, done) == LJ_OK && lj_embeddings_close(file) == LJ_OK, "%s",
             lj_error_text());
    check_file(path, layout, done);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    struct lj_embeddings_part part[PARTS_MAX];
    fuzz_begin();
    const char *path = fuzz_path("embeddings.h5");
    bool unfinished = fuzz_below(&bytes, 2);
    struct lj_embeddings_layout layout = {
        .rows = ROWS_MAX - fuzz_below(&bytes, ROWS_MAX + 1), .width = WIDTH, .part = part};
    layout.parts = pick_parts(&bytes, layout.rows, part);
    make_file(&bytes, path, &layout);
    if (unfinished)
        go_on(&bytes, path, &layout);
    else
        read_file(path);
    fuzz_end();
    return 0;
}
