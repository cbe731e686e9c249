/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the command embed, on rank 0: rows are written as they come, made to last through a
 * crash now and then, and counted on standard error. */
#include "app/embed.h"

#include "store/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double draw_s = 0.2; /* between two progress bars */

/* Where rank 0 writes embeddings. */
struct target {
    struct lj_embeddings_file *file;
    const struct lj_archive *archive;
    int64_t rows, width;     /* of the whole file */
    int64_t first;           /* row that this process began with */
    bool terminal;           /* standard error is a terminal, so draw a progress bar */
    double interval_s;       /* between two syncs, and between two lines */
    double begun_s, drawn_s; /* by lj_now_s */
    double synced_s;
};

/* A sync waits for the disk, and what was not synced is embedded again after a kill. */
static double interval_s(void)
{
    const char *text = getenv("LJ_EMBED_SYNC_S"); /* for tests */
    return text ? atof(text) : 30;
}

/* ---- progress ---------------------------------------------------------------------------- */

static void say_progress(const struct target *t, int64_t done, double now_s)
{
    char left[32];
    double rate = (double)(done - t->first) / (now_s - t->begun_s + 1e-9);
    lj_duration_text(left, (double)(t->rows - done) / (rate + 1e-9));
    if (!t->terminal) {
        lj_say("row %9lld/%lld  %9.1f rows/s  %s left", (long long)done, (long long)t->rows, rate,
               left);
        return;
    }
    char bar[32];
    lj_bar_text(bar, (double)done / (double)t->rows);
    fprintf(stderr, "\r[%s] %lld/%lld  %.0f rows/s  %s left \033[K%s", bar, (long long)done,
            (long long)t->rows, rate, left, done == t->rows ? "\n" : "");
}

/* After rows were put: tells, and syncs. */
static int go_on(struct target *t, int64_t done)
{
    double now_s = lj_now_s();
    bool end = done == t->rows, sync = now_s - t->synced_s >= t->interval_s;
    if (t->terminal ? end || now_s - t->drawn_s >= draw_s : sync) {
        say_progress(t, done, now_s);
        t->drawn_s = now_s;
    }
    if (!sync || end)
        return LJ_OK;
    lj_progress();
    int status = lj_embeddings_sync(t->file, done);
    lj_progress();
    t->synced_s = lj_now_s();
    return status;
}

/* ---- the file ---------------------------------------------------------------------------- */

/* What is not finite would fail in everything that reads the file, or be taken for a result. */
static int check_finite(const struct target *t, int64_t first, int64_t count, const float *values)
{
    for (int64_t i = 0; i < count * t->width; i++)
        if (!isfinite(values[i]))
            return lj_fail(LJ_ERR_NUMERIC,
                           "the embedding of row %lld is not finite: the weights, or the mean and "
                           "std of the checkpoint, are too large or too small; use another one",
                           (long long)lj_archive_row(t->archive, first + i / t->width));
    return LJ_OK;
}

static int put(void *data, int64_t first, int64_t count, const float *embeddings)
{
    struct target *t = data;
    bool labelled = lj_archive_info(t->archive)->has_labels;
    int64_t *row = lj_alloc_array(count, sizeof *row, "embeddings");
    int32_t *label = lj_alloc_array(count, sizeof *label, "embeddings");
    int status = row && label ? check_finite(t, first, count, embeddings) : LJ_ERR_RESOURCE;
    for (int64_t i = 0; status == LJ_OK && i < count; i++) {
        row[i] = lj_archive_row(t->archive, first + i);
        label[i] = labelled ? lj_archive_label(t->archive, first + i) : -1;
    }
    if (status == LJ_OK)
        status = lj_embeddings_put(t->file, first, count, embeddings, labelled ? label : NULL, row);
    lj_free(label);
    lj_free(row);
    return status == LJ_OK ? go_on(t, first + count) : status;
}

/* The archive's parts, (parts), owned by the caller: lj_free. NULL: LJ_ERR_RESOURCE. */
static struct lj_embeddings_part *list_parts(const struct lj_archive *archive)
{
    int parts = lj_archive_info(archive)->parts;
    struct lj_embeddings_part *list = lj_alloc_array(parts, sizeof *list, "embeddings");
    for (int i = 0; i < parts && list; i++) {
        struct lj_archive_part part;
        lj_archive_part(archive, i, &part);
        list[i] = (struct lj_embeddings_part){.file = part.file,
                                              .dataset = part.dataset,
                                              .first_row = part.first_row,
                                              .rows = part.rows,
                                              .fingerprint = part.fingerprint};
    }
    return list;
}

/* The file to write is none of those that are read. */
static int spare_inputs(const struct lj_embed_job *job)
{
    const char *out = job->config->arg_out;
    LJ_TRY(lj_file_spare(out, job->pretrained->file));
    for (int i = 0; i < lj_archive_info(job->archive)->parts; i++) {
        struct lj_archive_part part;
        lj_archive_part(job->archive, i, &part);
        LJ_TRY(lj_file_spare(out, part.file));
    }
    return LJ_OK;
}

static int create_file(struct target *t, const struct lj_embed_job *job, int64_t *done)
{
    const struct lj_archive *archive = job->archive;
    LJ_TRY(spare_inputs(job));
    char *provenance = lj_embed_provenance(job);
    struct lj_embeddings_part *parts = list_parts(archive);
    const struct lj_config *c = job->config;
    int64_t views = job->embedder->projections ? c->views_global + c->views_local : 0;
    const struct lj_embeddings_layout layout = {.rows = t->rows,
                                                .width = lj_embed_width(job->embedder) /
                                                         lj_max_i64(views, 1),
                                                .views = views,
                                                .global_views = c->views_global,
                                                .labels = lj_archive_info(archive)->has_labels,
                                                .row = true,
                                                .provenance = provenance,
                                                .parts = lj_archive_info(archive)->parts,
                                                .part = parts};
    int status = LJ_ERR_RESOURCE;
    if (provenance && parts)
        status = lj_embeddings_create(&t->file, job->config->arg_out, &layout, done);
    lj_free(parts);
    lj_free(provenance);
    return status;
}

static int create(struct target *t, const struct lj_embed_job *job, int64_t *done)
{
    int status = create_file(t, job, done);
    if (status == LJ_OK && *done > 0)
        lj_say("%s: continuing at row %lld of %lld", job->config->arg_out, (long long)*done,
               (long long)t->rows);
    t->first = *done;
    t->terminal = isatty(STDERR_FILENO);
    t->interval_s = interval_s();
    t->begun_s = t->synced_s = lj_now_s();
    return status;
}

/* Closes the file after a failure, and adds to its text what becomes of the rows. */
static void abandon(struct target *t, const char *out)
{
    char text[4096];
    snprintf(text, sizeof text, "%s", lj_error_text());
    bool created = t->file != NULL;
    int64_t kept = lj_embeddings_abandon(t->file);
    size_t used = strlen(text);
    if (kept > 0)
        snprintf(text + used, sizeof text - used,
                 "; %lld of %lld rows of %.1000s are kept: the same command goes on there",
                 (long long)kept, (long long)t->rows, out);
    else if (created)
        snprintf(text + used, sizeof text - used, "; no rows are kept");
    lj_error_set(text);
}

int lj_embed_to_file(struct lj_comm *comm, const struct lj_embed_job *job)
{
    struct target target = {.archive = job->archive,
                            .width = lj_embed_width(job->embedder),
                            .rows = lj_archive_info(job->archive)->selected};
    int64_t done = 0;
    int status = LJ_OK;
    if (lj_comm_is_root(comm))
        status = create(&target, job, &done);
    status = lj_agree(comm, status);
    if (status == LJ_OK) {
        lj_broadcast(comm, &done, sizeof done, 0);
        status = lj_embed(comm, job->embedder, job->archive, target.rows, done, put, &target);
    }
    if (status != LJ_OK) {
        if (lj_comm_is_root(comm))
            abandon(&target, job->config->arg_out);
        return status;
    }
    return lj_agree(comm, lj_comm_is_root(comm) ? lj_embeddings_close(target.file) : LJ_OK);
}
