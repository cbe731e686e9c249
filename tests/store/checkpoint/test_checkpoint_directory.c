/* SPDX-License-Identifier: Apache-2.0 */
/* Which checkpoint a directory offers when some of its files are damaged. */
#include "../store_fixture.h"

#include <criterion/criterion.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_steps(struct fixture *f)
{
    cr_assert(fixture_create(f));
    for (int64_t step = 10; step <= 50; step += 10) {
        f->checkpoint.step = step;
        cr_assert_eq(lj_checkpoint_write(f->dir, &f->checkpoint, 9), LJ_OK);
    }
}

static void expect_newest(const struct fixture *f, int64_t step)
{
    char path[LJ_PATH_MAX], expected[LJ_PATH_MAX];
    fixture_path(expected, f, step);
    cr_assert_eq(lj_checkpoint_newest(f->dir, path), LJ_OK, "%s", lj_error_text());
    cr_assert_str_eq(path, expected);
}

Test(checkpoint_files, newest_good_one)
{
    struct fixture f;
    char path[LJ_PATH_MAX], log[128], text[8192];
    write_steps(&f);
    expect_newest(&f, 50);

    fixture_path(path, &f, 50); /* truncated */
    cr_assert_eq(truncate(path, 2000), 0);
    expect_newest(&f, 40);
    fixture_path(path, &f, 40); /* empty */
    cr_assert_eq(truncate(path, 0), 0);
    expect_newest(&f, 30);
    fixture_path(path, &f, 30); /* a directory in its place */
    unlink(path);
    mkdir(path, 0777);
    snprintf(log, sizeof log, "%s/log.txt", f.dir);
    cr_assert_eq(lj_log_open(log), LJ_OK);
    expect_newest(&f, 20);
    lj_log_close();
    FILE *file = fopen(log, "r");
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    cr_assert(strstr(text, "step-000000050.h5") &&
                  strstr(text, "step-000000040.h5: the file is empty") &&
                  strstr(text, "step-000000030.h5: not a regular file"),
              "%s", text);
    fixture_destroy(&f);
}

Test(checkpoint_files, name_and_step_disagree)
{
    struct fixture f;
    char from[LJ_PATH_MAX], to[LJ_PATH_MAX];
    write_steps(&f);
    fixture_path(from, &f, 10);
    fixture_path(to, &f, 60);
    cr_assert_eq(rename(from, to), 0);
    expect_newest(&f, 50);
    fixture_destroy(&f);
}

Test(checkpoint_files, none)
{
    struct fixture f;
    char path[LJ_PATH_MAX] = "x", nowhere[128], only[LJ_PATH_MAX];
    cr_assert(fixture_create(&f));
    cr_assert_eq(lj_checkpoint_newest(f.dir, path), LJ_OK);
    cr_assert_str_eq(path, "");
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", f.dir);
    cr_assert_eq(lj_checkpoint_newest(nowhere, path), LJ_OK);
    cr_assert_str_eq(path, "");
    fixture_path(only, &f, 3);
    fclose(fopen(only, "w"));
    cr_assert_eq(lj_checkpoint_newest(f.dir, path), LJ_ERR_CHECKPOINT);
    cr_assert_str_eq(path, "");
    cr_assert(strstr(lj_error_text(), "none of 1 checkpoints is good"), "%s", lj_error_text());
    fixture_destroy(&f);
}
