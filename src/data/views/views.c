/* SPDX-License-Identifier: Apache-2.0 */
/* Views: from the configuration to a recipe, and from an image to a view. Order of operations:
 * crop, rotation by any angle and resize; colour jitter, greyscale, blur, solarize; flips and
 * quarter turns; then intensity, noise, band dropout and normalisation, for any number of channels.
 * These last four are done together, in units of the channel's standard deviation: with
 * z = (x - mean) / std,
 *   out = gain z + shift + noise, or 0 when the channel is dropped. */
#include "data/views/view_plan.h"

#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- recipe ------------------------------------------------------------------------------ */

static int check_pair(const char *key, const double pair[2])
{
    if (pair[0] <= pair[1])
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG, "%s is %g,%g: the first must not exceed the second", key, pair[0],
                   pair[1]);
}

static int check_recipe(const struct lj_view_recipe *r, const struct lj_config *config, bool local)
{
    LJ_TRY(check_pair(local ? "views.local_scale" : "views.global_scale", r->scale));
    LJ_TRY(check_pair("views.ratio", r->ratio));
    LJ_TRY(check_pair("views.blur_sigma", config->views_blur_sigma));
    if (r->size < 1)
        return lj_fail(LJ_ERR_CONFIG, "%s is %lld: a view has at least 1 pixel",
                       local ? "views.local_size" : "views.global_size", (long long)r->size);
    if (r->blur_kernel > 0 && r->blur_kernel % 2 == 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "views.blur_kernel is %lld: give an odd number of pixels or 0",
                       (long long)r->blur_kernel);
    return LJ_OK;
}

/* Are these three colours in 0..1? That is known of unsigned bytes and of any type with a full
 * scale, both without a stretch, and of any type after the percentile stretch. */
static bool has_colour(const struct lj_config *config, const struct lj_archive_info *info)
{
    bool scaled = strcmp(info->type, "u8") == 0 || config->data_full_scale > 0;
    return info->channels == 3 && ((scaled && config->data_stretch == LJ_DATA_STRETCH_NONE) ||
                                   config->data_stretch == LJ_DATA_STRETCH_PERCENTILE);
}

/* Why colour operations do nothing, and by what they could do something. */
static void explain_colour(const struct lj_config *config, const struct lj_archive_info *info,
                           char *text, size_t capacity)
{
    if (info->channels != 3)
        snprintf(text, capacity, "these have %d channel%s", info->channels,
                 info->channels == 1 ? "" : "s");
    else if (config->data_stretch != LJ_DATA_STRETCH_NONE)
        snprintf(text, capacity, "data.stretch=%s gives others; data.stretch=percentile gives such",
                 lj_data_stretch_word(config->data_stretch));
    else
        snprintf(text, capacity,
                 "these are %s; data.full_scale, the value that becomes 1, maps them", info->type);
}

void lj_view_without_effect(const struct lj_config *config, const struct lj_archive_info *info,
                            char *text, size_t capacity)
{
    const struct {
        const char *key;
        double probability;
    } colour[] = {{"views.jitter", config->views_jitter},
                  {"views.grey", config->views_grey},
                  {"views.solarize", config->views_solarize}};
    char why[128];
    size_t used = 0;
    int count = 0;
    text[0] = 0;
    if (has_colour(config, info))
        return;
    for (size_t i = 0; i < sizeof colour / sizeof *colour && used < capacity; i++) {
        bool given = config->given[lj_config_key(colour[i].key) - lj_config_keys(&count)];
        if (colour[i].probability > 0)
            used +=
                (size_t)snprintf(text + used, capacity - used, "%s%s=%g (%s)", used ? ", " : "",
                                 colour[i].key, colour[i].probability, given ? "given" : "default");
    }
    explain_colour(config, info, why, sizeof why);
    if (used > 0 && used < capacity)
        snprintf(text + used, capacity - used,
                 ": no effect, because colours are 3 channels in 0..1, and %s; views.intensity and "
                 "views.noise change the values of any pixels",
                 why);
}

static void copy_probabilities(struct lj_view_recipe *r, const struct lj_config *c)
{
    r->flip = c->views_flip;
    r->flip_vertical = c->views_flip_vertical;
    r->rotate = c->views_rotate;
    r->rotate_any = c->views_rotate_any;
    r->jitter = c->views_jitter;
    r->brightness = c->views_brightness;
    r->contrast = c->views_contrast;
    r->saturation = c->views_saturation;
    r->hue = c->views_hue;
    r->grey = c->views_grey;
    r->solarize = c->views_solarize;
    r->blur = c->views_blur;
    r->noise = c->views_noise;
    r->noise_sigma = c->views_noise_sigma;
    r->intensity = c->views_intensity;
    r->band_dropout = c->views_band_dropout;
}

int lj_view_recipe(struct lj_view_recipe *recipe, const struct lj_config *config,
                   const struct lj_archive_info *info, bool local, int64_t size, const float *mean,
                   const float *std)
{
    LJ_CHECK(info->channels >= 1 && info->channels <= LJ_CHANNELS_MAX, "%d channels",
             info->channels);
    const double *scale = local ? config->views_local_scale : config->views_global_scale;
    /* Unless a kernel is given, sigma is meant for views of 224 pixels and
     * shrinks with the view. */
    double zoom = config->views_blur_kernel > 0 ? 1.0 : (double)size / 224.0;
    *recipe = (struct lj_view_recipe){
        .channels = info->channels,
        .height = info->height,
        .width = info->width,
        .size = size,
        .scale = {scale[0], scale[1]},
        .ratio = {config->views_ratio[0], config->views_ratio[1]},
        .redraw = config->views_redraw,
        .colour = has_colour(config, info),
        .blur_sigma = {zoom * config->views_blur_sigma[0], zoom * config->views_blur_sigma[1]},
        .blur_kernel = config->views_blur_kernel,
        .mean = mean,
        .std = std,
    };
    copy_probabilities(recipe, config);
    return check_recipe(recipe, config, local);
}

/* ---- scratch ----------------------------------------------------------------------------- */

/* Size of the whole image once its shorter side is r->size; the longer one is rounded down, as
 * torchvision does. */
static void fitted_size(const struct lj_view_recipe *r, int64_t *height, int64_t *width)
{
    int64_t shorter = lj_min_i64(r->height, r->width);
    *height = r->size * r->height / shorter;
    *width = r->size * r->width / shorter;
}

int64_t lj_view_scratch(const struct lj_view_recipe *recipe)
{
    const struct lj_view_recipe *r = recipe;
    int64_t height, width;
    fitted_size(r, &height, &width);
    /* A crop needs most when it is the whole image. */
    int64_t crop = lj_image_resize_scratch(r->channels, r->height, r->width, r->size, r->size);
    int64_t fit = lj_image_resize_scratch(r->channels, r->height, r->width, height, width);
    /* More than the one plane that a rotation needs. */
    int64_t blur =
        lj_image_blur_scratch(r->size, r->size, lj_view_blur_radius(r, r->blur_sigma[1]));
    int64_t rotate = r->rotate_any > 0 ? lj_image_rotate_scratch(r->height, r->width, r->size) : 0;
    return lj_max_i64(lj_max_i64(crop, fit), lj_max_i64(blur, rotate));
}

/* ---- views ------------------------------------------------------------------------------- */

static void jitter_colours(float *rgb, int64_t pixels, const struct lj_view_plan *plan)
{
    for (int i = 0; i < LJ_JITTERS; i++) {
        float factor = plan->factor[plan->order[i]];
        switch (plan->order[i]) {
        case LJ_BRIGHTNESS:
            lj_image_brightness(rgb, pixels, factor);
            break;
        case LJ_CONTRAST:
            lj_image_contrast(rgb, pixels, factor);
            break;
        case LJ_SATURATION:
            lj_image_saturation(rgb, pixels, factor);
            break;
        case LJ_HUE:
            lj_image_hue(rgb, pixels, factor);
            break;
        case LJ_JITTERS:
            break;
        }
    }
}

static void turn(float *view, const struct lj_view_recipe *r, const struct lj_view_plan *plan,
                 float *scratch)
{
    if (plan->flip_x)
        lj_image_flip_x(view, r->channels, r->size, r->size);
    if (plan->flip_y)
        lj_image_flip_y(view, r->channels, r->size, r->size);
    if (plan->quarters)
        lj_image_rotate(view, r->channels, r->size, plan->quarters, scratch);
}

/* 1 / std; 1 for a deviation of 0. */
static float inverse_std(const struct lj_view_recipe *r, int c)
{
    return r->std[c] > 0.0f ? 1.0f / r->std[c] : 1.0f;
}

/* Adds normal noise by Box-Muller in float32, two values from one draw of 64 bits. 32 of the bits
 * make the radius, which so reaches 6.7 sigma at most. */
static void add_noise(float *plane, int64_t pixels, double sigma, struct lj_rng *rng)
{
    for (int64_t i = 0; i < pixels; i += 2) {
        uint64_t bits = lj_rng_bits(rng);
        float share = ((float)(uint32_t)bits + 0.5f) * 0x1p-32f; /* (0, 1] */
        float angle = (float)(bits >> 32) * (6.2831853f * 0x1p-32f);
        float radius = (float)sigma * sqrtf(-2.0f * logf(share));
        plane[i] += radius * cosf(angle);
        if (i + 1 < pixels)
            plane[i + 1] += radius * sinf(angle);
    }
}

static void finish_channels(float *view, const struct lj_view_recipe *r,
                            const struct lj_view_plan *plan, struct lj_rng *rng)
{
    int64_t pixels = r->size * r->size;
    for (int c = 0; c < r->channels; c++) {
        float *plane = view + c * pixels;
        if (plan->dropped[c]) {
            memset(plane, 0, (size_t)pixels * sizeof *plane);
            continue;
        }
        lj_kernels()->affine(plane, pixels, r->mean[c], plan->gain[c] * inverse_std(r, c),
                             plan->shift[c]);
        if (plan->noise > 0.0)
            add_noise(plane, pixels, plan->noise, rng);
    }
}

/* A crop as its view shows it: turned around its centre, in units of its sides. */
struct turned_box {
    double row, column; /* of the centre */
    double height, width;
    double cosine, sine;
};

static bool is_inside(const struct turned_box *t, int64_t y, int64_t x)
{
    double down = ((double)y + 0.5 - t->row) / t->height;
    double right = ((double)x + 0.5 - t->column) / t->width;
    return fabs(t->cosine * right + t->sine * down) <= 0.5 &&
           fabs(t->cosine * down - t->sine * right) <= 0.5;
}

/* Variance of the image's pixels that a crop shows, in units of the archive's, summed over
 * channels. */
static double crop_variance(const struct lj_view_recipe *r, const float *image,
                            const struct lj_image_box *box, double degrees)
{
    const double radians = degrees * 0.017453292519943295;
    const struct turned_box turned = {.row = (double)box->top + (double)box->height / 2,
                                      .column = (double)box->left + (double)box->width / 2,
                                      .cosine = cos(radians),
                                      .sine = sin(radians),
                                      .height = (double)box->height,
                                      .width = (double)box->width};
    struct lj_image_box around = *box;
    if (degrees != 0.0)
        lj_image_surroundings(&around, box, degrees, r->height, r->width);
    double total = 0.0;
    for (int c = 0; c < r->channels; c++) {
        double sum = 0.0, squares = 0.0, pixels = 0.0;
        for (int64_t y = around.top; y < around.top + around.height; y++) {
            const float *row = image + (c * r->height + y) * r->width;
            for (int64_t x = around.left; x < around.left + around.width; x++) {
                if (degrees != 0.0 && !is_inside(&turned, y, x))
                    continue;
                double z = (double)((row[x] - r->mean[c]) * inverse_std(r, c));
                sum += z;
                squares += z * z;
                pixels++;
            }
        }
        if (pixels > 0.0)
            total += squares / pixels - sum / pixels * (sum / pixels);
    }
    return total;
}

struct lj_view_source lj_view_source(const struct lj_view_recipe *recipe, const float *image)
{
    const double least = 0.1; /* share of the image's variance */
    const struct lj_image_box all = {0, 0, recipe->height, recipe->width};
    return (struct lj_view_source){
        .image = image,
        .enough = recipe->redraw > 0 ? least * crop_variance(recipe, image, &all, 0.0) : 0.0};
}

/* Draws the plan; afterwards the view's stream gives the noise. A crop sees nothing if its pixels
 * vary much less than those of the image: then all of the view is drawn again from another stream.
 * The last attempt is kept whatever it sees. */
static void draw_view(struct lj_view_plan *plan, struct lj_rng *rng, const struct lj_view_recipe *r,
                      const struct lj_view_source *source, int64_t seed, const struct lj_draw *draw,
                      int64_t number)
{
    for (int64_t redraws = 0;; redraws++) {
        lj_rng_begin(rng, seed, LJ_DRAW_VIEW, (uint64_t)draw->epoch, (uint64_t)draw->index,
                     (uint64_t)number + ((uint64_t)redraws << 32));
        lj_view_plan(plan, r, rng);
        plan->redraws = redraws;
        if (redraws == r->redraw ||
            crop_variance(r, source->image, &plan->crop, plan->degrees) >= source->enough)
            return;
    }
}

void lj_view_draw(struct lj_view_plan *plan, const struct lj_view_recipe *recipe,
                  const struct lj_view_source *source, int64_t seed, const struct lj_draw *draw,
                  int64_t number)
{
    struct lj_rng rng;
    draw_view(plan, &rng, recipe, source, seed, draw, number);
}

int64_t lj_view_make(const struct lj_view_recipe *recipe, const struct lj_view_source *source,
                     int64_t seed, const struct lj_draw *draw, int64_t number, float *view,
                     float *scratch)
{
    const struct lj_view_recipe *r = recipe;
    const float *image = source->image;
    int64_t pixels = r->size * r->size;
    struct lj_image_box all = {0, 0, r->size, r->size};
    struct lj_view_plan plan;
    struct lj_rng rng;
    draw_view(&plan, &rng, r, source, seed, draw, number);

    if (plan.degrees != 0.0)
        lj_image_resize_rotated(view, image, r->channels, r->height, r->width, &plan.crop, r->size,
                                plan.degrees, scratch);
    else
        lj_image_resize_window(view, image, r->channels, r->height, r->width, &plan.crop, r->size,
                               r->size, &all, scratch);
    if (plan.jitter)
        jitter_colours(view, pixels, &plan);
    if (plan.grey)
        lj_image_grey(view, pixels);
    if (plan.blur)
        lj_image_blur(view, r->channels, r->size, r->size, plan.sigma, plan.radius, scratch);
    if (plan.solarize)
        lj_kernels()->solarize(view, r->channels * pixels, 0.5f);
    turn(view, r, &plan, scratch);
    finish_channels(view, r, &plan, &rng);
    return plan.redraws;
}

void lj_view_centre(const struct lj_view_recipe *recipe, const float *image, float *view,
                    float *scratch)
{
    const struct lj_view_recipe *r = recipe;
    int64_t height, width;
    fitted_size(r, &height, &width);
    struct lj_image_box all = {0, 0, r->height, r->width};
    /* llrint rounds half pixels to even, as torchvision does by Python's round. */
    struct lj_image_box window = {.top = llrint((double)(height - r->size) / 2.0),
                                  .left = llrint((double)(width - r->size) / 2.0),
                                  .height = r->size,
                                  .width = r->size};
    lj_image_resize_window(view, image, r->channels, r->height, r->width, &all, height, width,
                           &window, scratch);
    for (int c = 0; c < r->channels; c++)
        lj_kernels()->affine(view + c * r->size * r->size, r->size * r->size, r->mean[c],
                             inverse_std(r, c), 0.0f);
}
