/* SPDX-License-Identifier: Apache-2.0 */
/* A safetensors file read into a small model. */
#include "fuzz.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lj_param list[] = {
        {.name = "a", .dims = 2, .dim = {2, 3}, .count = 6, .offset = 0},
        {.name = "b", .dims = 1, .dim = {4}, .count = 4, .offset = 16},
        {.name = "projector.c", .dims = 0, .count = 1, .offset = 32},
    };
    const struct lj_params params = {.list = list, .count = 3, .capacity = 3, .elements = 48};
    float weights[48];
    bool whole = false;
    const char *path = fuzz_file("weights.safetensors", data, size);
    fuzz_expect(lj_safetensors_read(path, &params, "projector.", weights, &whole));
    return 0;
}
