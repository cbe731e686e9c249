/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are in two files of embeddings. */
#include "eval/eval.h"

#include <criterion/criterion.h>

/* Two parts of 10 and 5 rows, by their fingerprints. */
static int64_t first_row[2] = {0, 10}, part_rows[2] = {10, 5};
static char one[] = "1", other[] = "2";

static struct lj_embeddings embeddings(int64_t rows, int64_t *row, uint64_t *fingerprints)
{
    return (struct lj_embeddings){.rows = rows,
                                  .row = row,
                                  .source = {.parts = fingerprints ? 2 : 0,
                                             .first_row = first_row,
                                             .rows = part_rows,
                                             .fingerprints = fingerprints}};
}

static int64_t shared(const struct lj_embeddings *train, const struct lj_embeddings *test)
{
    int64_t count = -2;
    cr_assert_eq(lj_embeddings_shared(train, test, &count), LJ_OK, "%s", lj_error_text());
    return count;
}

Test(overlap, by_part)
{
    uint64_t parts[2] = {700, 600}, swapped[2] = {600, 700}, others[2] = {800, 600};
    int64_t a[5] = {12, 0, 3, 9, 10}, b[4] = {3, 13, 12, 12};
    struct lj_embeddings train = embeddings(5, a, parts), test = embeddings(4, b, parts);
    cr_assert_eq(shared(&train, &test), 3, "3, and 12 twice");
    test = embeddings(4, b, others);
    cr_assert_eq(shared(&train, &test), 2, "12 twice");
    test =
        embeddings(4, b, swapped); /* its 3 is the other part's; 12, 13 are the first part's 2, 3 */
    cr_assert_eq(shared(&train, &test), 1);
    test.source.fingerprint = other;
    train.source.fingerprint = one;
    cr_assert_eq(shared(&train, &test), 1, "another archive may have the same part");
}

Test(overlap, by_archive)
{
    uint64_t parts[2] = {700, 600};
    int64_t a[3] = {4, 100, 2}, b[2] = {100, 5};
    struct lj_embeddings train = embeddings(3, a, NULL), test = embeddings(2, b, NULL);
    cr_assert_eq(shared(&train, &test), -1, "no archive is named");
    train.source.fingerprint = test.source.fingerprint = one;
    cr_assert_eq(shared(&train, &test), 1);
    test.source.fingerprint = other;
    cr_assert_eq(shared(&train, &test), -1);
    test.source.fingerprint = one;
    test.row = NULL;
    cr_assert_eq(shared(&train, &test), -1);
    int64_t c[1] = {15}, count;
    train = embeddings(1, c, parts);
    cr_assert_eq(lj_embeddings_shared(&train, &train, &count), LJ_ERR_DATA, "a row of no part");
}
