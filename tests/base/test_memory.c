/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The line of label, or zeros. */
static struct lj_memory_use use_of(const char *label)
{
    struct lj_memory_use use[64];
    int count = lj_memory_report(use, 64);
    for (int i = 0; i < count; i++)
        if (strcmp(use[i].label, label) == 0)
            return use[i];
    return (struct lj_memory_use){.label = ""};
}

Test(memory, blocks_are_aligned_and_zero)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 100001};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        unsigned char *dirty = lj_alloc(sizes[s], "test");
        memset(dirty, 0xAB, sizes[s]);
        lj_free(dirty);
        unsigned char *block = lj_alloc(sizes[s], "test");
        cr_assert_not_null(block);
        cr_assert_eq((uintptr_t)block % 64, 0);
        for (size_t i = 0; i < sizes[s]; i++)
            cr_assert_eq(block[i], 0, "byte %zu of %zu", i, sizes[s]);
        lj_free(block);
    }
    lj_free(NULL);
}

Test(memory, report_counts_open_and_peak_bytes)
{
    void *a = lj_alloc(1000, "first"), *b = lj_alloc(500, "first"), *c = lj_alloc(7, "second");
    cr_assert(use_of("first").bytes == 1500 && use_of("first").blocks == 2);
    cr_assert(use_of("second").bytes == 7 && use_of("second").blocks == 1);
    lj_free(a);
    cr_assert(use_of("first").bytes == 500 && use_of("first").peak_bytes == 1500);
    void *d = lj_alloc(200, "first");
    cr_assert_eq(use_of("first").peak_bytes, 1500);
    lj_free(b);
    lj_free(c);
    lj_free(d);
    cr_assert(use_of("first").bytes == 0 && use_of("first").blocks == 0);
    cr_assert_eq(use_of("second").peak_bytes, 7);
    cr_assert_eq(lj_memory_report(NULL, 0), 2, "the number of labels, whatever fits");
}

Test(memory, peak_of_all_labels_together)
{
    void *a = lj_alloc(1000, "first");
    size_t before = lj_memory_peak();
    lj_free(a);
    void *b = lj_alloc(900, "second");
    cr_assert_eq(lj_memory_peak(), before, "1000 were open, then 900");
    void *c = lj_alloc(300, "first");
    cr_assert_eq(lj_memory_peak(), before + 200);
    lj_free(b);
    lj_free(c);
    cr_assert_eq(lj_memory_peak(), before + 200);
}

Test(memory, peaks_begin_anew)
{
    void *a = lj_alloc(1000, "first"), *b = lj_alloc(100, "second");
    lj_free(a);
    size_t before = lj_memory_peak();
    lj_memory_reset_peaks();
    cr_assert_eq(lj_memory_peak(), before - 1000);
    cr_assert_eq(use_of("first").peak_bytes, 0);
    cr_assert_eq(use_of("second").peak_bytes, 100);
    lj_free(b);
}

Test(memory, labels_are_compared_by_text)
{
    char one[] = "same", two[] = "same";
    void *a = lj_alloc(1, one), *b = lj_alloc(2, two);
    cr_assert_eq(use_of("same").blocks, 2);
    lj_free(a);
    lj_free(b);
}

Test(memory, more_labels_than_lines_share_the_last)
{
    static char names[80][8];
    void *blocks[80];
    for (int i = 0; i < 80; i++) {
        snprintf(names[i], sizeof names[i], "l%d", i);
        blocks[i] = lj_alloc(10, names[i]);
    }
    struct lj_memory_use use[80];
    int count = lj_memory_report(use, 80), open = 0;
    for (int i = 0; i < count; i++)
        open += (int)use[i].blocks;
    cr_assert_eq(open, 80);
    for (int i = 0; i < 80; i++)
        lj_free(blocks[i]);
    cr_assert_eq(lj_memory_report(use, 80), count);
    for (int i = 0; i < count; i++)
        cr_assert_eq(use[i].bytes, 0, "%s", use[i].label);
}

Test(memory, impossible_sizes_fail_with_a_text)
{
    cr_assert_null(lj_alloc(SIZE_MAX, "huge"));
    cr_assert_not_null(strstr(lj_error_text(), "huge"));
    lj_error_set("");
    cr_assert_null(lj_alloc(SIZE_MAX / 4, "large"));
    cr_assert_not_null(strstr(lj_error_text(), "large"));
    cr_assert_null(lj_alloc_array(-1, 1, "negative"));
    cr_assert_null(lj_alloc_array(INT64_MAX, 8, "product"));
    cr_assert_not_null(strstr(lj_error_text(), "product"));
    cr_assert_eq(use_of("huge").bytes, 0);
}

Test(memory, arrays_and_calls)
{
    int64_t before = lj_memory_calls();
    double *array = lj_alloc_array(3, sizeof *array, "array"),
           *none = lj_alloc_array(0, 8, "array");
    cr_assert(array && none && array[2] == 0);
    cr_assert_eq(use_of("array").bytes, 24);
    cr_assert_eq(lj_memory_calls(), before + 2);
    lj_free(array);
    lj_free(none);
    cr_assert_eq(lj_memory_calls(), before + 2, "freeing is no call");
}

static void *churn(void *unused)
{
    for (int i = 0; i < 2000; i++)
        lj_free(lj_alloc(16, "thread"));
    return unused;
}

Test(memory, threads_share_the_books)
{
    pthread_t threads[4];
    int64_t before = lj_memory_calls();
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, churn, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(lj_memory_calls(), before + 8000);
    cr_assert(use_of("thread").bytes == 0 && use_of("thread").blocks == 0);
}
