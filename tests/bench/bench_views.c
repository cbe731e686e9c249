/* SPDX-License-Identifier: Apache-2.0 */
/* Making views by the whole recipe, 2 global and 6 local ones from an RGB image of 128 pixels, on
 * one thread, and views that are rotated by any angle; against the same number of views that are
 * only cropped, resized and normalised. */
#include "bench.h"

#include "data/data.h"

#include <stdio.h>

struct views_case {
    struct lj_view_recipe recipe[2]; /* global, local */
    int views[2];
    struct lj_draw draw;
    float *image, *view, *scratch;
};

static void make_views(void *data)
{
    struct views_case *c = data;
    const struct lj_view_source source = lj_view_source(&c->recipe[0], c->image);
    int number = 0;
    c->draw.index++; /* so that every image has other draws */
    for (int local = 0; local < 2; local++)
        for (int v = 0; v < c->views[local]; v++)
            lj_view_make(&c->recipe[local], &source, 1, &c->draw, number++, c->view, c->scratch);
}

static void plan_views(struct views_case *c, const struct lj_config *config, int64_t size)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    struct lj_archive_info info = {.channels = 3,
                                   .stored_height = size,
                                   .stored_width = size,
                                   .height = size,
                                   .width = size,
                                   .type = "u8",
                                   .axes = "nhwc"};
    int64_t local_size = size * 7 / 16; /* 56 of 128 */
    c->views[0] = 2;
    c->views[1] = 6;
    bench_expect(lj_view_recipe(&c->recipe[0], config, &info, false, size, mean, std));
    bench_expect(lj_view_recipe(&c->recipe[1], config, &info, true, local_size, mean, std));
    c->image = lj_alloc_array(3 * size * size, sizeof(float), "bench");
    c->view = lj_alloc_array(3 * size * size, sizeof(float), "bench");
    c->scratch =
        lj_alloc_array(lj_max_i64(lj_view_scratch(&c->recipe[0]), lj_view_scratch(&c->recipe[1])),
                       sizeof(float), "bench");
    bench_fill(c->image, 3 * size * size);
    for (int64_t i = 0; i < 3 * size * size; i++)
        c->image[i] = 0.5f + 0.5f * c->image[i];
}

/* Views a second. */
static struct bench_result measure(const struct lj_config *config, int64_t size)
{
    static struct bench_sample sample;
    struct views_case c = {0};
    plan_views(&c, config, size);
    bench_run(&sample, 4, make_views, &c);
    lj_free(c.image);
    lj_free(c.view);
    lj_free(c.scratch);
    return bench_rate(&sample, c.views[0] + c.views[1]);
}

int main(void)
{
    static struct lj_config recipe, crops;
    int64_t size = bench_size(128, 32);
    char shape[64];
    lj_config_defaults(&recipe);
    lj_config_defaults(&crops);
    static const char *const off[] = {"views.flip=0", "views.jitter=0", "views.grey=0",
                                      "views.blur=0", "views.solarize=0"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        bench_expect(lj_config_assign(&crops, off[i]));
    snprintf(shape, sizeof shape, "2x%lld+6x%lld from %lld px RGB", (long long)size,
             (long long)(size * 7 / 16), (long long)size);
    struct bench_line line = {.name = "views",
                              .shape = shape,
                              .unit = "views/s",
                              .reference = measure(&crops, size).median,
                              .against = "crop, resize and normalise alone"};
    bench_print(&line, measure(&recipe, size));
    bench_expect(lj_config_assign(&crops, "views.rotate_any=1"));
    line.name = "views_rotated";
    bench_print(&line, measure(&crops, size));
    return 0;
}
