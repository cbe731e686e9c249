/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints and files of embeddings with damaged bytes: the header, a tensor, verification. */
#include "fuzz.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("damaged.h5", data, size);
    struct lj_checkpoint_header header;
    struct lj_embeddings embeddings;
    if (lj_checkpoint_verify(path) == LJ_OK && lj_checkpoint_read_header(path, &header) == LJ_OK)
        lj_checkpoint_header_free(&header);
    if (lj_embeddings_read_index(path, NULL, &embeddings) == LJ_OK) {
        fuzz_expect(lj_embeddings_read_values(path, embeddings.width, 0, embeddings.rows,
                                              &embeddings.values));
        lj_embeddings_free(&embeddings);
    }
    return 0;
}
