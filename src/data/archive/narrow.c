/* SPDX-License-Identifier: Apache-2.0 */
/* Fewer rows of an open archive, as if data.where had selected no others. Ranks share the rows that
 * are asked about. */
#include "data/archive/archive.h"

/* Asks about the selected rows of this rank's share; lists the labels of those that are kept. */
static void ask(const struct lj_archive *archive, struct lj_share *share,
                bool (*keeps)(void *data, int64_t index), void *data, int32_t *label)
{
    int64_t first = lj_subset_before(&archive->rows, share->first), kept = 0;
    int64_t end = lj_subset_before(&archive->rows, share->end);
    for (int64_t i = first; i < end; i++) {
        if (!keeps(data, i))
            continue;
        lj_share_set(share, lj_archive_row(archive, i));
        if (label)
            label[kept++] = lj_archive_label(archive, i);
    }
}

int lj_archive_narrow(struct lj_archive *archive, struct lj_comm *comm,
                      bool (*keeps)(void *data, int64_t index), void *data)
{
    struct lj_share share;
    bool labels = archive->header.info.has_labels;
    int32_t *label = NULL;
    int status = lj_share_make(&share, comm, archive->header.info.rows, false);
    if (status == LJ_OK && labels) {
        int64_t most = lj_subset_before(&archive->rows, share.end) -
                       lj_subset_before(&archive->rows, share.first);
        label = lj_alloc_array(most, sizeof *label, "archive index");
        status = label ? LJ_OK : LJ_ERR_RESOURCE;
    }
    status = lj_agree(comm, status);
    if (status == LJ_OK) {
        ask(archive, &share, keeps, data, label);
        status = lj_archive_select(archive, comm, &share, label);
        archive->have_statistics = false;
    }
    lj_free(label);
    lj_share_free(&share);
    return status;
}

/* A choice of so many of the selected rows, spaced evenly. */
struct even {
    int64_t count, of;
};

static bool is_even(void *data, int64_t index)
{
    const struct even *even = data;
    int64_t i = (int64_t)(((__int128)index * even->count + even->of - 1) / even->of);
    return i < even->count && lj_evenly(i, even->count, even->of) == index;
}

int lj_archive_thin(struct lj_archive *archive, struct lj_comm *comm, int64_t count)
{
    struct even even = {count, archive->header.info.selected};
    return count < even.of ? lj_archive_narrow(archive, comm, is_even, &even) : LJ_OK;
}
