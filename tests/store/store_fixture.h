/* SPDX-License-Identifier: Apache-2.0 */
/* A small table of parameters of every shape, and a checkpoint filled with known values. */
#ifndef TEST_STORE_FIXTURE_H
#define TEST_STORE_FIXTURE_H

#include "store/store.h"

#include "scratch_dir.h"

#include <string.h>

enum { FIXTURE_TENSORS = 5, FIXTURE_ELEMENTS = 160 };

struct fixture {
    char dir[64];
    struct lj_param list[FIXTURE_TENSORS];
    struct lj_params params;
    float weights[FIXTURE_ELEMENTS], moment1[FIXTURE_ELEMENTS], moment2[FIXTURE_ELEMENTS];
    float average[FIXTURE_ELEMENTS]; /* of the weights, where a test has the checkpoint hold it */
    float centre[9];                 /* of an objective, likewise */
    struct lj_state_array state;     /* that */
    float mean[3], std[3], least[3], most[3], low[3], high[3];
    struct lj_checkpoint checkpoint;
};

static inline void fixture_params(struct fixture *f)
{
    const struct lj_param list[FIXTURE_TENSORS] = {
        {.name = "cls_token", .dims = 3, .dim = {1, 1, 5}, .count = 5, .offset = 0},
        {.name = "blocks.0.attn.qkv.weight", .dims = 2, .dim = {7, 3}, .count = 21, .offset = 16},
        {.name = "patch_embed.proj.weight",
         .dims = 4,
         .dim = {2, 3, 4, 4},
         .count = 96,
         .offset = 48},
        {.name = "projector.norm.running_mean",
         .dims = 1,
         .dim = {3},
         .count = 3,
         .offset = 144,
         .role = LJ_ROLE_STATISTIC},
        {.name = "projector.scale", .dims = 0, .count = 1, .offset = 147},
    };
    memcpy(f->list, list, sizeof list);
    f->params = (struct lj_params){.list = f->list,
                                   .count = FIXTURE_TENSORS,
                                   .capacity = FIXTURE_TENSORS,
                                   .elements = FIXTURE_ELEMENTS};
}

static inline bool fixture_create(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    fixture_params(f);
    for (int i = 0; i < FIXTURE_TENSORS; i++)
        for (int64_t j = f->list[i].offset; j < f->list[i].offset + f->list[i].count; j++) {
            f->weights[j] = 0.37f * (float)(j + 1);
            f->moment1[j] = -1e-3f * (float)(j + 2);
            f->moment2[j] = 1e-9f * (float)(j + 3);
            f->average[j] = 0.36f * (float)(j + 1);
        }
    for (int i = 0; i < 9; i++)
        f->centre[i] = 0.25f - 0.01f * (float)i;
    f->state = (struct lj_state_array){"centre", "running mean", 9, f->centre};
    for (int c = 0; c < 3; c++) {
        f->mean[c] = 0.1f * (float)(c + 1);
        f->std[c] = 0.2f * (float)(c + 1);
        f->low[c] = 0.01f * (float)c;
        f->high[c] = 1.0f + 0.01f * (float)c;
        f->least[c] = -1.5f * (float)c;
        f->most[c] = 7 + 0.25f * (float)c;
    }
    f->checkpoint = (struct lj_checkpoint){.params = &f->params,
                                           .step = 1200,
                                           .seed = -7,
                                           .config = "optim:\n  lr: 1e-3\n",
                                           .provenance = "{\"version\": \"x\"}",
                                           .weights = f->weights,
                                           .moment1 = f->moment1,
                                           .moment2 = f->moment2,
                                           .channels = 3,
                                           .mean = f->mean,
                                           .std = f->std,
                                           .least = f->least,
                                           .most = f->most,
                                           .low = f->low,
                                           .high = f->high};
    return scratch_create(f->dir);
}

static inline void fixture_destroy(struct fixture *f)
{
    scratch_destroy(f->dir);
}

static inline void fixture_path(char path[LJ_PATH_MAX], const struct fixture *f, int64_t step)
{
    snprintf(path, LJ_PATH_MAX, "%s/step-%09lld.h5", f->dir, (long long)step);
}

#endif
