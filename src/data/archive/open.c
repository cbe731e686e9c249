/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing an archive. All ranks index its files and rank 0 puts the index together. It
 * consists of plain tables, which are then copied into memory that every node has once. A rank
 * opens a dataset when it first reads from it. */
#include "data/archive/archive.h"

#include <string.h>

/* Takes the datasets of images from another archive of the same files. */
static int copy_index(struct lj_archive *archive, const struct lj_archive *from)
{
    int64_t parts = from->header.info.parts, texts = from->header.texts_bytes;
    archive->header = from->header;
    lj_index_only(&archive->header);
    archive->part = lj_alloc_array(parts, sizeof *archive->part, "archive");
    archive->texts = lj_alloc((size_t)texts, "archive");
    if (!archive->part || !archive->texts)
        return LJ_ERR_RESOURCE;
    memcpy(archive->part, from->part, (size_t)parts * sizeof *archive->part);
    memcpy(archive->texts, from->texts, (size_t)texts);
    return LJ_OK;
}

/* What rank 0 does when the parts are known, before the others learn of them. */
static int finish_index(struct lj_archive *archive, const struct lj_archive_options *options)
{
    struct lj_archive_header *header = &archive->header;
    LJ_TRY(lj_fault("open", -1));
    if (options->indexed)
        LJ_TRY(copy_index(archive, options->indexed));
    header->stretch = options->stretch;
    header->nan = options->nan;
    header->factor = (float)(lj_pixel_divisor(header->type_text, 0) /
                             lj_pixel_divisor(header->type_text, options->full_scale));
    return LJ_OK;
}

/* What each rank adds once it has the header: the strings of info, the table of handles. */
static int settle(struct lj_archive *archive)
{
    struct lj_archive_header *header = &archive->header;
    header->info.type = header->type_text;
    header->info.axes = header->axes_text;
    header->info.axes_reason = header->reason_text;
    header->info.images = header->images_text;
    header->info.labels = header->labels_text;
    header->info.storage = header->storage_text;
    header->info.blank = header->blank_text;
    archive->open = lj_alloc_array(header->info.parts, sizeof *archive->open, "archive");
    if (!archive->open)
        return LJ_ERR_RESOURCE;
    for (int p = 0; p < header->info.parts; p++)
        archive->open[p] = -1;
    return LJ_OK;
}

enum { TABLES = 2 };

/* Collective. Every rank receives rank 0's index. */
static int share_index(struct lj_archive *archive, struct lj_comm *comm)
{
    lj_broadcast(comm, &archive->header, (int64_t)sizeof archive->header, 0);
    const struct lj_table table[TABLES] = {
        {(void **)&archive->part, archive->header.info.parts * (int64_t)sizeof *archive->part},
        {(void **)&archive->texts, archive->header.texts_bytes}};
    LJ_TRY(
        lj_shared_create(&archive->shared, comm, lj_tables_bytes(table, TABLES), "archive index"));
    lj_tables_place(table, TABLES, archive->shared, lj_comm_is_root(comm));
    lj_shared_broadcast(archive->shared);
    return LJ_OK;
}

/* The limits of rank 0 if it was given some, else those of the archive. Collective. */
static int find_limits(struct lj_archive *archive, struct lj_comm *comm,
                       const struct lj_archive_options *options)
{
    struct lj_limits *limits = &archive->header.limits;
    bool has = options->limits != NULL;
    if (!lj_archive_limits(archive))
        return LJ_OK;
    lj_broadcast(comm, &has, (int64_t)sizeof has, 0);
    if (!has)
        return lj_archive_find_limits(archive, comm, options->stretch_scale);
    if (lj_comm_is_root(comm))
        *limits = *options->limits;
    lj_broadcast(comm, limits, (int64_t)sizeof *limits, 0);
    return LJ_OK;
}

/* Collective. */
static int open_all(struct lj_archive *archive, struct lj_comm *comm,
                    const struct lj_archive_options *options)
{
    int status = LJ_OK;
    if (!options->indexed)
        LJ_TRY(lj_archive_scan(archive, comm, options));
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm)) {
        status = finish_index(archive, options);
        if (status == LJ_OK)
            status = settle(archive);
    }
    LJ_TRY(lj_root_section_end(comm, status));
    LJ_TRY(share_index(archive, comm));
    if (!lj_comm_is_root(comm))
        status = settle(archive);
    LJ_TRY(lj_agree(comm, status));
    LJ_TRY(lj_archive_columns(archive, comm, options));
    return find_limits(archive, comm, options);
}

int lj_archive_open(struct lj_archive **archive, struct lj_comm *comm,
                    const struct lj_archive_options *options)
{
    *archive = NULL;
    struct lj_archive *made = lj_alloc(sizeof *made, "archive");
    int status = lj_agree(comm, made ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        pthread_mutex_init(&made->lock, NULL);
        status = open_all(made, comm, options);
    }
    if (status == LJ_OK)
        *archive = made;
    else
        lj_archive_close(made);
    return status;
}

void lj_archive_close(struct lj_archive *archive)
{
    if (!archive)
        return;
    lj_parts_close(archive);
    for (int64_t i = 0; i < archive->scratches; i++)
        lj_scratch_free(archive->scratch[i]);
    lj_free(archive->scratch);
    pthread_mutex_destroy(&archive->lock);
    lj_archive_unselect(archive);
    if (!archive->shared) {
        lj_free(archive->part);
        lj_free(archive->texts);
    }
    lj_scan_note_free(archive->note);
    lj_shared_destroy(archive->shared);
    lj_free(archive->open);
    lj_free(archive);
}
