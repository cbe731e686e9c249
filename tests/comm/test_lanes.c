/* SPDX-License-Identifier: Apache-2.0 */
/* Every lane has one rank, and ranks have equally many as far as that goes. */
#include "comm/comm.h"

#include <criterion/criterion.h>

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
