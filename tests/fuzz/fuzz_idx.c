/* SPDX-License-Identifier: Apache-2.0 */
/* IDX files, plain and gzipped. */
#include "data/pack/idx.h"
#include "fuzz.h"

enum { ITEMS = 64, BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t item[BYTES];
    const char *path = fuzz_file("images-idx", data, size);
    for (int dims = 1; dims <= LJ_IDX_DIMS_MAX; dims += 2) {
        struct lj_idx idx;
        if (lj_idx_open(&idx, path, dims) != LJ_OK)
            continue;
        int status = idx.item_bytes <= BYTES ? LJ_OK : LJ_ERR_DATA;
        for (int64_t i = 0; i < idx.shape[0] && i < ITEMS && status == LJ_OK; i++)
            status = lj_idx_read(&idx, item);
        if (status == LJ_OK && idx.shape[0] <= ITEMS)
            fuzz_expect(lj_idx_end(&idx));
        lj_idx_close(&idx);
    }
    return 0;
}
