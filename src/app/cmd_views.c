/* SPDX-License-Identifier: Apache-2.0 */
/* views: what training is fed. The samples of a step, by the loader, and their views, by the
 * recipes of training, as a picture; beside it, as JSON, what was drawn for each. */
#include "app/app.h"
#include "app/sheet.h"
#include "app/views.h"

#include "lejepa/runtime.h"

#include "models/models.h"
#include "run/run.h"
#include "store/store.h"
#include "train/train.h"

#include <string.h>

struct show {
    const struct lj_config *config; /* resolved */
    struct lj_archive *archive;
    struct lj_view_recipe recipe[2]; /* global, local */
    const float *mean, *std;         /* (channels) */
    int64_t lanes, shown_lanes;      /* of the batch; the first so many are shown */
    int64_t rows;
    struct lj_loader *loader;
    struct lj_batch batch;
    struct lj_sheet sheet;
    const float **images; /* (rows) of the batch */
    float *view, *scratch;
    int64_t redraws; /* of the views that are shown */
    json_t *list;    /* of rows */
};

/* The sample of a row: lanes take turns, because each reads another part of the archive. */
static int64_t sample_of(const struct show *s, int64_t row)
{
    return row % s->shown_lanes * s->batch.n + row / s->shown_lanes;
}

/* As the trainer does it. */
static int make_recipes(struct show *s, struct lj_config *config)
{
    const struct lj_archive_info *info = lj_archive_info(s->archive);
    LJ_TRY(lj_model_resolve(config, lj_min_i64(info->height, info->width)));
    LJ_TRY(lj_view_recipe(&s->recipe[0], config, info, false, config->views_global_size, s->mean,
                          s->std));
    LJ_TRY(lj_view_recipe(&s->recipe[1], config, info, true, config->views_local_size, s->mean,
                          s->std));
    LJ_TRY(lj_trainer_lanes(config, 1, &s->lanes));
    s->rows = lj_min_i64(config->arg_rows, config->batch_size);
    s->shown_lanes = lj_min_i64(s->lanes, s->rows);
    return lj_sheet_choose(&s->sheet, config->arg_channels, info->channels);
}

static int load(struct show *s)
{
    const struct lj_config *c = s->config;
    int64_t pixels = s->recipe[0].channels * s->recipe[0].height * s->recipe[0].width;
    LJ_TRY(lj_loader_create(&s->loader, s->archive, c, s->lanes, 0, s->shown_lanes,
                            c->batch_size / s->lanes, c->arg_step));
    LJ_TRY(lj_loader_next(s->loader, c->arg_step, &s->batch));
    s->images = lj_alloc_array(s->rows, sizeof *s->images, "views");
    if (!s->images)
        return LJ_ERR_RESOURCE;
    for (int64_t row = 0; row < s->rows; row++)
        s->images[row] = s->batch.images + sample_of(s, row) * pixels;
    return lj_sheet_range(&s->sheet, &s->recipe[0], s->images, s->rows);
}

static int allocate(struct show *s)
{
    const struct lj_view_recipe *r = s->recipe;
    const int64_t views[2] = {s->config->views_global, s->config->views_local};
    const int64_t sizes[2] = {r[0].size, r[1].size};
    int64_t size = lj_max_i64(r[0].size, r[1].size);
    int64_t need = lj_max_i64(lj_view_scratch(&r[0]), lj_view_scratch(&r[1]));
    s->view = lj_alloc_array(r[0].channels * size * size, sizeof *s->view, "views");
    s->scratch = lj_alloc_array(need, sizeof *s->scratch, "views");
    s->list = json_array();
    if (!s->view || !s->scratch)
        return LJ_ERR_RESOURCE;
    return lj_sheet_create(&s->sheet, s->rows, views, sizes);
}

/* Draws and notes one sample. */
static int show_row(struct show *s, int64_t row)
{
    const struct lj_config *c = s->config;
    const struct lj_draw *draw = &s->batch.draws[sample_of(s, row)];
    int64_t place = lj_archive_row(s->archive, draw->index);
    char name[1024];
    json_t *views = json_array();
    const struct lj_view_source source = lj_view_source(&s->recipe[0], s->images[row]);
    lj_archive_name_row(s->archive, place, name, sizeof name);
    int status = lj_sheet_image(&s->sheet, row, &s->recipe[0], s->images[row]);
    for (int64_t v = 0; status == LJ_OK && v < c->views_global + c->views_local; v++) {
        bool local = v >= c->views_global;
        const struct lj_view_recipe *recipe = &s->recipe[local];
        struct lj_view_plan plan;
        lj_view_make(recipe, &source, c->seed, draw, v, s->view, s->scratch);
        lj_view_draw(&plan, recipe, &source, c->seed, draw, v);
        lj_sheet_view(&s->sheet, row, v, recipe, &plan, s->view);
        s->redraws += plan.redraws;
        json_array_append_new(views, lj_view_json(recipe, &plan, local));
    }
    json_t *entry =
        json_pack("{s:s, s:I, s:I, s:I, s:o}", "sample", name, "row", (json_int_t)place, "index",
                  (json_int_t)draw->index, "epoch", (json_int_t)draw->epoch, "views", views);
    if (lj_archive_info(s->archive)->has_labels)
        json_object_set_new(entry, "label",
                            json_integer(lj_archive_label(s->archive, draw->index)));
    if (json_array_append_new(s->list, entry) != 0)
        return lj_fail(LJ_ERR_DATA,
                       "views: a sample of row %lld cannot be named in JSON: memory is "
                       "short, or its file's name is no UTF-8",
                       (long long)place);
    return status;
}

static json_t *range_json(const struct show *s)
{
    json_t *list = json_array();
    for (int c = 0; c < s->recipe[0].channels; c++)
        json_array_append_new(
            list, json_pack("[f, f]", (double)s->sheet.low[c], (double)s->sheet.high[c]));
    return list;
}

static bool is_png(const char *path)
{
    return strlen(path) > strlen(".png") && lj_ends_with(path, ".png");
}

/* views.json beside views.png. */
static int json_path(char path[LJ_PATH_MAX], const char *picture)
{
    int length = (int)strlen(picture) - 4;
    if (snprintf(path, LJ_PATH_MAX, "%.*s.json", length, picture) < LJ_PATH_MAX)
        return LJ_OK;
    return lj_fail(LJ_ERR_RESOURCE, "%s: path longer than %d bytes; choose a shorter one", picture,
                   LJ_PATH_MAX - 6);
}

static int write_all(const struct show *s)
{
    const struct lj_config *c = s->config;
    char beside[LJ_PATH_MAX];
    LJ_TRY(json_path(beside, c->arg_out));
    LJ_TRY(lj_png_write(c->arg_out, s->sheet.width, s->sheet.height, s->sheet.rgb));
    json_t *all = json_pack("{s:s, s:I, s:I, s:i, s:o, s:O}", "archive", c->data_archive, "seed",
                            (json_int_t)c->seed, "step", (json_int_t)c->arg_step, "channels",
                            s->recipe[0].channels, "shown_range", range_json(s), "rows", s->list);
    int status = lj_json_write(beside, all, 9);
    json_decref(all);
    LJ_TRY(status);
    lj_say("%s: %lld samples of step %lld: each as it was read, then %lld global and %lld local "
           "views; what was drawn is in %s",
           c->arg_out, (long long)s->rows, (long long)c->arg_step, (long long)c->views_global,
           (long long)c->views_local, beside);
    if (c->views_redraw > 0)
        lj_say(
            "views.redraw=%lld: of these %lld views crops that see nothing were drawn again %lld "
            "times",
            (long long)c->views_redraw, (long long)(s->rows * (c->views_global + c->views_local)),
            (long long)s->redraws);
    return LJ_OK;
}

static void say_without_effect(const struct show *s)
{
    char text[512];
    lj_view_without_effect(s->config, lj_archive_info(s->archive), text, sizeof text);
    if (text[0])
        lj_say("views: %s", text);
}

static int show(struct show *s, struct lj_config *config)
{
    LJ_TRY(make_recipes(s, config));
    say_without_effect(s);
    LJ_TRY(load(s));
    LJ_TRY(allocate(s));
    for (int64_t row = 0; row < s->rows; row++) {
        LJ_TRY(show_row(s, row));
        lj_progress();
    }
    return write_all(s);
}

static int show_alone(struct lj_archive *archive, struct lj_config *config, const float *mean,
                      const float *std)
{
    struct show *s = lj_alloc(sizeof *s, "views");
    if (!s)
        return LJ_ERR_RESOURCE;
    s->config = config;
    s->archive = archive;
    s->mean = mean;
    s->std = std;
    int status = show(s, config);
    lj_loader_destroy(s->loader);
    lj_sheet_destroy(&s->sheet);
    json_decref(s->list);
    lj_free(s->scratch);
    lj_free(s->view);
    lj_free(s->images);
    lj_free(s);
    return status;
}

int lj_command_views(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words)
{
    (void)words;
    struct lj_archive *archive = NULL;
    const char *isa = "";
    float mean[LJ_CHANNELS_MAX], std[LJ_CHANNELS_MAX];
    if (!config->arg_out[0])
        return lj_fail(LJ_ERR_CONFIG,
                       "views: out= is missing; give the picture to write, views.png");
    if (!is_png(config->arg_out))
        return lj_fail(LJ_ERR_CONFIG, "out=%s: the picture needs a name that ends in .png",
                       config->arg_out);
    LJ_TRY(lj_agree(comm, lj_use_example(config)));
    LJ_TRY(lj_runtime_agree(comm, &isa));
    struct lj_archive_options options = lj_archive_options_of(config);
    LJ_TRY(lj_agree(comm, lj_run_resolve_holdout(config)));
    LJ_TRY(lj_archive_open(&archive, comm, &options));
    int64_t held_out; /* as in training, which they are not part of */
    int status = lj_run_hold_out(archive, comm, config->eval_holdout, &held_out);
    if (status == LJ_OK)
        status = lj_archive_statistics(archive, comm, mean, std);
    if (status == LJ_OK) {
        lj_root_section_begin(comm);
        if (lj_comm_is_root(comm))
            status = show_alone(archive, config, mean, std);
        status = lj_root_section_end(comm, status);
    }
    lj_archive_close(archive);
    return status;
}
