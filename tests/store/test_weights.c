/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of either kind of file, told apart by their first bytes. */
#include "store_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    fputs(text, file);
    fclose(file);
}

/* Names that mislead: the checkpoint is called .safetensors and the other way round. */
Test(weights, kind_is_told_by_the_content)
{
    struct fixture f;
    struct lj_weights_source source;
    char checkpoint[LJ_PATH_MAX], misnamed[128], tensors[128];
    float weights[FIXTURE_ELEMENTS] = {0};
    cr_assert(fixture_create(&f));
    cr_assert_eq(lj_checkpoint_write(f.dir, &f.checkpoint, 1), LJ_OK, "%s", lj_error_text());
    fixture_path(checkpoint, &f, f.checkpoint.step);
    snprintf(misnamed, sizeof misnamed, "%s/x.safetensors", f.dir);
    snprintf(tensors, sizeof tensors, "%s/y.h5", f.dir);

    cr_assert_eq(lj_weights_read(f.dir, &f.params, "projector.", false, NULL, weights, &source),
                 LJ_OK, "%s", lj_error_text());
    cr_assert_str_eq(source.file, checkpoint);
    cr_assert(source.checkpoint && source.whole);
    cr_assert_arr_eq(weights, f.weights, sizeof weights);
    uint64_t xxh3 = source.xxh3;
    cr_assert_eq(rename(checkpoint, misnamed), 0);
    cr_assert_eq(lj_weights_read(misnamed, &f.params, "projector.", false, NULL, weights, &source),
                 LJ_OK);
    cr_assert(source.checkpoint && source.whole && source.xxh3 == xxh3);

    memset(weights, 0, sizeof weights); /* a projector of another kind keeps its own */
    cr_assert_eq(lj_weights_read(misnamed, &f.params, "projector.", true, NULL, weights, &source),
                 LJ_OK, "%s", lj_error_text());
    cr_assert(source.checkpoint && !source.whole);
    cr_assert_eq(weights[0], f.weights[0]);
    cr_assert_eq(weights[147], 0, "the projector's own stay");

    memset(weights, 0, sizeof weights);
    cr_assert_eq(lj_safetensors_write(tensors, &f.params, f.weights, "projector.", NULL), LJ_OK);
    cr_assert_eq(lj_weights_read(tensors, &f.params, "projector.", false, NULL, weights, &source),
                 LJ_OK, "%s", lj_error_text());
    cr_assert(!source.checkpoint && !source.whole && source.xxh3 != xxh3);
    cr_assert_eq(weights[0], f.weights[0]);
    cr_assert_eq(weights[147], 0, "the projector's own stay");
    fixture_destroy(&f);
}

/* Of a safetensors file that has a projector, of this kind or of another one, too. */
Test(weights, the_encoder_of_tensors)
{
    struct fixture f;
    struct lj_weights_source source;
    char path[128];
    float weights[FIXTURE_ELEMENTS];
    cr_assert(fixture_create(&f));
    snprintf(path, sizeof path, "%s/x", f.dir);
    cr_assert_eq(lj_safetensors_write(path, &f.params, f.weights, NULL, NULL), LJ_OK);
    for (int kind = 0; kind < 2; kind++) {
        struct lj_adaption adaption = {.first_conv = "", .classifier = "", .prefix = 1};
        f.list[3].dim[0] = f.list[3].count = 3 - kind;
        f.params.count = FIXTURE_TENSORS - kind;
        memset(weights, 0, sizeof weights);
        cr_assert_eq(lj_weights_read(path, &f.params, "projector.", true, kind ? &adaption : NULL,
                                     weights, &source),
                     LJ_OK, "%s", lj_error_text());
        cr_assert(!source.checkpoint && !source.whole);
        for (int i = 0; i < FIXTURE_ELEMENTS; i++)
            cr_assert_eq(weights[i], i < 144 ? f.weights[i] : 0, "element %d", i);
    }
    fixture_destroy(&f);
}

/* Of a checkpoint with another projector the encoder can be read alone; with another encoder it
 * cannot. */
Test(weights, the_encoder_of_a_checkpoint)
{
    struct fixture f;
    struct lj_weights_source source;
    float weights[FIXTURE_ELEMENTS] = {0};
    cr_assert(fixture_create(&f));
    cr_assert_eq(lj_checkpoint_write(f.dir, &f.checkpoint, 1), LJ_OK, "%s", lj_error_text());
    f.list[3].dim[0] = 2;
    f.list[3].count = 2;
    f.params.count = 4; /* no projector.scale */
    cr_assert_eq(lj_weights_read(f.dir, &f.params, "projector.", false, NULL, weights, &source),
                 LJ_ERR_CHECKPOINT);
    memset(weights, 0, sizeof weights);
    cr_assert_eq(lj_weights_read(f.dir, &f.params, "projector.", true, NULL, weights, &source),
                 LJ_OK, "%s", lj_error_text());
    cr_assert(source.checkpoint && !source.whole);
    for (int i = 0; i < FIXTURE_ELEMENTS; i++)
        cr_assert_eq(weights[i], i < 144 ? f.weights[i] : 0, "element %d", i);
    f.checkpoint.provenance = "{\"classes\": [0, 1]}";
    f.list[3].dim[0] = f.list[3].count = 3;
    f.params.count = FIXTURE_TENSORS;
    cr_assert_eq(lj_checkpoint_write(f.dir, &f.checkpoint, 1), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_weights_read(f.dir, &f.params, "projector.", false, NULL, weights, &source),
                 LJ_OK, "%s", lj_error_text());
    cr_assert(!source.whole && weights[147] == 0, "a classifier was read");
    f.list[0].dim[2] = f.list[0].count = 4;
    cr_assert_eq(lj_weights_read(f.dir, &f.params, "projector.", true, NULL, weights, &source),
                 LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "cls_token"), "%s", lj_error_text());
    fixture_destroy(&f);
}

Test(weights, hash_is_that_of_the_bytes)
{
    struct fixture f;
    struct lj_weights_source source;
    char path[128];
    float weights[FIXTURE_ELEMENTS];
    cr_assert(fixture_create(&f));
    snprintf(path, sizeof path, "%s/x", f.dir);
    write_text(path, "abc");
    cr_assert_eq(lj_weights_read(path, &f.params, NULL, false, NULL, weights, &source),
                 LJ_ERR_CHECKPOINT);
    cr_assert_eq(source.xxh3, 0x78af5f94892f3950u); /* `xxhsum -H3` of abc */
    fixture_destroy(&f);
}

Test(weights, refused)
{
    struct fixture f;
    struct lj_weights_source source;
    char path[128];
    float weights[FIXTURE_ELEMENTS];
    cr_assert(fixture_create(&f));
    cr_assert_eq(lj_weights_read(f.dir, &f.params, NULL, false, NULL, weights, &source),
                 LJ_ERR_CHECKPOINT);
    snprintf(path, sizeof path, "%s/x", f.dir);
    cr_assert_eq(lj_weights_read(path, &f.params, NULL, false, NULL, weights, &source),
                 LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "No such file"), "%s", lj_error_text());
    write_text(path, "");
    cr_assert_eq(lj_weights_read(path, &f.params, NULL, false, NULL, weights, &source),
                 LJ_ERR_CHECKPOINT);
    write_text(path, "\x89HDF\r\n\x1a\nand nothing more");
    cr_assert_eq(lj_weights_read(path, &f.params, NULL, false, NULL, weights, &source),
                 LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "HDF5"), "%s", lj_error_text());
    fixture_destroy(&f);
}
