/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Test(status, a_failure_is_recorded)
{
    cr_assert_str_eq(lj_error_text(), "");
    cr_assert_eq(lj_fail(LJ_ERR_DATA, "%s: row %d", "a.h5", 3), LJ_ERR_DATA);
    cr_assert_str_eq(lj_error_text(), "a.h5: row 3");
    cr_assert_eq(lj_fail(LJ_ERR_CONFIG, "outer: %s", lj_error_text()), LJ_ERR_CONFIG);
    cr_assert_str_eq(lj_error_text(), "outer: a.h5: row 3", "the present text may be quoted");
    lj_error_set(lj_error_text() + 7);
    cr_assert_str_eq(lj_error_text(), "a.h5: row 3");
}

Test(status, long_texts_are_cut)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    lj_fail(LJ_ERR_DATA, "%s", text);
    cr_assert_eq(strlen(lj_error_text()), 2047);
    lj_error_set("");
    lj_error_set(text);
    cr_assert_eq(strlen(lj_error_text()), 2047);
}

static int passes_on(int status, int *reached)
{
    LJ_TRY(status);
    *reached = 1;
    return LJ_OK;
}

Test(status, try_returns_at_the_first_failure)
{
    int reached = 0;
    cr_assert_eq(passes_on(LJ_ERR_NUMERIC, &reached), LJ_ERR_NUMERIC);
    cr_assert_eq(reached, 0);
    cr_assert_eq(passes_on(LJ_OK, &reached), LJ_OK);
    cr_assert_eq(reached, 1);
}

static void *fail_in_thread(void *length)
{
    lj_fail(LJ_ERR_DATA, "from the thread");
    *(size_t *)length = strlen(lj_error_text());
    return NULL;
}

Test(status, each_thread_has_its_record)
{
    pthread_t thread;
    size_t length = 0;
    lj_fail(LJ_ERR_DATA, "main");
    pthread_create(&thread, NULL, fail_in_thread, &length);
    pthread_join(thread, NULL);
    cr_assert_eq(length, strlen("from the thread"));
    cr_assert_str_eq(lj_error_text(), "main");
}

Test(status, a_broken_invariant_ends_with_70, .exit_code = 70)
{
    LJ_CHECK(1 + 1 == 2, "never");
    LJ_CHECK(1 + 1 == 3, "sum is %d", 2);
}

static void leave(int exit_code)
{
    _exit(exit_code == 70 ? 33 : 1);
}

Test(status, the_abort_hook_comes_first, .exit_code = 33)
{
    lj_set_abort_hook(leave);
    LJ_CHECK(false, "wrong");
}

Test(status, faults_hit_one_point_rank_and_step)
{
    unsetenv("LJ_FAULT");
    cr_assert_eq(lj_fault("read", 5), LJ_OK);
    setenv("LJ_FAULT", "read:2:5", 1);
    cr_assert_eq(lj_fault("read", 5), LJ_OK, "this is rank 0");
    lj_fault_set_rank(2);
    cr_assert_eq(lj_fault("read", 4), LJ_OK);
    cr_assert_eq(lj_fault("rea", 5), LJ_OK);
    cr_assert_eq(lj_fault("read", 5), LJ_ERR_RESOURCE);
    cr_assert(strstr(lj_error_text(), "read") && strstr(lj_error_text(), "step 5"));
    setenv("LJ_FAULT", "open:2:-1", 1);
    cr_assert_eq(lj_fault("open", -1), LJ_ERR_RESOURCE);
}
