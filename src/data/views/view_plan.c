/* SPDX-License-Identifier: Apache-2.0 */
/* Draws what will be done for a view. The distributions are torchvision's: RandomResizedCrop,
 * ColorJitter, RandomGrayscale, GaussianBlur, RandomSolarize and flips; then come ours, for any
 * number of channels. Draws are made in a fixed order, whether they are used or not; another order
 * would change the results of every run. */
#include "data/views/view_plan.h"

#include <math.h>

/* Strength of views.intensity: gains in 1 +- 0.2, shifts in +- 0.2 standard deviations. */
static const double intensity_range = 0.2;

/* The largest centred box whose ratio is allowed. */
static struct lj_image_box central_crop(const struct lj_view_recipe *r)
{
    struct lj_image_box box = {0, 0, r->height, r->width};
    double ratio = (double)r->width / (double)r->height;
    if (ratio < r->ratio[0])
        box.height = lj_max_i64(llrint((double)r->width / r->ratio[0]), 1);
    else if (ratio > r->ratio[1])
        box.width = lj_max_i64(llrint((double)r->height * r->ratio[1]), 1);
    box.top = (r->height - box.height) / 2;
    box.left = (r->width - box.width) / 2;
    return box;
}

/* A box of uniform area and log-uniform ratio; the central one if ten draws gave none that fits. */
static struct lj_image_box random_crop(const struct lj_view_recipe *r, struct lj_rng *rng)
{
    double area = (double)(r->height * r->width);
    double low = log(r->ratio[0]), high = log(r->ratio[1]);
    for (int attempt = 0; attempt < 10; attempt++) {
        double target = area * lj_rng_between(rng, r->scale[0], r->scale[1]);
        double ratio = exp(lj_rng_between(rng, low, high));
        int64_t width = llrint(sqrt(target * ratio)), height = llrint(sqrt(target / ratio));
        if (width < 1 || width > r->width || height < 1 || height > r->height)
            continue;
        int64_t top = lj_rng_below(rng, r->height - height + 1);
        int64_t left = lj_rng_below(rng, r->width - width + 1);
        return (struct lj_image_box){top, left, height, width};
    }
    return central_crop(r);
}

static float jitter_factor(double strength, struct lj_rng *rng)
{
    return (float)lj_rng_between(rng, fmax(0.0, 1.0 - strength), 1.0 + strength);
}

static void plan_colour(struct lj_view_plan *plan, const struct lj_view_recipe *r,
                        struct lj_rng *rng)
{
    plan->jitter = lj_rng_chance(rng, r->jitter);
    for (int i = 0; i < LJ_JITTERS; i++) { /* Fisher-Yates, inside out */
        int64_t at = lj_rng_below(rng, i + 1);
        plan->order[i] = plan->order[at];
        plan->order[at] = (enum lj_jitter)i;
    }
    plan->factor[LJ_BRIGHTNESS] = jitter_factor(r->brightness, rng);
    plan->factor[LJ_CONTRAST] = jitter_factor(r->contrast, rng);
    plan->factor[LJ_SATURATION] = jitter_factor(r->saturation, rng);
    plan->factor[LJ_HUE] = (float)lj_rng_between(rng, -r->hue, r->hue);
    plan->grey = lj_rng_chance(rng, r->grey);
    plan->solarize = lj_rng_chance(rng, r->solarize);
}

/* Without a given width the kernel reaches 3 sigma each way; the tails cut off weigh less than 0.3
 * %. The reflection at the border needs a radius below the size of the view. */
int64_t lj_view_blur_radius(const struct lj_view_recipe *recipe, double sigma)
{
    int64_t radius = recipe->blur_kernel > 0 ? recipe->blur_kernel / 2 : (int64_t)ceil(3.0 * sigma);
    return lj_min_i64(radius, recipe->size - 1);
}

static void plan_blur(struct lj_view_plan *plan, const struct lj_view_recipe *r, struct lj_rng *rng)
{
    plan->blur = lj_rng_chance(rng, r->blur);
    plan->sigma = lj_rng_between(rng, r->blur_sigma[0], r->blur_sigma[1]);
    plan->radius = lj_view_blur_radius(r, plan->sigma);
}

/* Draws which channels are dropped. Should it be all of them, one is drawn that stays. */
static void plan_dropout(struct lj_view_plan *plan, const struct lj_view_recipe *r,
                         struct lj_rng *rng)
{
    int dropped = 0;
    for (int c = 0; c < r->channels; c++) {
        plan->dropped[c] = r->channels > 1 && lj_rng_chance(rng, r->band_dropout);
        dropped += plan->dropped[c];
    }
    if (dropped == r->channels)
        plan->dropped[lj_rng_below(rng, r->channels)] = false;
}

static void plan_channels(struct lj_view_plan *plan, const struct lj_view_recipe *r,
                          struct lj_rng *rng)
{
    for (int c = 0; c < r->channels; c++) {
        bool change = lj_rng_chance(rng, r->intensity);
        double gain = lj_rng_between(rng, -intensity_range, intensity_range);
        double shift = lj_rng_between(rng, -intensity_range, intensity_range);
        plan->gain[c] = change ? (float)(1.0 + gain) : 1.0f;
        plan->shift[c] = change ? (float)shift : 0.0f;
    }
    plan_dropout(plan, r, rng);
    bool noisy = lj_rng_chance(rng, r->noise);
    double sigma = lj_rng_between(rng, 0.0, r->noise_sigma);
    plan->noise = noisy ? sigma : 0.0;
}

void lj_view_plan(struct lj_view_plan *plan, const struct lj_view_recipe *recipe,
                  struct lj_rng *rng)
{
    *plan = (struct lj_view_plan){.crop = random_crop(recipe, rng)};
    if (recipe->colour)
        plan_colour(plan, recipe, rng);
    plan_blur(plan, recipe, rng);
    plan->flip_x = lj_rng_chance(rng, recipe->flip);
    plan->flip_y = lj_rng_chance(rng, recipe->flip_vertical);
    bool turned = lj_rng_chance(rng, recipe->rotate);
    int quarters = 1 + (int)lj_rng_below(rng, 3);
    plan->quarters = turned ? quarters : 0;
    plan_channels(plan, recipe, rng);
    if (recipe->rotate_any > 0) { /* younger than the others: draws nothing where it is off */
        bool any = lj_rng_chance(rng, recipe->rotate_any);
        double degrees = lj_rng_between(rng, 0.0, 360.0);
        plan->degrees = any ? degrees : 0.0;
    }
}
