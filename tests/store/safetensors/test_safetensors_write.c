/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a written file, taken apart by hand; the way back; failures. */
#include "../store_fixture.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

Test(safetensors_write, bytes)
{
    struct fixture f;
    char path[128];
    unsigned char bytes[4096];
    cr_assert(fixture_create(&f));
    snprintf(path, sizeof path, "%s/x.safetensors", f.dir);
    cr_assert_eq(lj_safetensors_write(path, &f.params, f.weights, "projector.", "{\"a\": \"b\"}"),
                 LJ_OK, "%s", lj_error_text());
    FILE *file = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    const char *expected =
        "{\"__metadata__\":{\"a\":\"b\"},"
        "\"cls_token\":{\"dtype\":\"F32\",\"shape\":[1,1,5],\"data_offsets\":[0,20]},"
        "\"blocks.0.attn.qkv.weight\":{\"dtype\":\"F32\",\"shape\":[7,3],\"data_offsets\":[20,104]}"
        ","
        "\"patch_embed.proj.weight\":{\"dtype\":\"F32\",\"shape\":[2,3,4,4],"
        "\"data_offsets\":[104,488]}}";
    size_t length = bytes[0] + 256u * bytes[1];
    cr_assert_eq(length % 8, 0);
    cr_assert_lt(length - strlen(expected), 8);
    cr_assert_arr_eq(bytes + 2, "\0\0\0\0\0\0", 6);
    cr_assert_arr_eq(bytes + 8, expected, strlen(expected));
    cr_assert_eq(size, 8 + length + 488);
    cr_assert_arr_eq(bytes + 8 + length, f.weights + 0, 20);
    cr_assert_arr_eq(bytes + 8 + length + 20, f.weights + 16, 84);
    cr_assert_arr_eq(bytes + 8 + length + 104, f.weights + 48, 384);
    fixture_destroy(&f);
}

Test(safetensors_write, round_trip)
{
    struct fixture f;
    char path[128];
    float weights[FIXTURE_ELEMENTS] = {0};
    bool whole;
    cr_assert(fixture_create(&f));
    snprintf(path, sizeof path, "%s/x.safetensors", f.dir);
    cr_assert_eq(lj_safetensors_write(path, &f.params, f.weights, NULL, NULL), LJ_OK);
    cr_assert_eq(lj_safetensors_read(path, &f.params, NULL, weights, &whole), LJ_OK, "%s",
                 lj_error_text());
    cr_assert_arr_eq(weights, f.weights, sizeof weights);
    f.params.count = 0; /* no tensors at all is a file too */
    cr_assert_eq(lj_safetensors_write(path, &f.params, f.weights, NULL, NULL), LJ_OK);
    cr_assert_eq(lj_safetensors_read(path, &f.params, NULL, weights, &whole), LJ_OK, "%s",
                 lj_error_text());
    fixture_destroy(&f);
}

Test(safetensors_write, failures_leave_the_old_file)
{
    struct fixture f;
    char path[128], temporary[128];
    float weights[FIXTURE_ELEMENTS] = {0};
    bool whole;
    struct rlimit saved;
    cr_assert(fixture_create(&f));
    snprintf(path, sizeof path, "%s/x.safetensors", f.dir);
    snprintf(temporary, sizeof temporary, "%s/.x.safetensors.tmp", f.dir);
    cr_assert_eq(lj_safetensors_write(path, &f.params, f.weights, NULL, "{\"a\": 1}"),
                 LJ_ERR_CHECKPOINT);
    cr_assert_eq(lj_safetensors_write("/nowhere/x", &f.params, f.weights, NULL, NULL),
                 LJ_ERR_RESOURCE);
    cr_assert_eq(lj_safetensors_write(path, &f.params, f.weights, NULL, NULL), LJ_OK);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &saved);
    for (rlim_t limit = 0; limit < 900; limit += 150) {
        struct rlimit small = {limit, saved.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
        int status = lj_safetensors_write(path, &f.params, f.moment1, NULL, NULL);
        setrlimit(RLIMIT_FSIZE, &saved);
        cr_assert_eq(status, LJ_ERR_RESOURCE, "limit %lu", (unsigned long)limit);
        cr_assert_neq(access(temporary, F_OK), 0);
    }
    cr_assert_eq(lj_safetensors_read(path, &f.params, NULL, weights, &whole), LJ_OK);
    cr_assert_arr_eq(weights, f.weights, sizeof weights);
    fixture_destroy(&f);
}
