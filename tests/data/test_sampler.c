/* SPDX-License-Identifier: Apache-2.0 */
/* The sampler: properties of the stream, checked by counting. */
#include "data/data.h"

#include <criterion/criterion.h>
#include <string.h>

enum { GROUPS_MAX = 400 };

/* Groups of uneven lengths 1 + (7 i mod 5), the last one cut so that they hold N samples. */
static int64_t make_groups(int64_t samples, int64_t *first)
{
    int64_t groups = 0;
    first[0] = 0;
    while (first[groups] < samples) {
        first[groups + 1] = lj_min_i64(samples, first[groups] + 1 + 7 * groups % 5);
        groups++;
    }
    return groups;
}

static int64_t first_of(const void *data, int64_t group)
{
    return ((const int64_t *)data)[group];
}

static struct lj_sampler *make(int64_t seed, int64_t lanes, int64_t samples, int64_t window)
{
    static int64_t first[GROUPS_MAX];
    struct lj_groups groups = {make_groups(samples, first), first_of, first};
    struct lj_sampler *sampler = NULL;
    cr_assert_eq(lj_sampler_create(&sampler, seed, lanes, &groups, window), LJ_OK);
    return sampler;
}

/* Serves the first `epochs` epochs of all lanes and counts how often each index came. */
static void count_epochs(int64_t lanes, int64_t samples, int64_t window, int64_t epochs)
{
    struct lj_sampler *sampler = make(3, lanes, samples, window);
    int64_t *seen = calloc((size_t)(epochs * samples), sizeof *seen);
    int64_t *served = calloc((size_t)(epochs * lanes), sizeof *served);
    for (int64_t lane = 0; lane < lanes; lane++) {
        struct lj_draw draw;
        int64_t previous = 0;
        for (int64_t p = 0;; p++) {
            lj_sampler_at(sampler, lane, p, &draw);
            cr_assert(draw.epoch >= previous, "epochs go backwards");
            previous = draw.epoch;
            if (draw.epoch >= epochs)
                break;
            cr_assert(draw.index >= 0 && draw.index < samples);
            seen[draw.epoch * samples + draw.index]++;
            served[draw.epoch * lanes + lane]++;
        }
    }
    for (int64_t i = 0; i < epochs * samples; i++)
        cr_assert_eq(seen[i], 1, "N %ld G %ld window %ld: index %ld came %ld times", (long)samples,
                     (long)lanes, (long)window, (long)i, (long)seen[i]);
    for (int64_t e = 0; e < epochs; e++)
        for (int64_t lane = 0; lane < lanes; lane++) {
            int64_t count = served[e * lanes + lane];
            cr_assert(count == samples / lanes || count == (samples + lanes - 1) / lanes);
        }
    free(seen);
    free(served);
    lj_sampler_destroy(sampler);
}

Test(sampler, each_index_once_per_epoch)
{
    static const int64_t samples[] = {1, 2, 3, 17, 64, 257}, lanes[] = {1, 2, 3, 7, 32},
                         windows[] = {1, 2, 5, 16, 1000};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        for (size_t j = 0; j < sizeof lanes / sizeof *lanes; j++)
            for (size_t k = 0; k < sizeof windows / sizeof *windows; k++)
                count_epochs(lanes[j], samples[i], windows[k], 5);
}

/* After any number of epochs no lane has been served more than one sample more than another: the
 * lane's totals, counted here, stay within one. */
Test(sampler, lanes_never_drift)
{
    enum { LANES = 7, SAMPLES = 31, POSITIONS = 400 };
    struct lj_sampler *sampler = make(1, LANES, SAMPLES, 4);
    for (int64_t p = 0; p < POSITIONS; p++) {
        int64_t lowest = INT64_MAX, highest = -1;
        for (int64_t lane = 0; lane < LANES; lane++) {
            struct lj_draw draw;
            lj_sampler_at(sampler, lane, p, &draw);
            lowest = lj_min_i64(lowest, draw.epoch);
            highest = lj_max_i64(highest, draw.epoch);
        }
        cr_assert(highest - lowest <= 1, "position %ld: epochs %ld to %ld", (long)p, (long)lowest,
                  (long)highest);
        cr_assert_eq(lowest, (p * LANES) / SAMPLES - (lowest < (p * LANES) / SAMPLES));
    }
    lj_sampler_destroy(sampler);
}

static void first_draws(int64_t seed, int64_t from, int64_t *index, int64_t count)
{
    struct lj_sampler *sampler = make(seed, 1, 100, 16);
    for (int64_t i = 0; i < count; i++) {
        struct lj_draw draw;
        lj_sampler_at(sampler, 0, from + i, &draw);
        index[i] = draw.index;
    }
    lj_sampler_destroy(sampler);
}

Test(sampler, seeds_and_epochs_give_other_orders)
{
    int64_t a[100], b[100], c[100], again[100];
    first_draws(1, 0, a, 100);
    first_draws(2, 0, b, 100);
    first_draws(1, 100, c, 100);
    first_draws(1, 0, again, 100);
    cr_assert_arr_eq(a, again, sizeof a);
    cr_assert_arr_neq(a, b, sizeof a);
    cr_assert_arr_neq(a, c, sizeof a);
}

/* The stream of a lane does not depend on who else is asked, nor in which order. */
Test(sampler, any_subset_of_lanes_gives_the_same_stream)
{
    enum { LANES = 5, POSITIONS = 90 };
    struct lj_draw all[LANES][POSITIONS];
    struct lj_sampler *one = make(9, LANES, 57, 8), *two = make(9, LANES, 57, 8);
    for (int64_t p = 0; p < POSITIONS; p++)
        for (int64_t lane = 0; lane < LANES; lane++)
            lj_sampler_at(one, lane, p, &all[lane][p]);
    for (int64_t lane = LANES - 1; lane >= 0; lane -= 2)
        for (int64_t p = POSITIONS - 1; p >= 0; p--) {
            struct lj_draw draw;
            lj_sampler_at(two, lane, p, &draw);
            cr_assert_eq(draw.index, all[lane][p].index);
            cr_assert_eq(draw.epoch, all[lane][p].epoch);
        }
    lj_sampler_destroy(one);
    lj_sampler_destroy(two);
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* What a window says it holds is what its positions serve, in another order. */
Test(sampler, windows_hold_their_samples_mixed)
{
    enum { WINDOW = 16, LANES = 3 };
    struct lj_sampler *sampler = make(4, LANES, 200, WINDOW);
    int64_t mixed = 0, windows = 0, longest = 0;
    for (int64_t lane = 0; lane < LANES; lane++)
        for (int64_t p = 0; p < 300;) {
            int64_t first, length, held[WINDOW], served[WINDOW];
            const int64_t *indices;
            lj_sampler_window(sampler, lane, p, &first, &length, &indices);
            cr_assert_eq(first, p);
            cr_assert(length >= 1 && length <= WINDOW);
            memcpy(held, indices, (size_t)length * sizeof *held);
            for (int64_t i = 0; i < length; i++) {
                struct lj_draw draw;
                lj_sampler_at(sampler, lane, p + i, &draw);
                served[i] = draw.index;
            }
            mixed += memcmp(held, served, (size_t)length * sizeof *held) != 0;
            windows++;
            longest = lj_max_i64(longest, length);
            qsort(held, (size_t)length, sizeof *held, ascending);
            qsort(served, (size_t)length, sizeof *served, ascending);
            cr_assert_arr_eq(held, served, (size_t)length * sizeof *held);
            p += length;
        }
    cr_assert_eq(longest, WINDOW);
    cr_assert(mixed > windows * 2 / 3, "%ld of %ld windows were mixed", (long)mixed, (long)windows);
    lj_sampler_destroy(sampler);
}

/* Samples of a window leave it in any order: over many windows a sample of the first half is served
 * in the first half about half the time. */
Test(sampler, a_window_really_mixes)
{
    enum { WINDOW = 32 };
    struct lj_sampler *sampler = make(8, 1, 320, WINDOW);
    int64_t stayed = 0, counted = 0;
    for (int64_t p = 0; p < 20 * 320;) {
        int64_t first, length;
        const int64_t *indices;
        lj_sampler_window(sampler, 0, p, &first, &length, &indices);
        for (int64_t i = 0; i < length / 2; i++) {
            struct lj_draw draw;
            lj_sampler_at(sampler, 0, p + i, &draw);
            for (int64_t j = 0; j < length / 2; j++)
                stayed += indices[j] == draw.index;
            counted++;
        }
        p += length;
    }
    double share = (double)stayed / (double)counted;
    cr_assert(share > 0.45 && share < 0.55, "%g of the first half stayed there", share);
    lj_sampler_destroy(sampler);
}

/* An archive of 2^40 samples in two groups, far along the stream: products of 2^80 do not overflow.
 * The last position of epoch e of the only lane is (e + 1) N - 1. */
Test(sampler, huge_archives_do_not_overflow)
{
    const int64_t half = INT64_C(1) << 39, all = 2 * half, epoch = 1000003;
    const int64_t first[] = {0, half, all};
    struct lj_groups groups = {2, first_of, first};
    struct lj_sampler *sampler = NULL;
    cr_assert_eq(lj_sampler_create(&sampler, 0, 1, &groups, 64), LJ_OK);
    struct lj_draw draw;
    lj_sampler_at(sampler, 0, (epoch + 1) * all - 1, &draw);
    cr_assert_eq(draw.epoch, epoch);
    cr_assert(draw.index % half >= half - 64);
    lj_sampler_at(sampler, 0, (epoch + 1) * all, &draw);
    cr_assert_eq(draw.epoch, epoch + 1);
    cr_assert(draw.index % half < 64);
    lj_sampler_destroy(sampler);
}

Test(sampler, leaves_no_memory_behind)
{
    lj_sampler_destroy(NULL);
    lj_sampler_destroy(make(0, 2, 5, 3));
    struct lj_memory_use use[8];
    int labels = lj_memory_report(use, 8);
    for (int i = 0; i < labels; i++)
        cr_assert_eq(use[i].blocks, 0, "%s", use[i].label);
}
