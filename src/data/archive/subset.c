/* SPDX-License-Identifier: Apache-2.0 */
/* A subset of 0 .. all-1 in little memory: its runs of consecutive members, 16 bytes each, or one
 * bit for each number and a count for each LJ_SUBSET_BLOCK of them; whichever is smaller. */
#include "data/archive/archive.h"

#include <string.h>

enum { WORD_BITS = 64, BLOCK_WORDS = LJ_SUBSET_BLOCK / WORD_BITS };

static int64_t words_of(int64_t all)
{
    return (all + WORD_BITS - 1) / WORD_BITS;
}

static int64_t blocks_of(int64_t all)
{
    return (all + LJ_SUBSET_BLOCK - 1) / LJ_SUBSET_BLOCK;
}

static bool is_member(const uint64_t *bits, int64_t value)
{
    return bits[value / WORD_BITS] >> (value % WORD_BITS) & 1;
}

uint64_t *lj_bits_alloc(int64_t all)
{
    return lj_alloc_array(words_of(all), sizeof(uint64_t), "archive index");
}

void lj_bits_set(uint64_t *bits, int64_t value)
{
    bits[value / WORD_BITS] |= UINT64_C(1) << (value % WORD_BITS);
}

/* ---- making ------------------------------------------------------------------------------ */

/* Counts the members and their runs; a run may go on from one word to the next. */
static void count_runs(struct lj_subset *subset, const uint64_t *bits)
{
    uint64_t before = 0; /* was the last number of the word before a member? */
    for (int64_t w = 0; w < words_of(subset->all); w++) {
        subset->members += __builtin_popcountll(bits[w]);
        subset->runs += __builtin_popcountll(bits[w] & ~(bits[w] << 1 | before));
        before = bits[w] >> (WORD_BITS - 1);
    }
}

/* Frees bits. */
static int keep_runs(struct lj_subset *subset, uint64_t *bits)
{
    int64_t run = 0, member = 0;
    subset->run = lj_alloc_array(subset->runs + 1, sizeof *subset->run, "archive index");
    for (int64_t value = 0; subset->run && value < subset->all; value++)
        if (is_member(bits, value)) {
            if (value == 0 || !is_member(bits, value - 1))
                subset->run[run++] = (struct lj_subset_run){value, member};
            member++;
        }
    if (subset->run)
        subset->run[run] = (struct lj_subset_run){subset->all, member};
    lj_free(bits);
    return subset->run ? LJ_OK : LJ_ERR_RESOURCE;
}

/* Takes bits over. */
static int keep_bits(struct lj_subset *subset, uint64_t *bits)
{
    int64_t blocks = blocks_of(subset->all), member = 0;
    subset->runs = 0;
    subset->bits = bits;
    subset->before = lj_alloc_array(blocks + 1, sizeof *subset->before, "archive index");
    if (!subset->before)
        return LJ_ERR_RESOURCE;
    for (int64_t w = 0; w < words_of(subset->all); w++) {
        if (w % BLOCK_WORDS == 0)
            subset->before[w / BLOCK_WORDS] = member;
        member += __builtin_popcountll(bits[w]);
    }
    subset->before[blocks] = member;
    return LJ_OK;
}

int lj_subset_make(struct lj_subset *subset, int64_t all, uint64_t *bits)
{
    *subset = (struct lj_subset){.all = all};
    count_runs(subset, bits);
    int64_t as_runs = (subset->runs + 1) * (int64_t)sizeof *subset->run;
    int64_t as_bits = words_of(all) * (int64_t)sizeof *bits +
                      (blocks_of(all) + 1) * (int64_t)sizeof *subset->before;
    bool by_runs = subset->runs > 0 && as_runs <= as_bits;
    int status = by_runs ? keep_runs(subset, bits) : keep_bits(subset, bits);
    if (status != LJ_OK)
        lj_subset_free(subset);
    return status;
}

int lj_subset_whole(struct lj_subset *subset, int64_t all)
{
    *subset = (struct lj_subset){.all = all, .members = all, .runs = 1};
    subset->run = lj_alloc_array(2, sizeof *subset->run, "archive index");
    if (!subset->run)
        return LJ_ERR_RESOURCE;
    subset->run[1] = (struct lj_subset_run){all, all};
    return LJ_OK;
}

void lj_subset_free(struct lj_subset *subset)
{
    lj_free(subset->run);
    lj_free(subset->bits);
    lj_free(subset->before);
    *subset = (struct lj_subset){0};
}

int64_t lj_subset_tables(struct lj_subset *subset, struct lj_table *table)
{
    bool as_runs = subset->runs > 0;
    int64_t words = as_runs ? 0 : words_of(subset->all);
    int64_t blocks = as_runs ? 0 : blocks_of(subset->all) + 1;
    int64_t runs = as_runs ? subset->runs + 1 : 0;
    table[0] = (struct lj_table){(void **)&subset->run, runs * (int64_t)sizeof *subset->run};
    table[1] = (struct lj_table){(void **)&subset->bits, words * (int64_t)sizeof *subset->bits};
    table[2] =
        (struct lj_table){(void **)&subset->before, blocks * (int64_t)sizeof *subset->before};
    return LJ_SUBSET_TABLES;
}

/* ---- asking ------------------------------------------------------------------------------ */

/* The last run that begins at or before: by its first member, or by that member's number. */
static const struct lj_subset_run *find_run(const struct lj_subset *subset, int64_t value,
                                            bool by_number)
{
    const struct lj_subset_run *run = subset->run;
    int64_t low = 0, high = subset->runs;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if ((by_number ? run[middle].number : run[middle].first) <= value)
            low = middle;
        else
            high = middle;
    }
    return run + low;
}

/* Position of the n-th set bit, from 0 on, of a word that has more. */
static int nth_bit(uint64_t word, int64_t n)
{
    for (; n > 0; n--)
        word &= word - 1;
    return __builtin_ctzll(word);
}

/* The member of that number, from the bits. */
static int64_t member_of_bits(const struct lj_subset *subset, int64_t number)
{
    int64_t low = 0, high = blocks_of(subset->all); /* before[low] <= number < before[high] */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (subset->before[middle] <= number)
            low = middle;
        else
            high = middle;
    }
    int64_t word = low * BLOCK_WORDS, rest = number - subset->before[low];
    for (int64_t count; rest >= (count = __builtin_popcountll(subset->bits[word])); word++)
        rest -= count;
    return word * WORD_BITS + nth_bit(subset->bits[word], rest);
}

int64_t lj_subset_member(const struct lj_subset *subset, int64_t number)
{
    if (subset->runs == 0)
        return member_of_bits(subset, number);
    const struct lj_subset_run *run = find_run(subset, number, true);
    return run->first + number - run->number;
}

int64_t lj_subset_before(const struct lj_subset *subset, int64_t value)
{
    if (value >= subset->all)
        return subset->members;
    if (subset->runs > 0) {
        const struct lj_subset_run *run = find_run(subset, value, false);
        int64_t inside = lj_min_i64(value - run->first, run[1].number - run->number);
        return run->number + lj_max_i64(0, inside);
    }
    int64_t block = value / LJ_SUBSET_BLOCK, last = value / WORD_BITS;
    int64_t count = subset->before[block];
    for (int64_t word = block * BLOCK_WORDS; word < last; word++)
        count += __builtin_popcountll(subset->bits[word]);
    uint64_t below = (UINT64_C(1) << (value % WORD_BITS)) - 1;
    return count + __builtin_popcountll(subset->bits[last] & below);
}
