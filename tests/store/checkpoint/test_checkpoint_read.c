/* SPDX-License-Identifier: Apache-2.0 */
/* Reading back, and every kind of damage: each must be found, named, and survived. */
#include "../store_fixture.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

/* A written checkpoint of step 1200 at path. */
static void written(struct fixture *f, char path[LJ_PATH_MAX])
{
    cr_assert(fixture_create(f));
    cr_assert_eq(lj_checkpoint_write(f->dir, &f->checkpoint, 3), LJ_OK, "%s", lj_error_text());
    fixture_path(path, f, 1200);
}

static int read_weights(const char *path, const struct lj_params *params)
{
    float weights[FIXTURE_ELEMENTS] = {0};
    struct lj_checkpoint_arrays arrays = {.weights = weights};
    return lj_checkpoint_read(path, params, &arrays);
}

Test(checkpoint_read, round_trip)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    float weights[FIXTURE_ELEMENTS] = {0}, moment1[FIXTURE_ELEMENTS] = {0},
          moment2[FIXTURE_ELEMENTS] = {0};
    written(&f, path);
    cr_assert_eq(lj_checkpoint_verify(path), LJ_OK, "%s", lj_error_text());
    struct lj_checkpoint_arrays arrays = {
        .weights = weights, .moment1 = moment1, .moment2 = moment2};
    cr_assert_eq(lj_checkpoint_read(path, &f.params, &arrays), LJ_OK);
    cr_assert_not(arrays.has_average);
    cr_assert_arr_eq(weights, f.weights, sizeof weights); /* padding stays zero */
    cr_assert_arr_eq(moment1, f.moment1, sizeof weights);
    cr_assert_arr_eq(moment2, f.moment2, sizeof weights);
    struct lj_checkpoint_header header;
    cr_assert_eq(lj_checkpoint_read_header(path, &header), LJ_OK);
    cr_assert_eq(header.step, 1200);
    cr_assert_eq(header.seed, -7);
    cr_assert_eq(header.channels, 3);
    cr_assert_str_eq(header.config, f.checkpoint.config);
    cr_assert_str_eq(header.provenance, f.checkpoint.provenance);
    cr_assert_str_eq(header.pixels, "", "older checkpoints do not say it");
    cr_assert_arr_eq(header.mean, f.mean, sizeof f.mean);
    cr_assert_arr_eq(header.std, f.std, sizeof f.std);
    cr_assert_arr_eq(header.least, f.least, sizeof f.least);
    cr_assert_arr_eq(header.most, f.most, sizeof f.most);
    cr_assert_arr_eq(header.low, f.low, sizeof f.low);
    cr_assert_arr_eq(header.high, f.high, sizeof f.high);
    lj_checkpoint_header_free(&header);
    fixture_destroy(&f);
}

/* What is known of pixels: their type stands in the provenance; older files do not have the
 * range, and only some have limits. */
Test(checkpoint_read, pixels)
{
    struct fixture f;
    struct lj_checkpoint_header header;
    char path[LJ_PATH_MAX];
    cr_assert(fixture_create(&f));
    f.checkpoint.low = f.checkpoint.high = NULL;
    f.checkpoint.least = f.checkpoint.most = NULL;
    f.checkpoint.provenance = "{\"ranks\": 2, \"pixels\": \"u16\"}";
    cr_assert_eq(lj_checkpoint_write(f.dir, &f.checkpoint, 3), LJ_OK, "%s", lj_error_text());
    fixture_path(path, &f, 1200);
    cr_assert_eq(lj_checkpoint_verify(path), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_checkpoint_read_header(path, &header), LJ_OK);
    cr_assert_str_eq(header.pixels, "u16");
    cr_assert(!header.low && !header.high && !header.least && !header.most && header.mean &&
              header.std);
    lj_checkpoint_header_free(&header);
    fixture_destroy(&f);
}

Test(checkpoint_read, wrong_model)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    written(&f, path);
    f.list[1].dim[0] = 3, f.list[1].dim[1] = 7;
    cr_assert_eq(read_weights(path, &f.params), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "blocks.0.attn.qkv.weight has shape (7, 3), expected (3, 7)"),
              "%s", lj_error_text());
    fixture_params(&f);
    strcpy(f.list[2].name, "stem.weight");
    cr_assert_eq(read_weights(path, &f.params), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "stem.weight is missing"), "%s", lj_error_text());
    fixture_params(&f);
    f.params.count = 4; /* the file has one more */
    cr_assert_eq(read_weights(path, &f.params), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "projector.scale is not in the model"), "%s",
              lj_error_text());
    fixture_destroy(&f);
}

/* Flips one bit of the first value of a dataset. */
static void flip_in_dataset(const char *path, const char *name)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    long offset = (long)H5Dget_offset(set);
    H5Dclose(set);
    H5Fclose(file);
    FILE *raw = fopen(path, "r+");
    fseek(raw, offset, SEEK_SET);
    int byte = fgetc(raw);
    fseek(raw, offset, SEEK_SET);
    fputc(byte ^ 4, raw);
    fclose(raw);
}

Test(checkpoint_read, flipped_bits)
{
    const char *names[] = {"/weights/cls_token", "/optim/moment1/patch_embed.proj.weight",
                           "/optim/moment2/projector.scale", "/data/std", "/data/high"};
    for (int i = 0; i < 5; i++) {
        struct fixture f;
        char path[LJ_PATH_MAX];
        written(&f, path);
        flip_in_dataset(path, names[i]);
        cr_assert_eq(lj_checkpoint_verify(path), LJ_ERR_CHECKPOINT, "%s", names[i]);
        cr_assert(strstr(lj_error_text(), names[i]), "%s", lj_error_text());
        cr_assert(strstr(lj_error_text(), "checksum"), "%s", lj_error_text());
        fixture_destroy(&f);
    }
}

Test(checkpoint_read, changed_attribute)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    written(&f, path);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t attribute = H5Aopen(file, "seed", H5P_DEFAULT);
    int64_t seed = 8;
    H5Awrite(attribute, H5T_NATIVE_INT64, &seed);
    H5Aclose(attribute);
    H5Fclose(file);
    struct lj_checkpoint_header header;
    cr_assert_eq(lj_checkpoint_verify(path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "attributes"), "%s", lj_error_text());
    cr_assert_eq(lj_checkpoint_read_header(path, &header), LJ_ERR_CHECKPOINT);
    cr_assert_null(header.config);
    cr_assert_eq(read_weights(path, &f.params), LJ_ERR_CHECKPOINT);
    fixture_destroy(&f);
}

/* Replaces a dataset by one of another shape, or by nothing. */
static void replace(const char *path, const char *name, hsize_t count)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    H5Ldelete(file, name, H5P_DEFAULT);
    if (count > 0) {
        hid_t space = H5Screate_simple(1, &count, NULL);
        hid_t set =
            H5Dcreate2(file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        float *zeros = calloc(count, sizeof *zeros);
        H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros);
        free(zeros);
        H5Dclose(set);
        H5Sclose(space);
    }
    H5Fclose(file);
}

Test(checkpoint_read, missing_or_replaced_datasets)
{
    const char *names[] = {"/weights/cls_token", "/optim/moment2/cls_token", "/data/mean",
                           "/data/high"};
    for (int i = 0; i < 4; i++)
        for (hsize_t count = 0; count < 10; count += 5) {
            struct fixture f;
            char path[LJ_PATH_MAX];
            written(&f, path);
            replace(path, names[i], count);
            cr_assert_eq(lj_checkpoint_verify(path), LJ_ERR_CHECKPOINT, "%s %d", names[i],
                         (int)count);
            fixture_destroy(&f);
        }
    struct fixture f;
    char path[LJ_PATH_MAX];
    written(&f, path);
    replace(path, "/optim/moment1/cls_token", 5);
    cr_assert_eq(lj_checkpoint_verify(path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "moment1/cls_token has shape (5), expected (1, 1, 5)"), "%s",
              lj_error_text());
    fixture_destroy(&f);
}

static void copy_damaged(const char *from, const char *to, long cut, long flip)
{
    static char bytes[1 << 20];
    FILE *file = fopen(from, "r");
    long size = (long)fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    if (flip >= 0)
        bytes[flip / 8] ^= (char)(1 << flip % 8);
    file = fopen(to, "w");
    fwrite(bytes, 1, (size_t)(cut >= 0 ? cut : size), file);
    fclose(file);
}

Test(checkpoint_read, truncated_anywhere)
{
    struct fixture f;
    char path[LJ_PATH_MAX], copy[128];
    struct stat whole;
    written(&f, path);
    snprintf(copy, sizeof copy, "%s/copy.h5", f.dir);
    stat(path, &whole);
    for (long cut = 0; cut < whole.st_size; cut += 61) {
        copy_damaged(path, copy, cut, -1);
        cr_assert_eq(lj_checkpoint_verify(copy), LJ_ERR_CHECKPOINT, "cut at %ld", cut);
    }
    fixture_destroy(&f);
}

/* Whatever bit flips: either it is found, or it lies where nothing is kept and all
 * values are good. */
Test(checkpoint_read, flipped_anywhere)
{
    struct fixture f;
    char path[LJ_PATH_MAX], copy[128];
    struct stat whole;
    written(&f, path);
    snprintf(copy, sizeof copy, "%s/copy.h5", f.dir);
    stat(path, &whole);
    int found = 0;
    for (long bit = 0; bit < 8 * whole.st_size; bit += 53) {
        float weights[FIXTURE_ELEMENTS] = {0};
        copy_damaged(path, copy, -1, bit);
        if (lj_checkpoint_verify(copy) != LJ_OK) {
            found++;
            continue;
        }
        struct lj_checkpoint_arrays arrays = {.weights = weights};
        cr_assert_eq(lj_checkpoint_read(copy, &f.params, &arrays), LJ_OK);
        cr_assert_arr_eq(weights, f.weights, sizeof weights, "bit %ld", bit);
    }
    cr_assert_gt(found, 1000);
    fixture_destroy(&f);
}

/* Of the weights; a file without one leaves the array as it is. */
Test(checkpoint_read, running_average)
{
    struct fixture f;
    struct lj_checkpoint_header header;
    char path[LJ_PATH_MAX];
    float weights[FIXTURE_ELEMENTS] = {0}, average[FIXTURE_ELEMENTS] = {0};
    struct lj_checkpoint_arrays arrays = {.weights = weights, .average = average};
    written(&f, path);
    cr_assert_eq(lj_checkpoint_read(path, &f.params, &arrays), LJ_OK);
    cr_assert(!arrays.has_average && average[0] == 0);
    f.checkpoint.average = f.average;
    cr_assert_eq(lj_checkpoint_write(f.dir, &f.checkpoint, 3), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_checkpoint_verify(path), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_checkpoint_read(path, &f.params, &arrays), LJ_OK, "%s", lj_error_text());
    cr_assert(arrays.has_average);
    cr_assert_arr_eq(weights, f.weights, sizeof weights);
    cr_assert_arr_eq(average, f.average, sizeof average);
    cr_assert_eq(lj_checkpoint_read_header(path, &header), LJ_OK);
    cr_assert(header.has_average);
    lj_checkpoint_header_free(&header);
    replace(path, "/average/cls_token", 5);
    cr_assert_eq(lj_checkpoint_verify(path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "/average/cls_token has shape (5)"), "%s", lj_error_text());
    cr_assert_eq(read_weights(path, &f.params), LJ_OK); /* which are whole */
    fixture_destroy(&f);
}

/* Of the objective; with an average and without. A file without one, or with one of another length,
 * is of another run. */
Test(checkpoint_read, state_of_the_objective)
{
    struct fixture f;
    char path[LJ_PATH_MAX];
    float weights[FIXTURE_ELEMENTS] = {0}, centre[9] = {0};
    struct lj_state_array state = {.name = "centre", .count = 9, .values = centre};
    struct lj_checkpoint_arrays arrays = {.weights = weights, .states = 1, .state = &state};
    written(&f, path);
    cr_assert_eq(lj_checkpoint_read(path, &f.params, &arrays), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "has 0 arrays of the objective"), "%s", lj_error_text());
    f.checkpoint.states = 1;
    f.checkpoint.state = &f.state;
    for (int averages = 0; averages < 2; averages++) {
        f.checkpoint.average = averages ? f.average : NULL;
        memset(centre, 0, sizeof centre);
        cr_assert_eq(lj_checkpoint_write(f.dir, &f.checkpoint, 3), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(lj_checkpoint_verify(path), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(lj_checkpoint_read(path, &f.params, &arrays), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(arrays.has_average, averages);
        cr_assert_arr_eq(centre, f.centre, sizeof centre);
        cr_assert_arr_eq(weights, f.weights, sizeof weights);
    }
    cr_assert_eq(read_weights(path, &f.params), LJ_OK); /* whoever needs no state */
    state.count = 8;
    cr_assert_eq(lj_checkpoint_read(path, &f.params, &arrays), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "/objective/centre has shape (9), expected (8)"), "%s",
              lj_error_text());
    replace(path, "/objective/centre", 0);
    cr_assert_eq(lj_checkpoint_verify(path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "an array of /objective"), "%s", lj_error_text());
    fixture_destroy(&f);
}

Test(checkpoint_read, not_a_checkpoint)
{
    struct fixture f;
    char path[128];
    cr_assert(fixture_create(&f));
    cr_assert_eq(lj_checkpoint_verify(f.dir), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "not a regular file"));
    snprintf(path, sizeof path, "%s/other.h5", f.dir);
    cr_assert_eq(lj_checkpoint_verify(path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "No such file"));
    fclose(fopen(path, "w"));
    cr_assert_eq(lj_checkpoint_verify(path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "empty"));
    H5Fclose(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    cr_assert_eq(lj_checkpoint_verify(path), LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "not a checkpoint"));
    fixture_destroy(&f);
}
