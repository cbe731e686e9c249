/* SPDX-License-Identifier: Apache-2.0 */
/* timm's configuration: in the metadata of safetensors and in config.json beside them. */
#include "store_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

static const double channel_mean[3] = {0.25, 0.5, 1.0 / 3}, channel_std[3] = {1, 0.125, 0.1};
static const double lowest[3] = {-1, 0, 1.0 / 7}, highest[3] = {1, 3e9, 0.7};
static const struct lj_timm_config config = {
    .architecture = "vit_base_patch16_224",
    .arguments = "{\"img_size\": 28, \"mlp_ratio\": 4, \"num_heads\": 3}",
    .pool = "token",
    .first_conv = "patch_embed.proj",
    .classifier = "head",
    .features = 5,
    .classes = 2,
    .size = 28,
    .channels = 3,
    .mean = channel_mean,
    .std = channel_std,
    .low = lowest,
    .high = highest,
    .pixels = "u16",
    .stretch = "percentile",
    .divisor = 65535,
    .step = 12};

struct place {
    struct fixture f;
    char weights[128], beside[128];
    double mean[3], std[3], low[3], high[3];
    struct lj_timm_pixels pixels;
};

static void place_create(struct place *p)
{
    cr_assert(fixture_create(&p->f));
    snprintf(p->weights, sizeof p->weights, "%s/w.safetensors", p->f.dir);
    snprintf(p->beside, sizeof p->beside, "%s/config.json", p->f.dir);
    p->pixels =
        (struct lj_timm_pixels){.mean = p->mean, .std = p->std, .low = p->low, .high = p->high};
}

static void write_weights(const struct place *p, const char *metadata)
{
    cr_assert_eq(
        lj_safetensors_write(p->weights, &p->f.params, p->f.weights, "projector.", metadata), LJ_OK,
        "%s", lj_error_text());
}

static void write_beside(const struct place *p, const char *text)
{
    FILE *file = fopen(p->beside, "w");
    fputs(text, file);
    fclose(file);
}

static void expect_read(struct place *p, const char *from)
{
    memset(p->mean, 0, sizeof p->mean);
    memset(p->std, 0, sizeof p->std);
    cr_assert_eq(lj_timm_read(p->weights, 3, &p->pixels), LJ_OK, "%s", lj_error_text());
    cr_assert(p->pixels.found);
    cr_assert_str_eq(p->pixels.from, from);
    cr_assert_str_eq(p->pixels.stretch, "percentile");
    cr_assert(p->pixels.has_limits);
    cr_assert_arr_eq(p->low, lowest, sizeof lowest);
    cr_assert_arr_eq(p->high, highest, sizeof highest);
    cr_assert_arr_eq(p->mean, channel_mean, sizeof channel_mean);
    cr_assert_arr_eq(p->std, channel_std, sizeof channel_std);
}

/* Every bit of the doubles comes back from either place; the file itself comes first. */
Test(timm, round_trip)
{
    struct place p;
    place_create(&p);
    char *metadata = lj_timm_metadata(&config);
    cr_assert(metadata);
    write_weights(&p, metadata);
    lj_free(metadata);
    write_beside(&p, "{\"pretrained_cfg\": {\"mean\": [0, 0, 0], \"std\": [1, 1, 1]}}");
    expect_read(&p, p.weights);
    cr_assert_eq(lj_timm_check_arguments(p.weights, config.arguments, false), LJ_OK);

    cr_assert_eq(lj_timm_write(p.weights, &config), LJ_OK, "%s", lj_error_text());
    write_weights(&p, "{\"format\": \"pt\"}");
    expect_read(&p, p.beside);
    cr_assert_eq(lj_timm_check_arguments(p.weights, config.arguments, false), LJ_OK);
    fixture_destroy(&p.f);
}

Test(timm, nothing_said)
{
    struct place p;
    place_create(&p);
    write_weights(&p, NULL);
    cr_assert_eq(lj_timm_read(p.weights, 3, &p.pixels), LJ_OK);
    cr_assert(!p.pixels.found);
    cr_assert_eq(lj_timm_check_arguments(p.weights, config.arguments, false), LJ_OK);
    write_beside(&p, "{\"hidden_size\": 5}");
    cr_assert_eq(lj_timm_read(p.weights, 3, &p.pixels), LJ_OK);
    cr_assert(!p.pixels.found);
    write_beside(&p, "{\"mean\": [1, 2, 3], \"std\": [4, 5, 6]}");
    cr_assert_eq(lj_timm_read(p.weights, 3, &p.pixels), LJ_OK);
    cr_assert(p.pixels.found && p.mean[2] == 3 && p.std[0] == 4 && !p.pixels.has_limits);
    cr_assert_str_eq(p.pixels.stretch, "none");
    fixture_destroy(&p.f);
}

Test(timm, refused)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{\"mean\": [1, 2], \"std\": [4, 5, 6]}", "2 numbers as mean"},
        {"{\"mean\": 1, \"std\": [4, 5, 6]}", "0 numbers as mean"},
        {"{\"mean\": [1, 2, 1e300], \"std\": [4, 5, 6]}", "mean of channel 2"},
        {"{\"mean\": [1, 2, null], \"std\": [4, 5, 6]}", "mean of channel 2"},
        {"{\"mean\": [1, 2, 3], \"std\": [4, 0, 6]}", "std of channel 1"},
        {"{\"mean\": [1, 2, 3], \"std\": [-4, 5, 6]}", "std of channel 0"},
        {"{\"mean\": [1, 2, 3],", "not JSON"},
    };
    struct place p;
    place_create(&p);
    write_weights(&p, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_beside(&p, cases[i].text);
        cr_expect_eq(lj_timm_read(p.weights, 3, &p.pixels), LJ_ERR_CHECKPOINT, "%zu", i);
        cr_expect(strstr(lj_error_text(), cases[i].says), "%zu: %s", i, lj_error_text());
    }
    fixture_destroy(&p.f);
}

Test(timm, other_arguments)
{
    struct place p;
    place_create(&p);
    char *metadata = lj_timm_metadata(&config);
    write_weights(&p, metadata);
    lj_free(metadata);
    cr_assert_eq(lj_timm_check_arguments(p.weights, "{\"mlp_ratio\": 4.0, \"of_ours\": 1}", false),
                 LJ_OK);
    cr_assert_eq(lj_timm_check_arguments(p.weights, "", false), LJ_OK, "no encoder of timm's");
    cr_assert_eq(lj_timm_check_arguments(p.weights, "{\"img_size\": 28, \"num_heads\": 4}", false),
                 LJ_ERR_CHECKPOINT);
    cr_assert(strstr(lj_error_text(), "num_heads 3, this configuration's has 4"), "%s",
              lj_error_text());
    fixture_destroy(&p.f);
}

/* A config.json of somebody else is not replaced. */
Test(timm, place)
{
    struct place p;
    place_create(&p);
    cr_assert_eq(lj_timm_check_place(p.weights), LJ_OK);
    cr_assert_eq(lj_timm_write(p.weights, &config), LJ_OK);
    cr_assert_eq(lj_timm_check_place(p.weights), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_timm_write(p.weights, &config), LJ_OK);
    write_beside(&p, "{\"architectures\": []}");
    cr_assert_eq(lj_timm_check_place(p.weights), LJ_ERR_CONFIG);
    write_beside(&p, "no JSON");
    cr_assert_eq(lj_timm_check_place(p.weights), LJ_ERR_CONFIG);
    cr_assert_eq(lj_timm_write("/nowhere/w.safetensors", &config), LJ_ERR_RESOURCE);
    fixture_destroy(&p.f);
}
