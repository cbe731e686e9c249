/* SPDX-License-Identifier: Apache-2.0 */
/* Which checkpoint a directory offers when some of its files are damaged, and what
 * users may name. */
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

Test(checkpoint_directory, newest_good_one)
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

Test(checkpoint_directory, name_and_step_disagree)
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

Test(checkpoint_directory, none)
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

/* ---- rotation ---------------------------------------------------------------------------- */

/* Changes a byte in the weights, which the header does not show. */
static void damage_a_weight(const struct fixture *f, int64_t step)
{
    static char bytes[1 << 16];
    char path[LJ_PATH_MAX];
    fixture_path(path, f, step);
    FILE *file = fopen(path, "r+");
    size_t length = fread(bytes, 1, sizeof bytes, file);
    const float *weight = f->weights + f->list[1].offset;
    char *at = memmem(bytes, length, weight, 4 * sizeof *weight);
    cr_assert(at);
    fseek(file, at - bytes, SEEK_SET);
    fputc(*at ^ 1, file);
    fclose(file);
}

static void write_keeping(struct fixture *f, int64_t step, int keep)
{
    f->checkpoint.step = step;
    cr_assert_eq(lj_checkpoint_write(f->dir, &f->checkpoint, keep), LJ_OK);
}

/* Steps of the files in the directory, by fixture_path. */
static void expect_left(const struct fixture *f, const char *expected)
{
    char path[LJ_PATH_MAX], found[128] = "";
    for (int64_t step = 10; step <= 90; step += 10) {
        size_t used = strlen(found);
        fixture_path(path, f, step);
        if (access(path, F_OK) == 0)
            snprintf(found + used, sizeof found - used, " %lld", (long long)step);
    }
    cr_assert_str_eq(found, expected);
}

Test(checkpoint_directory, damaged_ones_do_not_count)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    write_steps(&f);
    damage_a_weight(&f, 40);
    fixture_path(path, &f, 50); /* its header shows it */
    cr_assert_eq(truncate(path, 2000), 0);
    expect_newest(&f, 30); /* finds that 40 is damaged */
    write_keeping(&f, 60, 2);
    expect_left(&f, " 30 40 50 60");
    write_keeping(&f, 40, 9); /* written anew: good now */
    expect_left(&f, " 30 40 50 60");
    write_keeping(&f, 70, 3);
    expect_left(&f, " 40 50 60 70");
    write_keeping(&f, 80, 2);
    expect_left(&f, " 70 80");
    fixture_destroy(&f);
}

/* A file that this process did not write, or that changed since, is verified before it counts. */
Test(checkpoint_directory, unknown_ones_are_verified_before_they_count)
{
    struct fixture f;
    write_steps(&f);
    usleep(50000); /* longer than the resolution of a file's time */
    expect_newest(&f, 50);
    damage_a_weight(&f, 40);
    expect_newest(&f, 50);
    write_keeping(&f, 60, 6); /* nothing is to be removed */
    expect_left(&f, " 10 20 30 40 50 60");
    write_keeping(&f, 70, 4);
    expect_left(&f, " 30 40 50 60 70");
    fixture_destroy(&f);
}

/* ---- loading ----------------------------------------------------------------------------- */

struct arrays {
    float weights[FIXTURE_ELEMENTS], moment1[FIXTURE_ELEMENTS], moment2[FIXTURE_ELEMENTS];
};

static int load(const struct fixture *f, const char *where, struct arrays *a, char *path)
{
    memset(a, 0, sizeof *a);
    struct lj_checkpoint_arrays arrays = {
        .weights = a->weights, .moment1 = a->moment1, .moment2 = a->moment2};
    return lj_checkpoint_load(where, &f->params, &arrays, path);
}

static bool same_arrays(const struct fixture *f, const struct arrays *a)
{
    return memcmp(a->weights, f->weights, sizeof a->weights) == 0 &&
           memcmp(a->moment1, f->moment1, sizeof a->moment1) == 0 &&
           memcmp(a->moment2, f->moment2, sizeof a->moment2) == 0;
}

Test(checkpoint_directory, loads_a_file_or_the_newest_good_one)
{
    struct fixture f;
    struct arrays a;
    char path[LJ_PATH_MAX], file[LJ_PATH_MAX];
    write_steps(&f);
    cr_assert_eq(load(&f, f.dir, &a, path), LJ_OK, "%s", lj_error_text());
    fixture_path(file, &f, 50);
    cr_assert_str_eq(path, file);
    cr_assert(same_arrays(&f, &a));
    fixture_path(file, &f, 20);
    cr_assert_eq(load(&f, file, &a, path), LJ_OK);
    cr_assert_str_eq(path, file);
    damage_a_weight(&f, 20);
    cr_assert_eq(load(&f, file, &a, path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "checksum"), "%s", lj_error_text());

    f.list[1].dim[0] = 3, f.list[1].dim[1] = 7; /* good ones that do not fit: no reason to skip */
    cr_assert_eq(load(&f, f.dir, &a, path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "step-000000050.h5: /weights/blocks.0.attn.qkv.weight has"),
              "%s", lj_error_text());
    fixture_path(file, &f, 50);
    cr_assert_str_eq(path, file);
    fixture_destroy(&f);
}

Test(checkpoint_directory, nothing_to_load)
{
    struct fixture f;
    struct arrays a;
    char path[LJ_PATH_MAX];
    cr_assert(fixture_create(&f));
    cr_assert_eq(load(&f, f.dir, &a, path), LJ_OK);
    cr_assert_str_eq(path, "");
    cr_assert_eq(lj_checkpoint_last(f.dir, path), LJ_OK);
    cr_assert_str_eq(path, "");
    f.checkpoint.step = 30;
    cr_assert_eq(lj_checkpoint_write(f.dir, &f.checkpoint, 1), LJ_OK);
    damage_a_weight(&f, 30);
    cr_assert_eq(load(&f, f.dir, &a, path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "none of 1 checkpoints is good"), "%s", lj_error_text());
    cr_assert_str_eq(path, "");
    cr_assert_eq(lj_checkpoint_last(f.dir, path), LJ_OK);
    cr_assert(strstr(path, "step-000000030.h5"), "%s", path);
    fixture_destroy(&f);
}

/* A bit that flips in any block of the newest checkpoint is found before training, and the one
 * before is taken, unless it lies where nothing is kept. */
Test(checkpoint_directory, a_flipped_bit_in_any_block)
{
    enum { BLOCK = 64 };
    struct fixture f;
    static struct fixture older;
    struct arrays a;
    static char bytes[1 << 16];
    char newest[LJ_PATH_MAX], path[LJ_PATH_MAX];
    cr_assert(fixture_create(&f));
    older = f;
    f.checkpoint.step = 10;
    cr_assert_eq(lj_checkpoint_write(f.dir, &f.checkpoint, 2), LJ_OK);
    for (int i = 0; i < FIXTURE_TENSORS; i++)
        f.weights[f.list[i].offset] += 1, f.moment2[f.list[i].offset] += 1;
    f.checkpoint.step = 20;
    cr_assert_eq(lj_checkpoint_write(f.dir, &f.checkpoint, 2), LJ_OK);
    fixture_path(newest, &f, 20);
    FILE *file = fopen(newest, "r+");
    long size = (long)fread(bytes, 1, sizeof bytes, file), found = 0;
    for (long at = 0; at < size; at += BLOCK) {
        long byte = at + at / BLOCK * 7 % BLOCK;
        if (byte >= size)
            break;
        fseek(file, byte, SEEK_SET);
        fputc(bytes[byte] ^ (1 << byte % 8), file);
        fflush(file);
        cr_assert_eq(load(&f, f.dir, &a, path), LJ_OK, "byte %ld: %s", byte, lj_error_text());
        bool kept = strcmp(path, newest) == 0;
        cr_assert(same_arrays(kept ? &f : &older, &a), "byte %ld: wrong values", byte);
        found += !kept;
        fseek(file, byte, SEEK_SET);
        fputc(bytes[byte], file);
        fflush(file);
    }
    fclose(file);
    cr_assert_gt(found, size / BLOCK / 2, "only %ld of %ld", found, size / BLOCK);
    fixture_destroy(&f);
}

/* ---- names and run directories ----------------------------------------------------------- */

static void touch(const char *dir, const char *name)
{
    char path[LJ_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    fclose(fopen(path, "w"));
}

static void expect_resolved(const char *where, const char *expected)
{
    char path[LJ_PATH_MAX];
    cr_assert_eq(lj_checkpoint_resolve(where, path), LJ_OK, "%s", lj_error_text());
    cr_assert_str_eq(path, expected);
}

Test(checkpoint_directory, file_or_run_or_directory)
{
    struct fixture f;
    char dir[LJ_PATH_MAX], expected[LJ_PATH_MAX], path[LJ_PATH_MAX];
    cr_assert(fixture_create(&f));
    cr_assert_eq(lj_checkpoint_resolve(f.dir, path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "holds no checkpoint"), "%s", lj_error_text());
    cr_assert_eq(lj_checkpoint_directory(f.dir, dir), LJ_OK);
    snprintf(expected, sizeof expected, "%s/checkpoints", f.dir);
    cr_assert_str_eq(dir, expected);
    for (f.checkpoint.step = 7; f.checkpoint.step < 10; f.checkpoint.step++)
        cr_assert_eq(lj_checkpoint_write(dir, &f.checkpoint, 9), LJ_OK);
    cr_assert_eq(lj_checkpoint_path(dir, 9, path), LJ_OK);
    snprintf(expected, sizeof expected, "%.3000s/step-000000009.h5", dir);
    cr_assert_str_eq(path, expected);
    expect_resolved(f.dir, expected);
    expect_resolved(dir, expected);
    expect_resolved(path, path);
    expect_resolved("no such file", "no such file");
    fixture_destroy(&f);
}

Test(checkpoint_directory, files_are_listed_oldest_first)
{
    static const char *const names[] = {"step-000000010.h5", "step-1000000000.h5",
                                        "step-000000002.h5"};
    static const char *const others[] = {"step-3.h5", "step-000000004.h5.bak", "step-00000000x.h5",
                                         ".step-000000005.h5.tmp", "log.txt"};
    struct fixture f;
    struct lj_checkpoint_list list;
    cr_assert(fixture_create(&f));
    for (int i = 0; i < 3; i++)
        touch(f.dir, names[i]);
    for (int i = 0; i < 5; i++)
        touch(f.dir, others[i]);
    cr_assert_eq(lj_checkpoint_list(f.dir, &list), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(list.count, 3);
    cr_assert(strstr(list.path[0], names[2]), "%s", list.path[0]);
    cr_assert(strstr(list.path[1], names[0]), "%s", list.path[1]);
    cr_assert(strstr(list.path[2], names[1]), "%s", list.path[2]);
    lj_checkpoint_list_free(&list);
    cr_assert_eq(lj_checkpoint_list("a file", &list), LJ_OK);
    cr_assert_eq(list.count, 1);
    cr_assert_str_eq(list.path[0], "a file");
    lj_checkpoint_list_free(&list);
    fixture_destroy(&f);
}

Test(checkpoint_directory, paths_that_are_too_long)
{
    static char run[LJ_PATH_MAX], path[LJ_PATH_MAX];
    struct lj_checkpoint_list list;
    memset(run, 'x', sizeof run - 1);
    cr_assert_eq(lj_checkpoint_directory(run, path), LJ_ERR_RESOURCE);
    cr_assert_eq(lj_checkpoint_path(run, 1, path), LJ_ERR_RESOURCE);
    cr_assert_eq(lj_checkpoint_resolve(run, path), LJ_ERR_RESOURCE);
    cr_assert_eq(lj_checkpoint_list(run, &list), LJ_OK, "a file, which is not looked at");
    lj_checkpoint_list_free(&list);
}
