/* SPDX-License-Identifier: Apache-2.0 */
/* A model for inference out of a checkpoint. Rank 0 reads, everybody receives. */
#include "eval/eval.h"
#include "store/store.h"

#include <string.h>

bool lj_checkpoint_limits(const struct lj_checkpoint_header *header, enum lj_data_stretch stretch,
                          struct lj_limits *limits)
{
    if (!lj_stretch_has_limits(stretch))
        return false;
    for (int c = 0; c < header->channels; c++) {
        limits->low[c] = header->low ? header->low[c] : 0;
        limits->high[c] = header->high ? header->high[c] : 1;
    }
    return header->low || stretch == LJ_DATA_STRETCH_ASINH;
}

static int read_header(struct lj_pretrained *p, const char *file)
{
    struct lj_checkpoint_header header;
    LJ_TRY(lj_checkpoint_read_header(file, &header));
    p->step = header.step;
    p->averaged = header.has_average;
    p->channels = header.channels;
    int status = LJ_OK;
    if (header.channels < 1 || header.channels > LJ_CHANNELS_MAX)
        status = lj_fail(LJ_ERR_CHECKPOINT, "%s: %d channels, expected 1 to %d", file,
                         header.channels, LJ_CHANNELS_MAX);
    if (status == LJ_OK) {
        memcpy(p->mean, header.mean, (size_t)header.channels * sizeof *p->mean);
        memcpy(p->std, header.std, (size_t)header.channels * sizeof *p->std);
        memcpy(p->pixels, header.pixels, sizeof p->pixels);
        p->has_range = header.least != NULL;
    }
    if (status == LJ_OK && p->has_range) {
        memcpy(p->least, header.least, (size_t)header.channels * sizeof *p->least);
        memcpy(p->most, header.most, (size_t)header.channels * sizeof *p->most);
    }
    if (status == LJ_OK) {
        lj_config_defaults(&p->config);
        status = lj_config_read_text(&p->config, header.config, file);
        p->has_limits = lj_checkpoint_limits(&header, p->config.data_stretch, &p->limits);
    }
    lj_checkpoint_header_free(&header);
    return status;
}

/* The run wrote the pixels it resolved; a checkpoint whose size is automatic cannot be rebuilt. */
static int build(struct lj_pretrained *p)
{
    p->size = p->config.views_global_size;
    LJ_TRY(lj_model_resolve(&p->config, p->size));
    LJ_TRY(lj_model_create(&p->model, &p->config, p->channels, (int64_t)64 << 20));
    p->weights = lj_alloc_array(p->model->params.elements, sizeof(float), "weights");
    return p->weights ? LJ_OK : LJ_ERR_RESOURCE;
}

_Static_assert(sizeof((struct lj_pretrained *)0)->file == LJ_PATH_MAX, "room for any path");

/* Sets p->averaged by what the user wants and the file has. */
static int choose_weights(struct lj_pretrained *p, const char *wanted)
{
    bool average = strcmp(wanted, "average") == 0, last = strcmp(wanted, "last") == 0;
    if (wanted[0] && !average && !last)
        return lj_fail(LJ_ERR_CONFIG, "weights=%s: expected average or last", wanted);
    if (average && !p->averaged)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "weights=average: %s has no average of the weights; train with "
                       "train.average=0.999, or leave weights= out",
                       p->file);
    p->averaged = p->averaged && !last;
    return LJ_OK;
}

static int fill(struct lj_pretrained *p, struct lj_comm *comm, bool untrained)
{
    struct lj_checkpoint_arrays arrays = {.weights = p->averaged ? NULL : p->weights,
                                          .average = p->averaged ? p->weights : NULL};
    if (untrained)
        lj_params_init(&p->model->params, p->config.seed, 0, p->model->params.elements, p->weights);
    else if (lj_comm_is_root(comm))
        return lj_checkpoint_read(p->file, &p->model->params, &arrays);
    return LJ_OK;
}

int lj_pretrained_load(struct lj_pretrained *p, struct lj_comm *comm, const char *path,
                       const char *weights, bool untrained)
{
    memset(p, 0, sizeof *p);
    int status = LJ_OK;
    if (lj_comm_is_root(comm)) {
        status = lj_checkpoint_resolve(path, p->file);
        if (status == LJ_OK)
            status = read_header(p, p->file);
        if (status == LJ_OK)
            status = choose_weights(p, weights);
        p->averaged = p->averaged && !untrained;
        if (status == LJ_OK && p->averaged)
            lj_say("%s: its running average of the weights, not the last ones", p->file);
    }
    LJ_TRY(lj_agree(comm, status));
    lj_broadcast(comm, p, sizeof *p, 0);
    status = lj_agree(comm, build(p));
    if (status == LJ_OK)
        status = lj_agree(comm, fill(p, comm, untrained));
    if (status == LJ_OK)
        lj_broadcast(comm, p->weights, p->model->params.elements * (int64_t)sizeof(float), 0);
    else
        lj_pretrained_free(p);
    return status;
}

void lj_pretrained_free(struct lj_pretrained *p)
{
    lj_model_destroy(p->model);
    lj_free(p->weights);
    p->model = NULL;
    p->weights = NULL;
}
