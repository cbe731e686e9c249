/* SPDX-License-Identifier: Apache-2.0 */
/* The selected rows of an archive, their groups and labels, in memory that a node has once. Each
 * rank says which rows of its share are selected, as bits, and what their labels are; rank 0 makes
 * the tables. Labels take one, two or four bytes each, as their values need. */
#include "data/archive/archive.h"

#include <string.h>

enum { WORD_BITS = 64, TABLES = 1 + 2 * LJ_SUBSET_TABLES };

/* ---- shares ------------------------------------------------------------------------------ */

/* Rows [*first, *end) of a rank: whole blocks of LJ_SUBSET_BLOCK. */
static void rows_of_rank(int64_t rows, int rank, int size, int64_t *first, int64_t *end)
{
    int64_t blocks = (rows + LJ_SUBSET_BLOCK - 1) / LJ_SUBSET_BLOCK;
    *first = lj_min_i64(rows, (int64_t)((__int128)blocks * rank / size) * LJ_SUBSET_BLOCK);
    *end = lj_min_i64(rows, (int64_t)((__int128)blocks * (rank + 1) / size) * LJ_SUBSET_BLOCK);
}

int lj_share_make(struct lj_share *share, const struct lj_comm *comm, int64_t rows, bool all)
{
    rows_of_rank(rows, comm->rank, comm->size, &share->first, &share->end);
    int64_t count = share->end - share->first;
    share->bits = lj_bits_alloc(count);
    if (!share->bits)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; all && i < count; i++)
        lj_bits_set(share->bits, i);
    return LJ_OK;
}

void lj_share_free(struct lj_share *share)
{
    lj_free(share->bits);
    share->bits = NULL;
}

bool lj_share_has(const struct lj_share *share, int64_t row)
{
    int64_t bit = row - share->first;
    return share->bits[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

void lj_share_set(struct lj_share *share, int64_t row)
{
    lj_bits_set(share->bits, row - share->first);
}

void lj_share_clear(struct lj_share *share, int64_t row)
{
    int64_t bit = row - share->first;
    share->bits[bit / WORD_BITS] &= ~(UINT64_C(1) << (bit % WORD_BITS));
}

int64_t lj_share_count(const struct lj_share *share)
{
    int64_t count = 0;
    for (int64_t i = 0; i < (share->end - share->first + WORD_BITS - 1) / WORD_BITS; i++)
        count += __builtin_popcountll(share->bits[i]);
    return count;
}

/* ---- on rank 0 --------------------------------------------------------------------------- */

/* Rank 0 receives the bits of all rows. Collective. */
static void gather_bits(struct lj_comm *comm, int64_t rows, const struct lj_share *share,
                        uint64_t *all)
{
    for (int r = 0; r < comm->size; r++) {
        int64_t first, end;
        rows_of_rank(rows, r, comm->size, &first, &end);
        size_t bytes = (size_t)((end - first + WORD_BITS - 1) / WORD_BITS) * sizeof *all;
        if (r > 0)
            lj_pass_to_root(comm, r, all ? all + first / WORD_BITS : share->bits, (int64_t)bytes);
        else if (all)
            memcpy(all, share->bits, bytes);
    }
}

/* Makes rows and groups from the bits, which are taken over. */
static int make_subsets(struct lj_archive *archive, uint64_t *bits)
{
    int64_t rows = archive->header.info.rows;
    archive->groups = (struct lj_subset){0};
    if (archive->header.info.selected == rows) {
        lj_free(bits);
        LJ_TRY(lj_subset_whole(&archive->rows, rows));
    } else {
        LJ_TRY(lj_subset_make(&archive->rows, rows, bits));
    }
    return lj_archive_make_groups(archive);
}

/* Rank 0 makes rows and groups, of which every rank learns the sizes. Collective. */
static int make_tables(struct lj_archive *archive, struct lj_comm *comm,
                       const struct lj_share *share)
{
    int64_t rows = archive->header.info.rows;
    bool root = lj_comm_is_root(comm);
    uint64_t *bits = root ? lj_bits_alloc(rows) : NULL;
    LJ_TRY(lj_agree(comm, root && !bits ? LJ_ERR_RESOURCE : LJ_OK));
    gather_bits(comm, rows, share, bits);
    lj_root_section_begin(comm);
    int status = root ? make_subsets(archive, bits) : LJ_OK;
    LJ_TRY(lj_root_section_end(comm, status));
    struct lj_subset *subsets[] = {&archive->rows, &archive->groups};
    for (int i = 0; i < 2; i++) {
        int64_t sizes[] = {subsets[i]->all, subsets[i]->members, subsets[i]->runs};
        lj_broadcast(comm, sizes, (int64_t)sizeof sizes, 0);
        if (!root)
            *subsets[i] =
                (struct lj_subset){.all = sizes[0], .members = sizes[1], .runs = sizes[2]};
    }
    return LJ_OK;
}

/* ---- labels ------------------------------------------------------------------------------ */

/* Finds classes, and the bytes of a label, from everybody's. Collective. */
static void measure_labels(struct lj_archive *archive, struct lj_comm *comm, const int32_t *label,
                           int64_t count)
{
    int64_t least = 0, most = -1;
    for (int64_t i = 0; i < count; i++) {
        least = lj_min_i64(least, label[i]);
        most = lj_max_i64(most, label[i]);
    }
    least = lj_all_min(comm, least);
    most = lj_all_max(comm, most);
    archive->header.info.classes = most + 1;
    archive->label_bytes = 4;
    if (least >= INT16_MIN && most <= INT16_MAX)
        archive->label_bytes = 2;
    if (least >= INT8_MIN && most <= INT8_MAX)
        archive->label_bytes = 1;
}

/* Shortens labels in place. */
static void shorten(void *labels, int64_t count, int bytes)
{
    const int32_t *from = labels;
    int16_t *two = labels;
    int8_t *one = labels;
    for (int64_t i = 0; i < count && bytes < 4; i++) {
        int32_t label;
        memcpy(&label, &from[i], sizeof label);
        if (bytes == 2)
            memcpy(&two[i], &(int16_t){(int16_t)label}, sizeof *two);
        else
            one[i] = (int8_t)label;
    }
}

/* Rank 0 receives everybody's labels into its table. Collective.
 *   mine  in  of this rank's selected rows, shortened */
static void gather_labels(struct lj_archive *archive, struct lj_comm *comm, void *mine,
                          int64_t count)
{
    for (int r = 0; r < comm->size; r++) {
        bool root = lj_comm_is_root(comm);
        int64_t first, end;
        rows_of_rank(archive->header.info.rows, r, comm->size, &first, &end);
        int64_t before = root ? lj_subset_before(&archive->rows, first) : 0;
        int64_t labels = root ? lj_subset_before(&archive->rows, end) - before : count;
        char *at = root ? (char *)archive->label + before * archive->label_bytes : mine;
        if (r > 0)
            lj_pass_to_root(comm, r, at, labels * archive->label_bytes);
        else if (root && labels > 0)
            memcpy(at, mine, (size_t)(labels * archive->label_bytes));
    }
}

int32_t lj_archive_label(const struct lj_archive *archive, int64_t i)
{
    if (archive->label_bytes == 1)
        return ((const int8_t *)archive->label)[i];
    return archive->label_bytes == 2 ? ((const int16_t *)archive->label)[i]
                                     : ((const int32_t *)archive->label)[i];
}

/* ---- tables of a node -------------------------------------------------------------------- */

/* Puts the tables into memory of the node. Collective. */
static int place_tables(struct lj_archive *archive, struct lj_comm *comm)
{
    struct lj_table table[TABLES];
    int64_t labels = archive->label_bytes * archive->header.info.selected, count = 1;
    table[0] = (struct lj_table){&archive->label, labels};
    count += lj_subset_tables(&archive->rows, table + count);
    lj_subset_tables(&archive->groups, table + count);
    LJ_TRY(lj_shared_create(&archive->selection, comm, lj_tables_bytes(table, TABLES),
                            "archive index"));
    lj_tables_place(table, TABLES, archive->selection, lj_comm_is_root(comm));
    return LJ_OK;
}

/* Forgets rows, groups and labels; they lie in memory that `shared` holds, or this rank's own. */
static void forget(struct lj_archive *archive, struct lj_shared *shared)
{
    if (!shared) {
        lj_subset_free(&archive->rows);
        lj_subset_free(&archive->groups);
    }
    archive->rows = archive->groups = (struct lj_subset){0};
    archive->label = NULL;
}

void lj_archive_unselect(struct lj_archive *archive)
{
    forget(archive, archive->selection);
    lj_shared_destroy(archive->selection);
    archive->selection = NULL;
}

int lj_archive_select(struct lj_archive *archive, struct lj_comm *comm,
                      const struct lj_share *share, int32_t *label)
{
    int64_t count = lj_share_count(share);
    lj_archive_unselect(archive);
    archive->label_bytes = 0;
    archive->header.info.selected = lj_all_sum(comm, count);
    LJ_TRY(make_tables(archive, comm, share));
    if (label) {
        measure_labels(archive, comm, label, count);
        shorten(label, count, archive->label_bytes);
    }
    LJ_TRY(place_tables(archive, comm));
    if (label)
        gather_labels(archive, comm, label, count);
    lj_shared_broadcast(archive->selection);
    return LJ_OK;
}
