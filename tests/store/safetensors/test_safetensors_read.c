/* SPDX-License-Identifier: Apache-2.0 */
/* Files made byte by byte from the format's description. */
#include "raw_file.h"
#include "../store_fixture.h"

#include <criterion/criterion.h>
#include <math.h>

static struct lj_param list[] = {
    {.name = "a", .dims = 2, .dim = {2, 3}, .count = 6, .offset = 2},
    {.name = "header.b", .dims = 0, .count = 1, .offset = 0},
};
static const struct lj_params params = {.list = list, .count = 2, .elements = 8};

static bool whole; /* of the last read_raw */

static int read_raw(const char *header, const void *data, size_t bytes, const char *optional,
                    float weights[8])
{
    struct fixture f;
    char path[128];
    cr_assert(fixture_create(&f));
    snprintf(path, sizeof path, "%s/x.safetensors", f.dir);
    raw_safetensors(path, -1, header, data, bytes);
    int status = lj_safetensors_read(path, &params, optional, weights, &whole);
    fixture_destroy(&f);
    return status;
}

/* Out of order in the header, padded, with metadata, an empty tensor and one nobody asked for. */
Test(safetensors_read, float32)
{
    const char *header = "{\"header.b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[24,28]},"
                         "\"__metadata__\":{\"format\":\"pt\"},"
                         "\"void\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[24,24]},"
                         "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                         "\"index\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[28,36]}}   ";
    float data[9] = {1, 2, NAN, 4, 5, 6, 7, 0, 0}, weights[8] = {0};
    cr_assert_eq(read_raw(header, data, sizeof data, NULL, weights), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(weights[0], 7);
    cr_assert_eq(weights[1], 0);
    cr_assert_arr_eq(weights + 2, data, 24);
}

Test(safetensors_read, half_precision)
{
    /* 1, -2, 65504, smallest subnormal, -0, infinity as binary16; the same of bfloat16's range */
    const uint16_t half[6] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00};
    const float half_value[6] = {1, -2, 65504, 0x1p-24f, -0.0f, INFINITY};
    const uint16_t bfloat[6] = {0x3f80, 0xc000, 0x7f7f, 0x0001, 0x8000, 0x3eab};
    const float bfloat_value[6] = {1, -2, 0x1.fep127f, 0x1p-133f, -0.0f, 0.333984375f};
    float weights[8] = {0};
    cr_assert_eq(read_raw("{\"a\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[0,12]}}",
                          half, 12, "header.", weights),
                 LJ_OK, "%s", lj_error_text());
    cr_assert_arr_eq(weights + 2, half_value, 24);
    cr_assert_eq(read_raw("{\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]}}",
                          bfloat, 12, "header.", weights),
                 LJ_OK);
    cr_assert_arr_eq(weights + 2, bfloat_value, 24);
    const uint16_t nan[6] = {0x7e00, 0x0400, 0x03ff, 0xfbff, 0x3555, 0x0000};
    cr_assert_eq(read_raw("{\"a\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[0,12]}}",
                          nan, 12, "header.", weights),
                 LJ_OK);
    cr_assert(isnan(weights[2]));
    cr_assert_eq(weights[3], 0x1p-14f);
    cr_assert_eq(weights[4], 1023 * 0x1p-24f);
    cr_assert_eq(weights[5], -65504);
    cr_assert_eq(weights[6], 0x1.554p-2f);
}

Test(safetensors_read, unsupported_tensors)
{
    float data[6] = {0}, weights[8];
    cr_assert_eq(read_raw("{\"a\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]}}",
                          data, 24, "header.", weights),
                 LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "shape (3, 2), expected (2, 3)"), "%s", lj_error_text());
    cr_assert_eq(read_raw("{\"a\":{\"dtype\":\"I32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
                          data, 24, "header.", weights),
                 LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "dtype I32"), "%s", lj_error_text());
    cr_assert_eq(read_raw("{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
                          data, 24, NULL, weights),
                 LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "header.b is missing"), "%s", lj_error_text());
    cr_assert_eq(read_raw("{}", data, 0, "header.", weights), LJ_ERR_CHECKPOINT);
}

/* Parameters that may be missing are missing together. */
Test(safetensors_read, optional_parameters)
{
    static struct lj_param more[] = {
        {.name = "a", .dims = 1, .dim = {1}, .count = 1, .offset = 0},
        {.name = "header.b", .dims = 1, .dim = {1}, .count = 1, .offset = 1},
        {.name = "header.c", .dims = 1, .dim = {1}, .count = 1, .offset = 2},
    };
    static const char *const headers[] = {
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
        "\"header.c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
        "\"header.b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},"
        "\"header.c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
    };
    const struct lj_params three = {.list = more, .count = 3, .elements = 3};
    const float data[3] = {5, 6, 7};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        char path[128];
        float weights[3] = {-1, -2, -3};
        cr_assert(fixture_create(&f));
        snprintf(path, sizeof path, "%s/x.safetensors", f.dir);
        raw_safetensors(path, -1, headers[i], data, 4 * (i + 1));
        int status = lj_safetensors_read(path, &three, "header.", weights, &whole);
        fixture_destroy(&f);
        cr_assert_eq(status, i == 1 ? LJ_ERR_CHECKPOINT : LJ_OK, "%zu: %s", i, lj_error_text());
        if (i == 1)
            cr_assert(strstr(lj_error_text(), "header.b is missing"), "%s", lj_error_text());
        else
            cr_assert_eq(whole, i == 2);
        if (i == 0)
            cr_assert(weights[0] == 5 && weights[1] == -2 && weights[2] == -3);
    }
}

Test(safetensors_read, absent_file)
{
    float weights[8];
    cr_assert_eq(lj_safetensors_read("/nowhere/x", &params, NULL, weights, &whole),
                 LJ_ERR_CHECKPOINT);
}
