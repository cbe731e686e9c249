/* SPDX-License-Identifier: Apache-2.0 */
/* Files -> parts, by all ranks. Rank 0 lists the files and opens the first ones until it has a
 * dataset with rows, which decides type, axes and shape. The other files are cut into a contiguous
 * share for each rank; what the ranks find is put together in the order of the files. Of several
 * failing files the first one speaks, as shares follow one another in the order of the ranks. */
#include "data/archive/archive.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* Ranks tell one another how far they are after so many seconds; the log hears of it less often. */
static const double round_s = 2, telling_s = 10;

struct scan {
    struct lj_archive *archive;               /* borrowed */
    struct lj_comm *comm;                     /* borrowed */
    const struct lj_archive_options *options; /* borrowed */
    struct lj_paths files;                    /* the same on every rank */
    struct lj_builder builder;                /* of this rank's share */
    int64_t next;                             /* the first file that nobody has opened */
};

/* ---- files ------------------------------------------------------------------------------- */

/* Rank 0 lists the files, and every node learns their names. Collective. */
static int list_files(struct scan *s)
{
    struct lj_file_list list = {0};
    int status = LJ_OK;
    lj_root_section_begin(s->comm);
    if (lj_comm_is_root(s->comm))
        status = lj_file_list_make(&list, s->options->files);
    status = lj_root_section_end(s->comm, status);
    if (status == LJ_OK)
        status = lj_paths_share(&s->files, s->comm, &list);
    lj_file_list_free(&list);
    return status;
}

/* Rank 0 opens the first files. Collective. */
static int begin(struct scan *s)
{
    int status = LJ_OK;
    lj_root_section_begin(s->comm);
    if (lj_comm_is_root(s->comm)) {
        while (status == LJ_OK && !s->builder.known && s->next < s->files.count)
            status = lj_builder_add(&s->builder, lj_path(&s->files, s->next++), s->options);
        if (status == LJ_OK && !s->builder.known)
            status = lj_fail(LJ_ERR_DATA,
                             "%s: expected images, found datasets without rows; check data.archive",
                             s->options->files);
    }
    return lj_root_section_end(s->comm, status);
}

/* The other ranks learn what rank 0 knows of the first dataset. Collective. */
static void share_first(struct scan *s)
{
    struct lj_builder *b = &s->builder;
    struct lj_archive_header *header = &s->archive->header;
    lj_broadcast(s->comm, &s->next, (int64_t)sizeof s->next, 0);
    lj_broadcast(s->comm, b->dim, (int64_t)sizeof b->dim, 0);
    lj_broadcast(s->comm, &b->dims, (int64_t)sizeof b->dims, 0);
    lj_broadcast(s->comm, b->first_file, (int64_t)sizeof b->first_file, 0);
    b->known = true;
    lj_broadcast(s->comm, header, (int64_t)sizeof *header, 0);
    if (lj_comm_is_root(s->comm))
        return;
    header->info.parts = 0;
    header->info.rows = 0;
    header->texts_bytes = 0;
}

/* ---- shares ------------------------------------------------------------------------------ */

/* Opens files [*at, end) until a round is over. */
static int open_some(struct scan *s, int64_t *at, int64_t end)
{
    double begun = lj_now_s();
    int status = LJ_OK;
    while (*at < end && status == LJ_OK && lj_now_s() - begun < round_s)
        status = lj_builder_add(&s->builder, lj_path(&s->files, (*at)++), s->options);
    return status;
}

/* Opens this rank's share. Ranks behind the first failing one stop, those before it go on, as their
 * files come first. Collective. */
static int open_share(struct scan *s)
{
    int64_t left = s->files.count - s->next, size = s->comm->size, rank = s->comm->rank, at, end;
    lj_files_of_rank(s->comm, left, &at, &end);
    at += s->next;
    end += s->next;
    double told = lj_now_s();
    int status = LJ_OK;
    while (left > 0) {
        if (status == LJ_OK)
            status = open_some(s, &at, end);
        int64_t failing = lj_all_min(s->comm, status == LJ_OK ? size : rank);
        if (rank >= failing)
            end = at;
        left = lj_all_sum(s->comm, end - at);
        lj_progress();
        if (left > 0 && lj_now_s() - told >= telling_s) {
            lj_say("%lld of %lld files of the archive are indexed",
                   (long long)(s->files.count - left), (long long)s->files.count);
            told = lj_now_s();
        }
    }
    return lj_agree(s->comm, status);
}

/* ---- putting together -------------------------------------------------------------------- */

/* What a rank's share is, but for its arrays. */
struct lengths {
    int64_t parts, rows, groups, bytes, texts_bytes, hashed_bytes, lengths_differ;
};

static struct lengths lengths_of(const struct lj_builder *b)
{
    const struct lj_archive_header *header = &b->archive->header;
    return (struct lengths){.parts = header->info.parts,
                            .rows = header->info.rows,
                            .groups = b->groups,
                            .bytes = b->bytes,
                            .texts_bytes = header->texts_bytes,
                            .hashed_bytes = b->hashed.bytes,
                            .lengths_differ = b->lengths_differ};
}

static void pass_arrays(struct lj_comm *comm, int from, struct lj_builder *b)
{
    struct lengths n = lengths_of(b);
    lj_pass_to_root(comm, from, b->archive->part, n.parts * (int64_t)sizeof *b->archive->part);
    lj_pass_to_root(comm, from, b->archive->texts, n.texts_bytes);
    lj_pass_to_root(comm, from, b->hashed.at, n.hashed_bytes);
}

/* Sets a builder to receive a share of those lengths into its arrays, which have room for it. */
static void expect(struct lj_builder *b, const struct lengths *n)
{
    struct lj_archive_header *header = &b->archive->header;
    header->info.parts = (int)n->parts;
    header->info.rows = n->rows;
    header->texts_bytes = n->texts_bytes;
    b->groups = n->groups;
    b->bytes = n->bytes;
    b->hashed.bytes = n->hashed_bytes;
    b->lengths_differ = n->lengths_differ != 0;
}

/* Allocates a builder's arrays for the longest of all shares. */
static int make_room(struct lj_builder *b, const struct lengths *all, int count)
{
    struct lengths most = {0};
    for (int r = 0; r < count; r++) {
        most.parts = lj_max_i64(most.parts, all[r].parts);
        most.texts_bytes = lj_max_i64(most.texts_bytes, all[r].texts_bytes);
        most.hashed_bytes = lj_max_i64(most.hashed_bytes, all[r].hashed_bytes);
    }
    b->archive = lj_alloc(sizeof *b->archive, "archive");
    if (!b->archive)
        return LJ_ERR_RESOURCE;
    b->archive->part = lj_alloc_array(most.parts, sizeof *b->archive->part, "archive");
    b->archive->texts = lj_alloc((size_t)most.texts_bytes, "archive");
    b->hashed.at = lj_alloc((size_t)most.hashed_bytes, "archive");
    bool good = b->archive->part && b->archive->texts && b->hashed.at;
    return good ? LJ_OK : LJ_ERR_RESOURCE;
}

static void free_room(struct lj_builder *b)
{
    if (b->archive) {
        lj_free(b->archive->part);
        lj_free(b->archive->texts);
        lj_free(b->archive);
    }
    lj_builder_free(b);
}

/* Rank 0 receives the shares one after the other and appends them to its own. Collective. */
static int receive_shares(struct scan *s, struct lengths *all, struct lj_builder *share)
{
    int size = s->comm->size, status = LJ_OK;
    bool root = lj_comm_is_root(s->comm);
    struct lengths mine = lengths_of(&s->builder);
    for (int r = 1; r < size; r++)
        lj_pass_to_root(s->comm, r, root ? &all[r] : &mine, (int64_t)sizeof mine);
    if (root)
        status = make_room(share, all, size);
    LJ_TRY(lj_agree(s->comm, status));
    for (int r = 1; r < size; r++) {
        if (root)
            expect(share, &all[r]);
        pass_arrays(s->comm, r, root ? share : &s->builder);
        if (root && status == LJ_OK)
            status = lj_builder_append(&s->builder, share);
    }
    return lj_agree(s->comm, status);
}

/* Collective. */
static int put_together(struct scan *s)
{
    struct lj_builder share = {0};
    bool root = lj_comm_is_root(s->comm);
    struct lengths *all = lj_alloc_array(root ? s->comm->size : 0, sizeof *all, "archive");
    int status = lj_agree(s->comm, all ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = receive_shares(s, all, &share);
    free_room(&share);
    lj_free(all);
    return status;
}

/* What is known of the images once all datasets are. */
static int conclude(struct scan *s)
{
    const struct lj_archive *archive = s->archive;
    struct lj_archive_info *info = &s->archive->header.info;
    const struct lj_builder *b = &s->builder;
    char where[2 * LJ_NAME_BYTES];
    snprintf(where, sizeof where, "%.1000s:%s", lj_part_file(archive, &archive->part[0]),
             lj_part_dataset(archive, &archive->part[0]));
    info->fingerprint = XXH3_64bits(b->hashed.at, (size_t)b->hashed.bytes);
    info->height = s->options->size ? s->options->size : info->stored_height;
    info->width = s->options->size ? s->options->size : info->stored_width;
    if (s->options->axes != LJ_DATA_AXES_AUTO || b->dims != 3)
        return LJ_OK;
    return lj_axes_check_rows(&s->archive->header, b->dim, b->lengths_differ, where);
}

/* Collective. */
static int scan_all(struct scan *s)
{
    bool recalled = false;
    LJ_TRY(list_files(s));
    if (s->options->cache)
        LJ_TRY(lj_archive_recall(s->archive, s->comm, s->options, &s->files, &recalled));
    if (recalled)
        return LJ_OK;
    LJ_TRY(begin(s));
    share_first(s);
    LJ_TRY(open_share(s));
    LJ_TRY(put_together(s));
    return lj_agree(s->comm, lj_comm_is_root(s->comm) ? conclude(s) : LJ_OK);
}

int lj_archive_scan(struct lj_archive *archive, struct lj_comm *comm,
                    const struct lj_archive_options *options)
{
    struct scan s = {
        .archive = archive, .comm = comm, .options = options, .builder.archive = archive};
    int status = scan_all(&s);
    lj_builder_free(&s.builder);
    lj_paths_free(&s.files);
    if (!lj_comm_is_root(comm)) { /* they come back in the memory of the node */
        lj_free(archive->part);
        lj_free(archive->texts);
        archive->part = NULL;
        archive->texts = NULL;
    }
    return status;
}
