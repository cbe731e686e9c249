/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns which part of each bucket: every unit has one owner, and the ranks of a large cluster
 * own about equally much of real networks, whose buckets have fewer units than there are ranks. */
#include "comm/gradsync/gradsync.h"
#include "models/models.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct lj_config settings; /* too large for the stack */

static void make_model(struct lj_model **model, const char *encoder)
{
    lj_config_defaults(&settings);
    snprintf(settings.model, sizeof settings.model, "%s", encoder);
    cr_assert_eq(lj_model_resolve(&settings, 224), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_create(model, &settings, 3, 4 << 20), LJ_OK, "%s", lj_error_text());
}

static struct lj_gradsync layout_of(struct lj_comm *comm, int buckets, const int64_t *bounds)
{
    return (struct lj_gradsync){.comm = comm, .buckets = buckets, .bounds = bounds};
}

/* Elements of the rank that owns most, divided by the mean. */
static double busiest(const struct lj_params *params, int size)
{
    struct lj_comm comm = {.size = size};
    struct lj_gradsync s = layout_of(&comm, params->buckets, params->bounds);
    int64_t most = 0, all = 0;
    for (int r = 0; r < size; r++) {
        int64_t mine = 0;
        for (int b = 0; b < s.buckets; b++)
            mine += lj_part_of(&s, b, r).count;
        most = lj_max_i64(most, mine);
        all += mine;
    }
    cr_assert_eq(all, params->bounds[params->buckets]);
    return (double)most * size / (double)all;
}

Test(owners, no_rank_of_a_large_cluster_owns_much_more_than_the_mean)
{
    const char *const encoders[] = {"vit_small", "vit_base", "vit_large"};
    const int sizes[] = {256, 1024, 4096};
    for (int i = 0; i < 3; i++) {
        struct lj_model *model;
        make_model(&model, encoders[i]);
        for (int j = 0; j < 3; j++) {
            double ratio = busiest(&model->params, sizes[j]);
            cr_expect_lt(ratio, 1.3, "%s on %d ranks: the busiest owns %.2f times the mean",
                         encoders[i], sizes[j], ratio);
        }
        lj_model_destroy(model);
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The parts of a bucket, each {first, count}, in order of their elements. */
static void expect_cover(const struct lj_gradsync *s, int bucket, int64_t (*part)[2])
{
    int64_t at = s->bounds[bucket];
    for (int r = 0; r < s->comm->size; r++) {
        struct lj_part of_rank = lj_part_of(s, bucket, r);
        cr_assert_eq(of_rank.rank, r);
        part[r][0] = of_rank.first;
        part[r][1] = of_rank.count;
        cr_assert_eq(part[r][0] % LJ_SHARD_ALIGN, 0);
        cr_assert_eq(part[r][1] % LJ_SHARD_ALIGN, 0);
    }
    qsort(part, (size_t)s->comm->size, sizeof *part, by_value);
    for (int r = 0; r < s->comm->size; r++) {
        if (part[r][1] == 0)
            continue;
        cr_assert_eq(part[r][0], at, "bucket %d on %d ranks", bucket, s->comm->size);
        at += part[r][1];
    }
    cr_assert_eq(at, s->bounds[bucket + 1], "bucket %d on %d ranks", bucket, s->comm->size);
}

Test(owners, the_parts_of_a_bucket_cover_it_once)
{
    enum { BUCKETS = 6, SIZE_MOST = 40 };
    static const int64_t units[BUCKETS + 1] = {0, 1, 8, 8, 25, 29, 126};
    int64_t bounds[BUCKETS + 1], part[SIZE_MOST][2];
    for (int b = 0; b <= BUCKETS; b++)
        bounds[b] = units[b] * LJ_SHARD_ALIGN;
    for (int size = 1; size <= SIZE_MOST; size++) {
        struct lj_comm comm = {.size = size};
        struct lj_gradsync s = layout_of(&comm, BUCKETS, bounds);
        for (int b = 0; b < BUCKETS; b++)
            expect_cover(&s, b, part);
    }
}
