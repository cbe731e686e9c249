/* SPDX-License-Identifier: Apache-2.0 */
/* Views: purity, distributions, which operations apply where, and the evaluation view. */
#include "data/views/view_plan.h"
#include "image_golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const float zeros[LJ_CHANNELS_MAX];
static float ones[LJ_CHANNELS_MAX];
static struct lj_config config;

static void set_defaults(void)
{
    lj_config_defaults(&config);
    for (int c = 0; c < LJ_CHANNELS_MAX; c++)
        ones[c] = 1.0f;
}

TestSuite(views, .init = set_defaults);

static struct lj_view_recipe recipe_for(int channels, int64_t height, int64_t width, int64_t size,
                                        bool local)
{
    struct lj_archive_info info = {
        .channels = channels, .height = height, .width = width, .type = "u8"};
    struct lj_view_recipe recipe;
    cr_assert(lj_view_recipe(&recipe, &config, &info, local, size, zeros, ones) == LJ_OK, "%s",
              lj_error_text());
    return recipe;
}

/* Nothing random but the crop, which is the whole image. */
static void plain(struct lj_view_recipe *r)
{
    r->scale[0] = r->scale[1] = 1.0;
    r->ratio[0] = r->ratio[1] = (double)r->width / (double)r->height;
    r->flip = r->jitter = r->grey = r->solarize = r->blur = 0.0;
}

static float *random_image(int64_t count)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 2, LJ_DRAW_TEST, 0, 0, 0);
    float *image = malloc((size_t)count * sizeof *image);
    for (int64_t i = 0; i < count; i++)
        image[i] = (float)lj_rng_uniform(&rng);
    return image;
}

/* The view, from scratch of the stated size with a guard behind it. */
static float *view_of(const struct lj_view_recipe *r, const float *image, int64_t seed,
                      struct lj_draw draw, int64_t number)
{
    int64_t need = lj_view_scratch(r), count = r->channels * r->size * r->size;
    float *scratch = malloc((size_t)(need + 1) * sizeof *scratch);
    float *view = malloc((size_t)(count + 1) * sizeof *view);
    memset(scratch, 0xff, (size_t)need * sizeof *scratch); /* NaN: nothing may be assumed */
    scratch[need] = view[count] = 17.0f;
    const struct lj_view_source source = lj_view_source(r, image);
    struct lj_view_plan plan;
    lj_view_draw(&plan, r, &source, seed, &draw, number);
    int64_t redraws = lj_view_make(r, &source, seed, &draw, number, view, scratch);
    cr_assert_eq(redraws, plan.redraws);
    cr_assert(scratch[need] == 17.0f && view[count] == 17.0f, "wrote beyond an array");
    free(scratch);
    return view;
}

static struct lj_view_plan plan_of(const struct lj_view_recipe *r, int64_t number)
{
    struct lj_view_plan plan;
    struct lj_rng rng;
    lj_rng_begin(&rng, 3, LJ_DRAW_VIEW, 0, 0, (uint64_t)number);
    lj_view_plan(&plan, r, &rng);
    return plan;
}

Test(views, recipe_refuses_reversed_pairs_and_empty_views)
{
    struct lj_archive_info info = {.channels = 3, .height = 8, .width = 8, .type = "u8"};
    struct lj_view_recipe r;
    cr_expect(lj_view_recipe(&r, &config, &info, true, 0, zeros, ones) == LJ_ERR_CONFIG);
    cr_expect(strstr(lj_error_text(), "views.local_size") != NULL);
    config.views_blur_kernel = 6;
    cr_expect(lj_view_recipe(&r, &config, &info, true, 8, zeros, ones) == LJ_ERR_CONFIG);
    config.views_blur_kernel = 0;
    double *pairs[] = {config.views_local_scale, config.views_ratio, config.views_blur_sigma};
    const char *names[] = {"views.local_scale", "views.ratio", "views.blur_sigma"};
    for (int i = 0; i < 3; i++) {
        double low = pairs[i][0];
        pairs[i][0] = pairs[i][1] + 0.1;
        cr_expect(lj_view_recipe(&r, &config, &info, true, 8, zeros, ones) == LJ_ERR_CONFIG);
        cr_expect(strstr(lj_error_text(), names[i]) != NULL);
        pairs[i][0] = low;
    }
}

Test(views, blur_sigma_scales_with_the_view_unless_a_kernel_is_given)
{
    struct lj_view_recipe r = recipe_for(3, 64, 64, 112, false);
    cr_expect(fabs(r.blur_sigma[0] - 0.05) < 1e-12 && fabs(r.blur_sigma[1] - 1.0) < 1e-12);
    config.views_blur_kernel = 7;
    r = recipe_for(3, 64, 64, 112, false);
    cr_expect(r.blur_sigma[0] == 0.1 && r.blur_sigma[1] == 2.0);
    cr_expect(plan_of(&r, 0).radius == 3);
    r.size = 2; /* reflection needs a radius below the size */
    cr_expect(plan_of(&r, 0).radius == 1);
    config.views_blur_kernel = 0;
}

Test(views, a_view_is_a_pure_function_of_its_names)
{
    struct lj_view_recipe r = recipe_for(3, 40, 30, 24, false);
    r.noise = 0.5;
    float *image = random_image(3 * 40 * 30);
    struct lj_draw draw = {4, 77};
    float *first = view_of(&r, image, 9, draw, 1), *again = view_of(&r, image, 9, draw, 1);
    cr_expect(memcmp(first, again, 3 * 24 * 24 * sizeof *first) == 0);
    float *others[] = {view_of(&r, image, 8, draw, 1), view_of(&r, image, 9, draw, 2),
                       view_of(&r, image, 9, (struct lj_draw){5, 77}, 1),
                       view_of(&r, image, 9, (struct lj_draw){4, 78}, 1)};
    for (int i = 0; i < 4; i++) {
        cr_expect(largest_difference(first, others[i], 3 * 24 * 24) > 0.01, "name %d", i);
        free(others[i]);
    }
    free(first);
    free(again);
    free(image);
}

/* Where all but the crop is off, the view is the box that lj_view_draw says, resized. */
Test(views, what_is_drawn_can_be_asked_for)
{
    struct lj_view_recipe r = recipe_for(2, 40, 30, 24, true);
    float *image = random_image(2 * 40 * 30), wanted[2 * 24 * 24];
    float *scratch = malloc((size_t)lj_view_scratch(&r) * sizeof *scratch);
    const struct lj_view_source source = lj_view_source(&r, image);
    plain(&r);
    r.scale[0] = 0.05, r.scale[1] = 0.5, r.ratio[0] = 0.5;
    for (int k = 0; k < 10; k++) {
        struct lj_draw draw = {k, 7};
        struct lj_view_plan plan;
        lj_view_draw(&plan, &r, &source, 9, &draw, k);
        lj_image_resize(wanted, image, 2, 40, 30, plan.crop.top, plan.crop.left, plan.crop.height,
                        plan.crop.width, 24, 24, scratch);
        float *view = view_of(&r, image, 9, draw, k);
        cr_expect(largest_difference(view, wanted, 2 * 24 * 24) < 1e-6, "view %d", k);
        free(view);
    }
    free(scratch);
    free(image);
}

/* One bright pixel on nothing: crops without it are drawn again, the others stay what they are. */
Test(views, a_crop_that_sees_nothing_is_drawn_again)
{
    struct lj_view_recipe r = recipe_for(2, 40, 40, 16, true), with = r;
    float *image = calloc(2 * 40 * 40, sizeof *image);
    image[40 * 40 + 20 * 40 + 25] = 1.0f;
    int blind = 0, still = 0, most = 0;
    with.redraw = 20;
    const struct lj_view_source unread = lj_view_source(&r, NULL);
    const struct lj_view_source source = lj_view_source(&with, image);
    for (int k = 0; k < 500; k++) {
        struct lj_view_plan plain, plan;
        lj_view_draw(&plain, &r, &unread, 9, &(struct lj_draw){1, k}, 3);
        lj_view_draw(&plan, &with, &source, 9, &(struct lj_draw){1, k}, 3);
        const struct lj_image_box *a = &plain.crop, *b = &plan.crop;
        bool saw =
            a->top <= 20 && 20 < a->top + a->height && a->left <= 25 && 25 < a->left + a->width;
        bool sees =
            b->top <= 20 && 20 < b->top + b->height && b->left <= 25 && 25 < b->left + b->width;
        blind += !saw;
        still += !sees;
        most = plan.redraws > most ? (int)plan.redraws : most;
        cr_assert((plan.redraws == 0) == saw, "view %d", k);
        cr_assert(!saw || memcmp(&plain, &plan, sizeof plan) == 0, "view %d", k);
        cr_assert(sees || plan.redraws == 20, "view %d gave up after %d", k, (int)plan.redraws);
    }
    cr_expect(blind > 250 && still < 25 && most > 5, "%d, %d, %d", blind, still, most);
    struct lj_draw draw = {1, 7}; /* the view is that of the plan */
    struct lj_view_plan plan;
    plain(&with);
    with.scale[0] = 0.05, with.scale[1] = 0.3;
    lj_view_draw(&plan, &with, &source, 9, &draw, 3);
    float wanted[2 * 16 * 16], *scratch = malloc((size_t)lj_view_scratch(&with) * sizeof *scratch);
    lj_image_resize(wanted, image, 2, 40, 40, plan.crop.top, plan.crop.left, plan.crop.height,
                    plan.crop.width, 16, 16, scratch);
    float *view = view_of(&with, image, 9, draw, 3);
    cr_expect(largest_difference(view, wanted, 2 * 16 * 16) < 1e-6);
    free(view);
    free(scratch);
    free(image);
}

/* A rotated crop is judged by what its view shows, not by the box before rotation. */
Test(views, a_rotated_crop_that_is_kept_shows_the_object)
{
    struct lj_view_recipe r = recipe_for(1, 40, 40, 16, false);
    plain(&r);
    r.scale[0] = 0.05, r.scale[1] = 0.3;
    r.rotate_any = 1;
    r.redraw = 50;
    float *image = calloc(40 * 40, sizeof *image);
    for (int y = 18; y < 21; y++)
        for (int x = 24; x < 27; x++)
            image[y * 40 + x] = 1.0f;
    const struct lj_view_source source = lj_view_source(&r, image);
    int kept = 0;
    for (int k = 0; k < 400; k++) {
        struct lj_draw draw = {1, k};
        struct lj_view_plan plan;
        lj_view_draw(&plan, &r, &source, 9, &draw, 3);
        float *view = view_of(&r, image, 9, draw, 3), most = 0;
        for (int i = 0; i < 16 * 16; i++)
            most = view[i] > most ? view[i] : most;
        cr_expect(most > 0.05f || plan.redraws == 50, "view %d at %g degrees shows %g", k,
                  plan.degrees, (double)most);
        kept += plan.redraws < 50;
        free(view);
    }
    cr_expect(kept > 380, "%d", kept);
    free(image);
}

/* Angles are uniform; where there are none, nothing else is drawn differently. */
Test(views, a_rotation_by_any_angle_comes_after_all_other_draws)
{
    struct lj_view_recipe r = recipe_for(3, 40, 30, 24, false), with = r;
    int n = 5000, turned = 0;
    double mean = 0;
    with.rotate_any = 0.3;
    for (int k = 0; k < n; k++) {
        struct lj_view_plan plan = plan_of(&r, k), other = plan_of(&with, k);
        cr_assert(plan.degrees == 0 && other.degrees >= 0 && other.degrees < 360);
        turned += other.degrees != 0;
        mean += other.degrees;
        other.degrees = 0;
        cr_assert(memcmp(&plan, &other, sizeof plan) == 0, "view %d", k);
    }
    cr_expect(fabs((double)turned / n - 0.3) < 2.5 / sqrt(n));
    cr_expect(fabs(mean / turned - 180) < 5 * 360 / sqrt(12.0 * turned), "%g", mean / turned);
}

/* Area and log ratio are uniform: their means over many crops; the box is rounded to pixels. */
Test(views, crops_stay_in_the_ranges_of_the_recipe)
{
    struct lj_view_recipe r = recipe_for(3, 500, 500, 96, true);
    double area = 0.0, logratio = 0.0, left = 0.0;
    int n = 20000;
    for (int k = 0; k < n; k++) {
        struct lj_image_box box = plan_of(&r, k).crop;
        double share = (double)(box.height * box.width) / 250000.0;
        double ratio = (double)box.width / (double)box.height;
        cr_assert(share > 0.049 && share < 0.302, "area %g", share);
        cr_assert(ratio > 0.74 && ratio < 1.35, "ratio %g", ratio);
        cr_assert(box.top >= 0 && box.left >= 0 && box.top + box.height <= 500 &&
                  box.left + box.width <= 500);
        area += share / n;
        logratio += log(ratio) / n;
        left += (double)box.left / (double)(500 - box.width) / n;
    }
    /* five standard errors: (0.25, 0.575, 1) / sqrt(12 n) */
    cr_expect(fabs(area - 0.175) < 5 * 0.25 / sqrt(12.0 * n), "mean area %g", area);
    cr_expect(fabs(logratio) < 5 * 0.576 / sqrt(12.0 * n), "mean log ratio %g", logratio);
    cr_expect(fabs(left - 0.5) < 5 / sqrt(12.0 * n), "mean position %g", left);
}

Test(views, a_box_that_never_fits_falls_back_to_the_centre)
{
    struct lj_view_recipe r = recipe_for(1, 10, 100, 8, false);
    r.scale[0] = 1.0;
    struct lj_image_box box = plan_of(&r, 0).crop;
    cr_expect(box.height == 10 && box.width == 13 && box.top == 0 && box.left == 43);
    r = recipe_for(1, 100, 10, 8, false);
    r.scale[0] = 1.0;
    box = plan_of(&r, 0).crop;
    cr_expect(box.height == 13 && box.width == 10 && box.top == 43 && box.left == 0);
}

Test(views, decisions_have_the_probabilities_of_the_recipe)
{
    struct lj_view_recipe r = recipe_for(3, 32, 32, 32, false);
    r.rotate = 0.4;
    int n = 20000, jitter = 0, grey = 0, solarize = 0, blur = 0, flip = 0, turned = 0, one = 0;
    int first[LJ_JITTERS] = {0};
    for (int k = 0; k < n; k++) {
        struct lj_view_plan plan = plan_of(&r, k);
        jitter += plan.jitter;
        grey += plan.grey;
        solarize += plan.solarize;
        blur += plan.blur;
        flip += plan.flip_x;
        turned += plan.quarters != 0;
        one += plan.quarters == 1;
        first[plan.order[0]]++;
        cr_assert(!plan.flip_y);
        cr_assert(plan.factor[LJ_BRIGHTNESS] >= 0.6f && plan.factor[LJ_BRIGHTNESS] <= 1.4f);
        cr_assert(plan.factor[LJ_SATURATION] >= 0.8f && plan.factor[LJ_SATURATION] <= 1.2f);
        cr_assert(fabsf(plan.factor[LJ_HUE]) <= 0.1f);
    }
    struct {
        int count;
        double expected;
    } rows[] = {{jitter, 0.8},    {grey, 0.2},     {solarize, 0.2}, {blur, 0.5},
                {flip, 0.5},      {turned, 0.4},   {one, 0.4 / 3},  {first[0], 0.25},
                {first[1], 0.25}, {first[3], 0.25}};
    for (int i = 0; i < 10; i++)
        cr_expect(fabs((double)rows[i].count / n - rows[i].expected) < 2.5 / sqrt(n), "row %d: %g",
                  i, (double)rows[i].count / n);
}

Test(views, the_order_of_jitter_is_a_permutation)
{
    struct lj_view_recipe r = recipe_for(3, 32, 32, 32, false);
    for (int k = 0; k < 100; k++) {
        struct lj_view_plan plan = plan_of(&r, k);
        int seen = 0;
        for (int i = 0; i < LJ_JITTERS; i++)
            seen |= 1 << plan.order[i];
        cr_assert(seen == 15);
    }
}

Test(views, colour_operations_need_three_channels_in_0_to_1)
{
    int channels[] = {1, 3, 10};
    for (int i = 0; i < 3; i++)
        cr_expect(recipe_for(channels[i], 16, 16, 16, false).colour == (channels[i] == 3));
    config.data_stretch = LJ_DATA_STRETCH_ASINH;
    cr_expect(!recipe_for(3, 16, 16, 16, false).colour);
    config.data_stretch = LJ_DATA_STRETCH_PERCENTILE;
    cr_expect(recipe_for(3, 16, 16, 16, false).colour);
    config.data_stretch = LJ_DATA_STRETCH_NONE;
    struct lj_archive_info info = {.channels = 3, .height = 16, .width = 16, .type = "u16"};
    struct lj_view_recipe wide;
    for (int given = 0; given < 2; given++) {
        config.data_full_scale = given ? 65535 : 0;
        cr_assert_eq(lj_view_recipe(&wide, &config, &info, false, 16, zeros, ones), LJ_OK);
        cr_expect(wide.colour == (given == 1));
    }
    config.data_full_scale = 0;
    for (int i = 0; i < 3; i += 2) { /* 1 and 10 channels: the plain view comes out */
        struct lj_view_recipe r = recipe_for(channels[i], 16, 16, 16, false);
        plain(&r);
        r.jitter = r.grey = r.solarize = 1.0;
        float *image = random_image(10 * 16 * 16);
        float *view = view_of(&r, image, 1, (struct lj_draw){0, 0}, 0);
        cr_expect(largest_difference(view, image, channels[i] * 16 * 16) == 0.0);
        free(view);
        free(image);
    }
}

/* The settings that are on, whether they were given, and what would help: for each reason. */
Test(views, settings_without_effect_are_named)
{
    const struct {
        int channels;
        const char *type, *stretch, *says; /* says NULL: nothing */
    } cases[] = {{3, "u8", "none", NULL},
                 {3, "f32", "percentile", NULL},
                 {1, "u8", "none", "1 channel;"},
                 {5, "f32", "percentile", "5 channels;"},
                 {3, "u16", "none", "these are u16; data.full_scale"},
                 {3, "u8", "asinh", "data.stretch=asinh gives others"}};
    char text[512];
    cr_assert_eq(lj_config_set(&config, "views.grey", "0.1"), LJ_OK);
    cr_assert_eq(lj_config_set(&config, "views.solarize", "0"), LJ_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lj_archive_info info = {.channels = cases[i].channels, .type = cases[i].type};
        cr_assert_eq(lj_config_set(&config, "data.stretch", cases[i].stretch), LJ_OK);
        lj_view_without_effect(&config, &info, text, sizeof text);
        if (!cases[i].says) {
            cr_expect_str_eq(text, "");
            continue;
        }
        cr_expect(strstr(text, "views.jitter=0.8 (default), views.grey=0.1 (given): no effect"),
                  "%s", text);
        cr_expect(strstr(text, cases[i].says) && strstr(text, "views.intensity"), "%s", text);
        cr_expect(!strstr(text, "views.solarize"), "%s", text);
    }
    cr_assert_eq(lj_config_set(&config, "views.grey", "0"), LJ_OK);
    cr_assert_eq(lj_config_set(&config, "views.jitter", "0"), LJ_OK);
    lj_view_without_effect(&config, &(struct lj_archive_info){.channels = 1, .type = "u8"}, text,
                           sizeof text);
    cr_expect_str_eq(text, "");
}

Test(views, small_and_odd_sizes_give_finite_views)
{
    int64_t sizes[][4] = {{1, 1, 1, 1},  {3, 1, 1, 5},    {3, 2, 7, 1}, {1, 28, 28, 28},
                          {10, 9, 5, 8}, {3, 17, 40, 64}, {64, 3, 3, 2}};
    for (int i = 0; i < 7; i++) {
        struct lj_view_recipe r =
            recipe_for((int)sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3], i % 2);
        r.rotate_any = r.flip_vertical = r.rotate = r.blur = r.noise = r.intensity =
            r.band_dropout = 0.5;
        float *image = random_image(sizes[i][0] * sizes[i][1] * sizes[i][2]);
        for (int k = 0; k < 50; k++) {
            float *view = view_of(&r, image, 1, (struct lj_draw){0, 0}, k);
            for (int64_t p = 0; p < sizes[i][0] * sizes[i][3] * sizes[i][3]; p++)
                cr_assert(fabsf(view[p]) < 10.0f, "case %d, view %d", i, k);
            free(view);
        }
        free(image);
    }
}

Test(views, intensity_noise_and_dropout_are_in_units_of_the_deviation)
{
    struct lj_view_recipe r = recipe_for(2, 32, 32, 32, false);
    float mean[2] = {0.5f, 10.0f}, std[2] = {0.25f, 100.0f};
    plain(&r);
    r.mean = mean;
    r.std = std;
    float *image = random_image(2 * 32 * 32);
    for (int i = 0; i < 1024; i++)
        image[i] = 0.5f, image[1024 + i] = 110.0f; /* z = 0 and 1 */
    r.intensity = 1.0;
    struct lj_view_plan plan = plan_of(&r, 0);
    float *view = view_of(&r, image, 3, (struct lj_draw){0, 0}, 0);
    cr_expect(fabsf(view[0] - plan.shift[0]) < 1e-6f && fabsf(plan.shift[0]) <= 0.2f);
    cr_expect(fabsf(view[1024] - plan.gain[1] - plan.shift[1]) < 1e-6f && plan.gain[1] != 1.0f);
    free(view);

    r.intensity = 0.0;
    r.noise = 1.0;
    plan = plan_of(&r, 0);
    view = view_of(&r, image, 3, (struct lj_draw){0, 0}, 0);
    double square = 0.0;
    for (int i = 0; i < 1024; i++)
        square += (double)((view[i + 1024] - 1.0f) * (view[i + 1024] - 1.0f)) / 1024;
    cr_expect(plan.noise > 0.0 && fabs(sqrt(square) / plan.noise - 1.0) < 0.1);
    double neighbours = 0.0; /* the two values of a draw are independent */
    for (int i = 1024; i < 2048; i += 2)
        neighbours += (double)((view[i] - 1.0f) * (view[i + 1] - 1.0f)) / 512 / square;
    cr_expect(fabs(neighbours) < 5 / sqrt(512));
    free(view);

    r.noise = 0.0;
    r.band_dropout = 1.0; /* never all of them */
    view = view_of(&r, image, 3, (struct lj_draw){0, 0}, 0);
    cr_expect(plan_of(&r, 0).dropped[0] != plan_of(&r, 0).dropped[1]);
    cr_expect(view[1024] == (plan_of(&r, 0).dropped[1] ? 0.0f : 1.0f));
    free(view);
    free(image);
}

Test(views, flips_act_on_the_view)
{
    struct lj_view_recipe r = recipe_for(1, 3, 3, 3, false);
    plain(&r);
    r.flip = 1.0;
    float image[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, x[9] = {3, 2, 1, 6, 5, 4, 9, 8, 7};
    float xy[9] = {9, 8, 7, 6, 5, 4, 3, 2, 1};
    float *view = view_of(&r, image, 1, (struct lj_draw){0, 0}, 0);
    cr_expect(largest_difference(view, x, 9) < 1e-6);
    free(view);
    r.flip_vertical = 1.0;
    view = view_of(&r, image, 1, (struct lj_draw){0, 0}, 0);
    cr_expect(largest_difference(view, xy, 9) < 1e-6);
    free(view);
}

Test(views, normalisation_comes_last_and_a_constant_channel_gives_zero)
{
    struct lj_view_recipe r = recipe_for(3, 1, 1, 1, false);
    float mean[3] = {0.5f, 0.25f, 0.75f}, std[3] = {0.5f, 0.125f, 0.0f};
    plain(&r);
    r.mean = mean;
    r.std = std;
    float image[3] = {1.0f, 0.5f, 0.75f}, expected[3] = {1.0f, 2.0f, 0.0f};
    float *view = view_of(&r, image, 1, (struct lj_draw){0, 0}, 0);
    cr_expect(largest_difference(view, expected, 3) < 1e-6);
    free(view);
    r.solarize = 1.0; /* before normalisation: 1 becomes 0, 0.5 stays, 0.75 becomes 0.25 */
    float solarized[3] = {-1.0f, 2.0f, -0.5f};
    view = view_of(&r, image, 1, (struct lj_draw){0, 0}, 0);
    cr_expect(largest_difference(view, solarized, 3) < 1e-6);
    free(view);
}

Test(views, the_evaluation_view_equals_torchvision)
{
    struct image_case c;
    int k = 0;
    for (; image_case_read(&c, "centre", k); k++) {
        struct lj_view_recipe r =
            recipe_for(c.channels, c.height, c.width, (int64_t)c.args[0], false);
        int64_t count = c.channels * r.size * r.size;
        float *view = malloc((size_t)count * sizeof *view);
        float *scratch = malloc((size_t)lj_view_scratch(&r) * sizeof *scratch);
        lj_view_centre(&r, c.image, view, scratch);
        double worst = largest_difference(view, c.expected, count);
        cr_expect(worst < 1e-5, "case %d: %g", k, worst);
        free(view);
        free(scratch);
        image_case_free(&c);
    }
    cr_assert(k == 7);
}
