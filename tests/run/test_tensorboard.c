/* SPDX-License-Identifier: Apache-2.0 */
/* Event files of TensorBoard: the bytes of its own writer (tests/golden/make_tensorboard.py), file
 * names that sort, and what happens when the disk is full. */
#include "run/tensorboard.h"

#include "scratch_dir.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { FILES_MAX = 8, BYTES_MAX = 4096 };

static char dir[64];

static void begin(void)
{
    cr_assert(scratch_create(dir));
}

static void end(void)
{
    scratch_destroy(dir);
}

/* Paths of the event files, sorted by name. */
static int event_files(char path[FILES_MAX][512])
{
    char folder[128];
    struct dirent **entry;
    int count = 0;
    snprintf(folder, sizeof folder, "%s/tensorboard", dir);
    int entries = scandir(folder, &entry, NULL, alphasort);
    for (int i = 0; i < entries; i++) {
        if (entry[i]->d_name[0] != '.' && count < FILES_MAX)
            snprintf(path[count++], 512, "%.120s/%.300s", folder, entry[i]->d_name);
        free(entry[i]);
    }
    free(entry);
    return count;
}

static size_t read_file(const char *path, unsigned char bytes[BYTES_MAX])
{
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s cannot be opened", path);
    size_t count = fread(bytes, 1, BYTES_MAX, file);
    fclose(file);
    return count;
}

Test(tensorboard, crc32c_of_published_vectors)
{
    unsigned char zeros[32] = {0}, ones[32];
    memset(ones, 0xFF, sizeof ones);
    cr_assert_eq(lj_crc32c("123456789", 9), 0xE3069283);
    cr_assert_eq(lj_crc32c("", 0), 0);
    cr_assert_eq(lj_crc32c(zeros, 32), 0x8A9136AA); /* RFC 3720, B.4 */
    cr_assert_eq(lj_crc32c(ones, 32), 0x62A8AB43);
}

Test(tensorboard, writes_the_bytes_of_its_own_writer, .init = begin, .fini = end)
{
    struct lj_tensorboard *t = NULL;
    cr_assert_eq(lj_tensorboard_open(&t, dir, 120, 1.7e9 + 0.25), LJ_OK);
    lj_tensorboard_begin(t, 130, 1.7e9 + 1.5);
    lj_tensorboard_add(t, "train", "loss", 1.25);
    lj_tensorboard_add(t, "train", "lr", 5e-4);
    lj_tensorboard_add(t, "train", "grad_norm", INFINITY);
    lj_tensorboard_end(t);
    lj_tensorboard_begin(t, 130, 1.7e9 + 2.5);
    lj_tensorboard_add(t, "eval", "knn_top1", 0.8125);
    lj_tensorboard_add(t, "eval", "condition", (double)NAN);
    lj_tensorboard_end(t);
    lj_tensorboard_begin(t, 5000000000, 1.7e9 + 3.5);
    lj_tensorboard_add(t, "train", "loss", -0.0078125);
    lj_tensorboard_end(t);
    lj_tensorboard_close(t);

    char path[FILES_MAX][512], golden[512];
    unsigned char found[BYTES_MAX], wanted[BYTES_MAX];
    snprintf(golden, sizeof golden, "%s/events.tfevents", getenv("GOLDEN_DIR"));
    cr_assert_eq(event_files(path), 1);
    cr_assert(strstr(path[0], "/events.out.tfevents.1700000000."), "%s", path[0]);
    size_t bytes = read_file(path[0], found);
    cr_assert_eq(bytes, read_file(golden, wanted));
    cr_assert_arr_eq(found, wanted, bytes);
}

Test(tensorboard, a_new_file_sorts_behind_the_others, .init = begin, .fini = end)
{
    const double clocks[] = {1.7e9, 1.7e9, 1.6e9}; /* the last of a host whose clock is late */
    char path[FILES_MAX][512];
    for (int i = 0; i < 3; i++) {
        struct lj_tensorboard *t = NULL;
        char stamp[64];
        cr_assert_eq(lj_tensorboard_open(&t, dir, 0, clocks[i]), LJ_OK);
        lj_tensorboard_close(t);
        snprintf(stamp, sizeof stamp, ".%d.", 1700000000 + i);
        cr_assert_eq(event_files(path), i + 1);
        cr_assert(strstr(path[i], stamp), "%s", path[i]);
    }
}

Test(tensorboard, a_directory_that_cannot_be_made_is_an_error, .init = begin, .fini = end)
{
    struct lj_tensorboard *t = NULL;
    char absent[128];
    snprintf(absent, sizeof absent, "%s/absent", dir);
    cr_assert_eq(lj_tensorboard_open(&t, absent, 0, 1.7e9), LJ_ERR_RESOURCE);
    cr_assert(strstr(lj_error_text(), "absent/tensorboard: cannot be written"), "%s",
              lj_error_text());
    lj_tensorboard_close(t);
}

/* Standard error into a file, to read the warnings. */
Test(tensorboard, a_full_disk_is_warned_of_once, .init = begin, .fini = end)
{
    struct lj_tensorboard *t = NULL;
    char heard[128];
    unsigned char text[BYTES_MAX] = {0};
    snprintf(heard, sizeof heard, "%s/stderr", dir);
    lj_log_set_speaker(true);
    cr_assert_eq(lj_tensorboard_open(&t, dir, 0, 1.7e9), LJ_OK);
    cr_assert(freopen(heard, "w", stderr));
    setvbuf(stderr, NULL, _IONBF, 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {1024, 1024};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int step = 1; step <= 100; step++) {
        lj_tensorboard_begin(t, step, 1.7e9);
        lj_tensorboard_add(t, "train", "loss", 1);
        lj_tensorboard_end(t);
    }
    lj_tensorboard_close(t);
    read_file(heard, text);
    char *warning = strstr((char *)text, "cannot be written: File too large");
    cr_assert(warning, "%s", (char *)text);
    cr_assert_null(strstr(warning + 1, "cannot be written"), "%s", (char *)text);
}
