/* SPDX-License-Identifier: Apache-2.0 */
/* pack: what is written, which samples are chosen, and every way an IDX file can be wrong. */
#include "data/data.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { ROWS = 200, HEIGHT = 3, WIDTH = 5, PIXELS = HEIGHT * WIDTH, CLASSES = 4 };

static char directory[64];
static struct lj_config config;

static const char *in_directory(const char *name)
{
    static char path[8][512];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", directory, name);
    return path[turn];
}

/* "wb" gzips, "wbT" writes plain bytes. */
static void write_bytes(const char *name, const char *mode, const uint8_t *bytes, size_t count)
{
    gzFile file = gzopen(in_directory(name), mode);
    cr_assert(file && gzwrite(file, bytes, (unsigned)count) == (int)count);
    gzclose(file);
}

/* Sample i: every pixel i + its place; label i mod 4, but 0 for the last half: class 0 is
 * common. */
static uint8_t label_of(int i)
{
    return (uint8_t)(i < ROWS / 2 ? i % CLASSES : 0);
}

static size_t image_bytes(uint8_t *bytes)
{
    uint8_t header[16] = {0, 0, 8, 3, 0, 0, 0, ROWS, 0, 0, 0, HEIGHT, 0, 0, 0, WIDTH};
    memcpy(bytes, header, 16);
    for (int i = 0; i < ROWS; i++)
        for (int p = 0; p < PIXELS; p++)
            bytes[16 + i * PIXELS + p] = (uint8_t)(i + p);
    return 16 + ROWS * PIXELS;
}

static size_t label_bytes(uint8_t *bytes)
{
    uint8_t header[8] = {0, 0, 8, 1, 0, 0, 0, ROWS};
    memcpy(bytes, header, 8);
    for (int i = 0; i < ROWS; i++)
        bytes[8 + i] = label_of(i);
    return 8 + ROWS;
}

static uint8_t images[16 + ROWS * PIXELS], labels[8 + ROWS];

static void make_files(void)
{
    strcpy(directory, "/tmp/lejepa_pack_XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
    lj_log_set_speaker(false);
    write_bytes("images", "wbT", images, image_bytes(images));
    write_bytes("labels", "wbT", labels, label_bytes(labels));
    write_bytes("images.gz", "wb", images, sizeof images);
    write_bytes("labels.gz", "wb", labels, sizeof labels);
    strcpy(config.arg_out, in_directory("out.h5"));
}

/* Number of files that neither a test nor pack's result put there. */
static int count_partial(void)
{
    int count = 0;
    DIR *entries = opendir(directory);
    for (struct dirent *entry; (entry = readdir(entries));)
        count += strstr(entry->d_name, "partial") != NULL;
    closedir(entries);
    return count;
}

static void remove_files(void)
{
    DIR *entries = opendir(directory);
    for (struct dirent *entry; (entry = readdir(entries));)
        unlink(in_directory(entry->d_name));
    closedir(entries);
    rmdir(directory);
}

TestSuite(pack, .init = make_files, .fini = remove_files);

static int pack(const char *parts_format, int balanced, int64_t seed)
{
    /* %s of the format is the directory, up to four times */
    snprintf(config.arg_parts, sizeof config.arg_parts, parts_format, directory, directory,
             directory, directory);
    config.arg_balanced = balanced;
    config.seed = seed;
    return lj_pack(&config);
}

static struct {
    int rows;
    hsize_t dims[3], chunk[3];
    uint8_t images[2 * ROWS][PIXELS], split[2 * ROWS];
    int32_t labels[2 * ROWS];
} result;

static void read_column(hid_t file, const char *name, hid_t type, void *values)
{
    hid_t data = H5Dopen2(file, name, H5P_DEFAULT);
    cr_assert(data >= 0 && H5Dread(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(data);
}

static void read_result(void)
{
    hid_t file = H5Fopen(config.arg_out, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert(file >= 0);
    hid_t data = H5Dopen2(file, "images", H5P_DEFAULT), space = H5Dget_space(data);
    hid_t create = H5Dget_create_plist(data);
    cr_assert(H5Sget_simple_extent_dims(space, result.dims, NULL) == 3);
    cr_assert(H5Pget_chunk(create, 3, result.chunk) == 3);
    result.rows = (int)result.dims[0];
    cr_assert(result.rows <= 2 * ROWS && result.dims[1] == HEIGHT && result.dims[2] == WIDTH);
    H5Pclose(create);
    H5Sclose(space);
    H5Dclose(data);
    read_column(file, "images", H5T_NATIVE_UINT8, result.images);
    read_column(file, "labels", H5T_NATIVE_INT32, result.labels);
    read_column(file, "split", H5T_NATIVE_UINT8, result.split);
    H5Fclose(file);
}

/* Row k of the result as row of the source file; checks every pixel and the label. */
static int source_row(int k)
{
    int i = result.images[k][0];
    for (int p = 0; p < PIXELS; p++)
        cr_assert(result.images[k][p] == (uint8_t)(i + p));
    cr_assert(i < ROWS && result.labels[k] == label_of(i), "row %d", k);
    return i;
}

Test(pack, all_samples_in_order_from_plain_and_gzipped_files)
{
    cr_assert(pack("%s/images,%s/labels,0,0;%s/images.gz,%s/labels.gz,7,0", 0, 1) == LJ_OK, "%s",
              lj_error_text());
    read_result();
    cr_assert(result.rows == 2 * ROWS);
    cr_expect(result.chunk[0] == 64 && result.chunk[1] == HEIGHT && result.chunk[2] == WIDTH);
    for (int k = 0; k < 2 * ROWS; k++) {
        cr_assert(source_row(k) == k % ROWS);
        cr_assert(result.split[k] == (k < ROWS ? 0 : 7));
    }
}

Test(pack, a_balanced_choice_has_equally_many_of_each_class_in_file_order)
{
    cr_assert(pack("%s/images.gz,%s/labels.gz,0,40", 1, 5) == LJ_OK, "%s", lj_error_text());
    read_result();
    int members[CLASSES] = {0}, last = -1, late = 0;
    cr_assert(result.rows == 40);
    for (int k = 0; k < 40; k++) {
        int i = source_row(k);
        cr_assert(i > last);
        last = i;
        members[label_of(i)]++;
        late += i >= ROWS / 2;
    }
    for (int c = 0; c < CLASSES; c++)
        cr_expect(members[c] == 10);
    cr_expect(late >= 2, "the last half holds 100 of 125 samples of class 0, chosen %d", late);

    cr_assert(pack("%s/images,%s/labels,0,0", 1, 5) == LJ_OK); /* the rarest class has 25 */
    read_result();
    cr_expect(result.rows == CLASSES * 25);
}

static long file_bytes(const char *path, uint8_t *bytes, size_t capacity)
{
    FILE *file = fopen(path, "rb");
    long count = (long)fread(bytes, 1, capacity, file);
    fclose(file);
    return count;
}

Test(pack, the_seed_names_the_choice_and_the_file_is_a_function_of_it)
{
    static uint8_t first[1 << 17], again[1 << 17];
    const char *parts = "%s/images,%s/labels,0,50";
    int rows[50], same = 0;
    cr_assert(pack(parts, 0, 1) == LJ_OK);
    long count = file_bytes(config.arg_out, first, sizeof first);
    read_result();
    cr_assert(result.rows == 50);
    for (int k = 0; k < 50; k++)
        rows[k] = source_row(k);
    cr_assert(pack(parts, 0, 1) == LJ_OK);
    cr_expect(file_bytes(config.arg_out, again, sizeof again) == count);
    cr_expect(count < (long)sizeof first && memcmp(first, again, (size_t)count) == 0);
    cr_assert(pack(parts, 0, 2) == LJ_OK);
    read_result();
    for (int k = 0; k < 50; k++)
        same += rows[k] == source_row(k);
    cr_expect(same < 40);
}

Test(pack, sources_and_licence_are_attributes)
{
    char text[256] = "";
    FILE *file = fopen(in_directory("notice"), "w");
    fputs("free to use", file);
    fclose(file);
    strcpy(config.arg_licence, in_directory("notice"));
    cr_assert(pack("%s/images,%s/labels,0,50", 0, 1) == LJ_OK);
    hid_t archive = H5Fopen(config.arg_out, H5F_ACC_RDONLY, H5P_DEFAULT);
    const char *names[] = {"licence", "source"};
    const char *expected[] = {"free to use", "images, labels, split 0: 50 of 200"};
    for (int i = 0; i < 2; i++) {
        hid_t attribute = H5Aopen(archive, names[i], H5P_DEFAULT), type = H5Aget_type(attribute);
        cr_assert(H5Aread(attribute, type, text) >= 0);
        cr_expect_str_eq(text, expected[i]);
        H5Tclose(type);
        H5Aclose(attribute);
    }
    H5Fclose(archive);
}

static void expect_failure(int status, const char *parts, int balanced, const char *word)
{
    int found = pack(parts, balanced, 1);
    cr_expect(found == status, "%s: %d, %s", parts, found, lj_error_text());
    cr_expect(strstr(lj_error_text(), word) != NULL, "`%s` lacks `%s`", lj_error_text(), word);
    cr_expect(access(config.arg_out, F_OK) != 0, "%s left an archive", parts);
    cr_expect(count_partial() == 0);
}

Test(pack, wrong_arguments_are_refused)
{
    const char *wrong[] = {"%s/images,%s/labels,0",    "%s/images,%s/labels,0,0,1",
                           "%s/images,%s/labels,-1,0", "%s/images,%s/labels,256,0",
                           "%s/images,%s/labels,0,x",  "%s/images,,0,0",
                           "%s/images,%s/labels,0,"};
    for (int i = 0; i < 7; i++)
        expect_failure(LJ_ERR_CONFIG, wrong[i], 0, "IMAGES,LABELS,SPLIT,COUNT");
    expect_failure(LJ_ERR_CONFIG, ";", 0, "parts=");
    expect_failure(LJ_ERR_CONFIG, "%s/images,%s/labels,0,42", 1, "multiple of 4");
    strcpy(config.arg_licence, "/nonexistent");
    expect_failure(LJ_ERR_CONFIG, "%s/images,%s/labels,0,0", 0, "licence=");
    config.arg_licence[0] = 0;
    config.arg_out[0] = 0;
    cr_expect(pack("%s/images,%s/labels,0,0", 0, 1) == LJ_ERR_CONFIG);
}

Test(pack, unsupported_data_is_refused)
{
    expect_failure(LJ_ERR_DATA, "%s/absent,%s/labels,0,0", 0, "absent");
    expect_failure(LJ_ERR_DATA, "%s/labels,%s/labels,0,0", 0, "00 00 08 03");
    expect_failure(LJ_ERR_DATA, "%s/images,%s/images,0,0", 0, "labels");
    expect_failure(LJ_ERR_DATA, "%s/images,%s/labels,0,201", 0, "200");
    expect_failure(LJ_ERR_DATA, "%s/images,%s/labels,0,104", 1, "rarest has 25");
    labels[7] = ROWS - 1;
    write_bytes("fewer.gz", "wb", labels, sizeof labels - 1);
    expect_failure(LJ_ERR_DATA, "%s/images,%s/fewer.gz,0,0", 0, "199 labels");
    images[11] = WIDTH, images[15] = HEIGHT;
    write_bytes("turned", "wbT", images, sizeof images);
    expect_failure(LJ_ERR_DATA, "%s/images,%s/labels,0,0;%s/turned,%s/labels,0,0", 0, "5 x 3");
}

/* Every length of a plain and of a gzipped file but the right one fails; so do trailing bytes. */
Test(pack, files_cut_short_or_too_long_are_refused)
{
    static uint8_t gz[1 << 14];
    long whole = file_bytes(in_directory("labels.gz"), gz, sizeof gz);
    for (size_t length = 0; length < sizeof labels; length++) {
        write_bytes("cut", "wbT", labels, length);
        expect_failure(LJ_ERR_DATA, "%s/images,%s/cut,0,0", 0, "cut");
    }
    for (long length = 0; length < whole; length++) {
        write_bytes("cut", "wbT", gz, (size_t)length);
        expect_failure(LJ_ERR_DATA, "%s/images,%s/cut,0,0", 0, "cut");
    }
    uint8_t longer[sizeof labels + 1] = {0};
    memcpy(longer, labels, sizeof labels);
    write_bytes("long", "wbT", longer, sizeof longer);
    expect_failure(LJ_ERR_DATA, "%s/images,%s/long,0,0", 0, "long");
    write_bytes("long", "wb", longer, sizeof longer);
    expect_failure(LJ_ERR_DATA, "%s/images,%s/long,0,0", 0, "goes on");
    gz[whole - 6] ^= 1; /* checksum */
    write_bytes("cut", "wbT", gz, (size_t)whole);
    expect_failure(LJ_ERR_DATA, "%s/images,%s/cut,0,0", 0, "damaged");
}

Test(pack, a_header_that_promises_too_much_takes_no_memory)
{
    uint8_t huge[16] = {0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 64, 0, 0, 0, 64, 0};
    write_bytes("huge", "wbT", huge, 16);
    write_bytes("huge.gz", "wb", huge, 16);
    expect_failure(LJ_ERR_DATA, "%s/huge,%s/labels,0,0", 0, "does not hold");
    expect_failure(LJ_ERR_DATA, "%s/huge.gz,%s/labels,0,0", 0, "does not hold");
    huge[3] = 1;
    write_bytes("huge", "wbT", huge, 16);
    expect_failure(LJ_ERR_DATA, "%s/images,%s/huge,0,0", 0, "does not hold");
    huge[4] = huge[5] = huge[6] = huge[7] = 0;
    write_bytes("none", "wbT", huge, 8);
    expect_failure(LJ_ERR_DATA, "%s/images,%s/none,0,0", 0, "no entries");
}

/* The headers of all parts are compared before there is memory for the samples of all. */
Test(pack, one_large_image_takes_no_memory_for_the_other_parts)
{
    static uint8_t large[400000] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 64, 0, 0, 0, 64, 0};
    struct lj_rng rng;
    lj_rng_begin(&rng, 1, LJ_DRAW_TEST, 0, 0, 0);
    for (size_t i = 16; i < sizeof large; i++) /* as many as deflate could have made of it */
        large[i] = (uint8_t)lj_rng_below(&rng, 256);
    write_bytes("large.gz", "wb", large, sizeof large);
    write_bytes("one", "wbT", (const uint8_t[]){0, 0, 8, 1, 0, 0, 0, 1, 0}, 9);
    expect_failure(LJ_ERR_DATA, "%s/large.gz,%s/one,0,0;%s/images,%s/labels,0,0", 0,
                   "the first part of 16384 x 16384");
}

/* A limit on the size of files stands in for a full disk. */
Test(pack, a_full_disk_leaves_nothing_and_keeps_the_old_archive)
{
    struct rlimit limit = {2000, RLIM_INFINITY};
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    expect_failure(LJ_ERR_RESOURCE, "%s/images,%s/labels,0,0", 0, "nothing was left behind");
    setrlimit(RLIMIT_FSIZE, &none);
    cr_assert(pack("%s/images,%s/labels,0,50", 0, 1) == LJ_OK);
    setrlimit(RLIMIT_FSIZE, &limit);
    int status = pack("%s/images,%s/labels,0,0", 0, 1);
    setrlimit(RLIMIT_FSIZE, &none);
    cr_expect(status == LJ_ERR_RESOURCE && count_partial() == 0);
    read_result();
    cr_expect(result.rows == 50);
}

Test(pack, an_unusable_destination_is_a_resource_error)
{
    strcpy(config.arg_out, in_directory("absent/out.h5"));
    expect_failure(LJ_ERR_RESOURCE, "%s/images,%s/labels,0,0", 0, "choose another place");
    strcpy(config.arg_out, directory); /* rename onto a directory */
    cr_expect(pack("%s/images,%s/labels,0,0", 0, 1) == LJ_ERR_RESOURCE);
    char beside[128];
    snprintf(beside, sizeof beside, "%s.%ld.partial", directory, (long)getpid());
    cr_expect(access(beside, F_OK) != 0);
}

Test(pack, memory_is_given_back)
{
    cr_assert(pack("%s/images,%s/labels,0,0", 0, 1) == LJ_OK);
    cr_assert(pack("%s/images,%s/images,0,0", 0, 1) == LJ_ERR_DATA);
    struct lj_memory_use use[8];
    int count = lj_memory_report(use, 8);
    cr_assert(count > 0);
    for (int i = 0; i < count; i++)
        cr_expect(use[i].bytes == 0 && use[i].blocks == 0, "%s", use[i].label);
}
