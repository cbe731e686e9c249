/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile files: each must be refused with LJ_ERR_CHECKPOINT and a text that says why. */
#include "raw_file.h"
#include "../store_fixture.h"

#include <criterion/criterion.h>
#include <unistd.h>

/* Two tensors: a (2) and b (1), 12 bytes of data. */
struct attack {
    int64_t length; /* -1: the true one */
    const char *header, *reason;
};
static const struct attack attacks[] = {
    {100000001, "{}", "at most 100000000"},
    {INT64_MAX, "{}", "at most 100000000"},
    {500, "{}", "inside the file"},
    {-1, "", "not JSON"},
    {-1, "{\"a\":", "not JSON"},
    {-1, "{} x", "not JSON"},
    {-1, "[1]", "not a JSON object"},
    {-1, " {}", "not a JSON object"},
    {-1,
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
     "duplicate"},
    {-1, "{\"a\":7}", "unknown dtype"},
    {-1, "{\"a\":{\"dtype\":\"F31\",\"shape\":[3],\"data_offsets\":[0,12]}}", "unknown dtype F31"},
    {-1, "{\"a\":{\"dtype\":3,\"shape\":[3],\"data_offsets\":[0,12]}}", "unknown dtype"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":3,\"data_offsets\":[0,12]}}", "shape"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[-3],\"data_offsets\":[0,12]}}", "shape"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[3.0],\"data_offsets\":[0,12]}}", "shape"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
     "product"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}",
     "product"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", "12 bytes apart"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[12,0]}}", "12 bytes apart"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[-12,0]}}", "12 bytes apart"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12,24]}}", "12 bytes apart"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[3]}}", "12 bytes apart"},
    {-1,
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],"
     "\"data_offsets\":[9223372036854775806,9223372036854775807]}}",
     "1 bytes apart"},
    {-1,
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
     "overlap"},
    {-1,
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
     "hole"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", "hole"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "the file has"},
    {-1, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "the file has"},
    {-1,
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387],"
     "\"data_offsets\":[0,18446744073709548]}}",
     "the file has"},
};

Test(safetensors_header, refuses_hostile_files)
{
    struct fixture f;
    char path[128];
    float weights[3] = {0}, data[3] = {1, 2, 3};
    bool whole;
    struct lj_params nothing = {0};
    cr_assert(fixture_create(&f));
    snprintf(path, sizeof path, "%s/x.safetensors", f.dir);
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        raw_safetensors(path, attacks[i].length, attacks[i].header, data, sizeof data);
        cr_assert_eq(lj_safetensors_read(path, &nothing, NULL, weights, &whole), LJ_ERR_CHECKPOINT,
                     "%s", attacks[i].header);
        cr_assert(strstr(lj_error_text(), attacks[i].reason), "%s: %s", attacks[i].header,
                  lj_error_text());
    }
    for (int size = 0; size < 8; size++) { /* no room for a length */
        cr_assert_eq(truncate(path, size), 0);
        cr_assert_eq(lj_safetensors_read(path, &nothing, NULL, weights, &whole), LJ_ERR_CHECKPOINT);
    }
    cr_assert_eq(lj_safetensors_read(f.dir, &nothing, NULL, weights, &whole), LJ_ERR_CHECKPOINT);
    fixture_destroy(&f);
}
