/* SPDX-License-Identifier: Apache-2.0 */
/* Every lane has one rank, and ranks have equally many as far as that goes. With which numbers of
 * ranks and lanes a rank sends one sum of each bucket. */
#include "comm/comm.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(lanes, ranks_share_all_lanes_in_order)
{
    const int64_t lanes[] = {1, 2, 3, 5, 6, 7, 63, 64, 65, 1000003, INT64_C(1) << 40};
    const int sizes[] = {1, 2, 3, 4, 5, 7, 12, 64, 100, 4096};
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            int64_t next = 0, least = lanes[i], most = 0;
            for (int rank = 0; rank < sizes[j]; rank++) {
                int64_t first = -1, end = -1;
                lj_lanes_of_rank(lanes[i], sizes[j], rank, &first, &end);
                cr_assert_eq(first, next, "rank %d of %d", rank, sizes[j]);
                cr_assert_geq(end, first);
                least = lj_min_i64(least, end - first);
                most = lj_max_i64(most, end - first);
                next = end;
            }
            cr_assert_eq(next, lanes[i]);
            cr_assert_leq(most - least, 1, "%lld lanes on %d ranks", (long long)lanes[i], sizes[j]);
        }
}

static bool is_power_of_two(int64_t x)
{
    return x > 0 && (x & (x - 1)) == 0;
}

static bool is_even(int64_t lanes, int64_t size)
{
    return lanes % size == 0 && is_power_of_two(lanes / size);
}

Test(lanes, one_sum_where_every_rank_has_a_power_of_two)
{
    for (int64_t lanes = 1; lanes <= 70; lanes++)
        for (int size = 1; size <= 80; size++) {
            int most = lj_lanes_most_sums(lanes, size);
            cr_assert_geq(most, 1);
            if (size == 1 || lanes <= size || is_even(lanes, size))
                cr_assert_eq(most, 1, "%lld lanes, %d ranks", (long long)lanes, size);
        }
    cr_expect_eq(lj_lanes_most_sums(4, 3), 1, "1, 1 and 2 lanes");
    cr_expect_eq(lj_lanes_most_sums(6, 2), 2, "lanes 0 and 1, and lane 2");
    cr_expect_eq(lj_lanes_most_sums(512, 7), 8);
}

Test(lanes, sums_between_waves)
{
    cr_expect_eq(lj_lanes_sums_between_waves(8, 0, 8, 8), 0, "one wave");
    cr_expect_eq(lj_lanes_sums_between_waves(8, 0, 0, 2), 0, "no lanes");
    cr_expect_eq(lj_lanes_sums_between_waves(8, 0, 8, 4), 1);
    cr_expect_eq(lj_lanes_sums_between_waves(8, 0, 8, 1), 3, "lanes 0 to 3, 4 and 5, 6");
    cr_expect_eq(lj_lanes_sums_between_waves(64, 0, 64, 8), 3);
    cr_expect_eq(lj_lanes_sums_between_waves(64, 0, 64, 7), 6, "63 lanes");
    cr_expect_eq(lj_lanes_sums_between_waves(64, 3, 9, 4), 3, "lane 3, 4 and 5, 6");
}

Test(lanes, the_nearest_even_numbers)
{
    for (int64_t lanes = 1; lanes <= 60; lanes++)
        for (int size = 1; size <= 66; size++) {
            int64_t ranks = lanes, other = size;
            for (int64_t i = 1; i < 4 * lanes + size; i++) {
                if (is_even(lanes, i) && llabs(i - size) < llabs(ranks - size))
                    ranks = i;
                if (is_even(i, size) && llabs(i - lanes) < llabs(other - lanes))
                    other = i;
            }
            cr_assert_eq(llabs(lj_lanes_nearest_ranks(lanes, size) - size), llabs(ranks - size),
                         "%lld lanes, %d ranks", (long long)lanes, size);
            cr_assert(is_even(lanes, lj_lanes_nearest_ranks(lanes, size)));
            cr_assert_eq(llabs(lj_lanes_nearest(lanes, size) - lanes), llabs(other - lanes),
                         "%lld lanes, %d ranks", (long long)lanes, size);
            cr_assert(is_even(lj_lanes_nearest(lanes, size), size));
        }
}
