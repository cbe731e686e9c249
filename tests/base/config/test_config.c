/* SPDX-License-Identifier: Apache-2.0 */
#include "lejepa/config.h"
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lj_config c, d; /* too large for the stack of a test with many of them */
static struct lj_tmpdir directory;

static void setup(void)
{
    lj_tmpdir_make(&directory);
    lj_config_defaults(&c);
}

static void teardown(void)
{
    lj_tmpdir_remove(&directory);
}

TestSuite(config, .init = setup, .fini = teardown);

static void assert_set(const char *assignment)
{
    cr_assert_eq(lj_config_assign(&c, assignment), LJ_OK, "%s: %s", assignment, lj_error_text());
}

/* The assignment fails with a text that holds each of the two parts. */
static void assert_refused(const char *assignment, const char *part, const char *other)
{
    cr_assert_eq(lj_config_assign(&c, assignment), LJ_ERR_CONFIG, "%s was accepted", assignment);
    cr_assert(strstr(lj_error_text(), part) && strstr(lj_error_text(), other),
              "%s: the text is '%s', expected '%s' and '%s' in it", assignment, lj_error_text(),
              part, other);
}

/* The YAML is refused with "name.yaml:line: " and the part. */
static void assert_yaml_refused(const char *text, int line, const char *part)
{
    char where[64];
    const char *path = lj_tmpdir_write(&directory, "bad.yaml", text);
    snprintf(where, sizeof where, "bad.yaml:%d: ", line);
    cr_assert_eq(lj_config_read_file(&c, path), LJ_ERR_CONFIG, "accepted: %s", text);
    cr_assert(strstr(lj_error_text(), where) && strstr(lj_error_text(), part),
              "%s\ntext '%s', expected '%s' and '%s'", text, lj_error_text(), where, part);
}

static void read_yaml(const char *text)
{
    const char *path = lj_tmpdir_write(&directory, "good.yaml", text);
    cr_assert_eq(lj_config_read_file(&c, path), LJ_OK, "%s", lj_error_text());
}

Test(config, defaults_are_those_of_the_table)
{
    memset(&c, 0xFF, sizeof c);
    lj_config_defaults(&c);
    cr_assert(c.seed == 0 && c.views_global == 2 && c.views_local == 6 && c.batch_size == 256);
    cr_assert(c.optim_lr == 0.0005 && c.loss_lambda == 0.05 && c.optim_lr_floor == -1);
    cr_assert(c.views_ratio[0] == 0.75 && c.views_ratio[1] == 4.0 / 3);
    cr_assert_str_eq(c.model, "vit_tiny");
    cr_assert_str_eq(c.preset, "");
    cr_assert_eq(c.arg_features, LJ_ARG_FEATURES_MODEL);
    cr_assert_str_eq(c.arg_l2, "0.001");
}

Test(config, every_default_is_within_its_own_limits)
{
    int count = 0;
    const struct lj_key *keys = lj_config_keys(&count);
    cr_assert(count > 80);
    for (int i = 0; i < count; i++) {
        char text[LJ_TEXT_MAX];
        lj_config_value_text(&c, &keys[i], text, sizeof text);
        cr_assert_eq(lj_config_set(&c, keys[i].name, text), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(lj_config_key(keys[i].name), &keys[i], "%s is there twice", keys[i].name);
    }
    cr_assert_null(lj_config_key("optim"));
    cr_assert_eq(lj_config_key("out")->role, LJ_KEY_ARGUMENT);
    cr_assert_eq(lj_config_key("seed")->role, LJ_KEY_BITS);
    cr_assert_eq(lj_config_key("run.dir")->role, LJ_KEY_FREE);
}

Test(config, integers)
{
    assert_set("batch.size=512");
    cr_assert_eq(c.batch_size, 512);
    assert_set("train.steps=1e3");
    cr_assert_eq(c.train_steps, 1000);
    assert_set("train.steps=2.5e1");
    cr_assert_eq(c.train_steps, 25);
    assert_set("seed=9007199254740992");
    cr_assert_eq(c.seed, INT64_C(9007199254740992));
    assert_set("seed=9007199254740991");
    cr_assert_eq(c.seed, INT64_C(9007199254740991));
    assert_refused("seed=9007199254740993", "seed", "0 .. 9007199254740992");
    assert_refused("seed=99999999999999999999999", "out of range", "0 .. 9007199254740992");
    assert_refused("seed=-1", "-1", "0 .. 9007199254740992");
    assert_refused("views.global=0", "views.global", "1 .. 64");
    assert_refused("views.global=65", "views.global", "1 .. 64");
    assert_refused("seed=1e300", "out of range", "seed");
    assert_refused("seed=-1e300", "out of range", "seed");
    const char *const wrong[] = {"seed=",      "seed=1.5",  "seed= 1", "seed=1 ",  "seed=0x10",
                                 "seed=1,000", "seed=1e-1", "seed=e3", "seed=--1", "seed=ten"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_refused(wrong[i], "whole number", "seed");
    cr_assert_eq(c.seed, INT64_C(9007199254740991), "a refused value changes nothing");
}

Test(config, reals)
{
    assert_set("optim.lr=1e-3");
    cr_assert_eq(c.optim_lr, 1e-3);
    assert_set("optim.lr=.5");
    cr_assert_eq(c.optim_lr, 0.5);
    assert_set("optim.lr=1000");
    assert_refused("optim.lr=1000.0000000001", "optim.lr", "0 .. 1000");
    assert_refused("optim.lr=1e999", "out of range", "0 .. 1000");
    assert_refused("optim.lr=-1e-9", "out of range", "0 .. 1000");
    assert_refused("optim.beta1=1", "optim.beta1", "0 .. 0.999999");
    const char *const wrong[] = {"optim.lr=nan", "optim.lr=inf",   "optim.lr=1e-3x", "optim.lr=",
                                 "optim.lr=0,5", "optim.lr= 1e-3", "optim.lr=0x1p-3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_refused(wrong[i], "expected a number", "optim.lr");
}

Test(config, pairs)
{
    assert_set("views.local_scale=0.1,0.2");
    cr_assert(c.views_local_scale[0] == 0.1 && c.views_local_scale[1] == 0.2);
    assert_set("views.local_scale=0.5,0.5");
    assert_refused("views.local_scale=0.1", "views.local_scale", "two numbers");
    assert_refused("views.local_scale=0.1,0.2,0.3", "views.local_scale", "number");
    assert_refused("views.local_scale=0.2,0.1", "views.local_scale", "larger");
    assert_refused("views.local_scale=0.1,2", "0.0001 .. 1", "2");
    assert_refused("views.local_scale=,", "views.local_scale", "number");
    cr_assert(c.views_local_scale[0] == 0.5 && c.views_local_scale[1] == 0.5);
}

Test(config, texts_and_choices)
{
    assert_set("data.where=split=0");
    cr_assert_str_eq(c.data_where, "split=0");
    assert_set("data.where=");
    cr_assert_str_eq(c.data_where, "");
    assert_set("model=vit_base");
    cr_assert_str_eq(c.model, "vit_base");
    assert_refused("reduce=fas", "fas", "exact|fast");
    assert_refused("reduce=", "reduce", "expected one of");
    assert_refused("reduce=exact|fast", "reduce", "expected one of");
    assert_refused("data.archive=\xff", "UTF-8", "byte 1");
    assert_refused("data.archive=a\xc0\xaf", "UTF-8", "byte 2");
    assert_refused("data.archive=\xed\xa0\x80", "UTF-8", "byte 1");
    assert_refused("data.archive=\xf4\x90\x80\x80", "UTF-8", "byte 1");
    assert_refused("data.archive=\xe2\x82", "UTF-8", "byte 1");

    char longest[LJ_TEXT_MAX + 16] = "run.dir=";
    memset(longest + 8, 'x', LJ_TEXT_MAX - 1);
    assert_set(longest);
    cr_assert_eq(strlen(c.run_dir), LJ_TEXT_MAX - 1);
    longest[8 + LJ_TEXT_MAX - 1] = 'x';
    assert_refused(longest, "4096 bytes", "4095");
}

Test(config, unknown_keys_name_the_nearest)
{
    assert_refused("optim.rl=1", "unknown key 'optim.rl'", "'optim.lr'");
    assert_refused("lr=1", "unknown key 'lr'", "'optim.lr'");
    assert_refused("views.globals=2", "'views.globals'", "'views.global'");
    assert_refused("lambda=2", "'lambda'", "'loss.lambda'");
    assert_refused("=2", "unknown key ''", "did you mean");
    assert_refused("seed", "'seed'", "key=value");
    char name[600];
    memset(name, 'a', sizeof name);
    memcpy(name + sizeof name - 3, "=1", 3);
    assert_refused(name, "unknown key 'aaa", "did you mean");
}

Test(config, numbers_do_not_depend_on_the_locale)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8"))
        cr_skip_test("no locale with a decimal comma is installed");
    char text[64];
    assert_set("optim.lr=0.25");
    cr_assert_eq(c.optim_lr, 0.25);
    lj_config_value_text(&c, lj_config_key("optim.lr"), text, sizeof text);
    cr_assert_str_eq(text, "0.25");
}

Test(config, values_as_text)
{
    char text[64];
    c.optim_lr = 0.1;
    lj_config_value_text(&c, lj_config_key("optim.lr"), text, sizeof text);
    cr_assert_str_eq(text, "0.1");
    c.optim_lr = 1.0 / 3;
    lj_config_value_text(&c, lj_config_key("optim.lr"), text, sizeof text);
    cr_assert_str_eq(text, "0.3333333333333333");
    lj_config_value_text(&c, lj_config_key("views.ratio"), text, sizeof text);
    cr_assert_str_eq(text, "0.75,1.3333333333333333");
    lj_config_value_text(&c, lj_config_key("model"), text, 4);
    cr_assert_str_eq(text, "vit", "cut at the capacity");
}

Test(config, yaml_is_flattened)
{
    read_yaml("# a comment\n"
              "seed: 7\n"
              "optim:\n"
              "  lr: 1e-2\n"
              "  decay_on: matrices\n"
              "optim.beta1: 0.8\n"
              "views: {local: 0, global_scale: [0.2, 0.9]}\n"
              "views.local_scale: 0.1,0.4\n"
              "model: vit\n"
              "model.depth: 5\n"
              "data.where: split=0\n"
              "data.archive: 'it''s: here.h5'\n"
              "run.dir: \"a\\nb\"\n"
              "eval.where:\n"
              "seed: 8\n");
    cr_assert_eq(c.seed, 8, "of equal keys the last wins");
    cr_assert(c.optim_lr == 0.01 && c.optim_beta1 == 0.8 && c.views_local == 0);
    cr_assert(c.views_global_scale[0] == 0.2 && c.views_global_scale[1] == 0.9);
    cr_assert(c.views_local_scale[0] == 0.1 && c.views_local_scale[1] == 0.4);
    cr_assert_eq(c.optim_decay_on, LJ_OPTIM_DECAY_ON_MATRICES);
    cr_assert(strcmp(c.model, "vit") == 0 && c.model_depth == 5);
    cr_assert_str_eq(c.data_where, "split=0");
    cr_assert_str_eq(c.data_archive, "it's: here.h5");
    cr_assert_str_eq(c.run_dir, "a\nb");
    cr_assert_str_eq(c.eval_where, "");
}

Test(config, empty_yaml_changes_nothing)
{
    const char *const nothing[] = {"", "# only a comment\n", "---\n", "{}\n", "optim: {}\n"};
    memcpy(&d, &c, sizeof c);
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
        read_yaml(nothing[i]);
    cr_assert_eq(memcmp(&c, &d, sizeof c), 0);
}

Test(config, yaml_errors_say_file_and_line)
{
    assert_yaml_refused("seed: 1\noptim:\n  rl: 1\n", 3, "did you mean 'optim.lr'");
    assert_yaml_refused("\n\nviews.global: 100\n", 3, "1 .. 64");
    assert_yaml_refused("views.ratio: [1, 2\n", 2, "not valid YAML");
    assert_yaml_refused("seed: 1\nseed:\n", 2, "whole number");
    assert_yaml_refused("seed: &x 1\n", 1, "anchor");
    assert_yaml_refused("optim: &x {lr: 1}\n", 1, "anchor");
    assert_yaml_refused("views.ratio: &x [1, 2]\n", 1, "anchor");
    assert_yaml_refused("seed: 1\ntrain.steps: *x\n", 2, "alias");
    assert_yaml_refused("optim:\n  <<: *x\n", 2, "alias");
    assert_yaml_refused("views.ratio: [[1], 2]\n", 1, "nested");
    assert_yaml_refused("views.ratio: [1]\n", 1, "exactly two");
    assert_yaml_refused("views.ratio: [1, 2, 3]\n", 1, "exactly two");
    assert_yaml_refused("views.ratio: [\"1,1\", 2]\n", 1, "two numbers");
    assert_yaml_refused("views.ratio: [2, 1]\n", 1, "larger");
    assert_yaml_refused("data.archive: [a.h5, b.h5]\n", 1, "not a list");
    assert_yaml_refused("xyz: [1, 2]\n", 1, "unknown key");
    assert_yaml_refused("? [a, b]\n: 1\n", 1, "nested");
    assert_yaml_refused("- seed\n", 1, "key: value");
    assert_yaml_refused("just words\n", 1, "key: value");
    assert_yaml_refused("seed: 1\n---\nseed: 2\n", 2, "second document");
    assert_yaml_refused("run.dir: \"a\\0b\"\n", 1, "zero byte");
    assert_yaml_refused("a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1"
                        "}}}}}}}}}}}}}}}}\n",
                        1, "too deeply");
    char text[400] = "seed: 1\n";
    memset(text + 8, 'a', 300);
    memcpy(text + 308, ": 1\n", 5);
    assert_yaml_refused(text, 2, "longer");
}

Test(config, a_file_that_cannot_be_read_is_named)
{
    const char *path = lj_tmpdir_file(&directory, "absent.yaml");
    cr_assert_eq(lj_config_read_file(&c, path), LJ_ERR_CONFIG);
    cr_assert(strstr(lj_error_text(), path) && strstr(lj_error_text(), "No such file"));
    cr_assert_eq(lj_config_read_file(&c, directory.path), LJ_ERR_CONFIG, "a directory");
    cr_assert_not_null(strstr(lj_error_text(), directory.path));
}

/* Writes c, reads it into d. */
static void reload(void)
{
    const char *path = lj_tmpdir_file(&directory, "config.yaml");
    FILE *file = fopen(path, "w");
    lj_config_write_yaml(&c, file);
    fclose(file);
    lj_config_defaults(&d);
    cr_assert_eq(lj_config_read_file(&d, path), LJ_OK, "%s", lj_error_text());
}

static void assert_same(void)
{
    int count = 0;
    const struct lj_key *keys = lj_config_keys(&count);
    for (int i = 0; i < count; i++) {
        const char *a = (char *)&c + keys[i].offset, *b = (char *)&d + keys[i].offset;
        if (keys[i].type == LJ_KEY_TEXT)
            cr_assert_str_eq(a, b, "%s", keys[i].name);
        else if (keys[i].type == LJ_KEY_CHOICE)
            cr_assert_eq(memcmp(a, b, sizeof(int)), 0, "%s", keys[i].name);
        else
            cr_assert_eq(memcmp(a, b, keys[i].type == LJ_KEY_PAIR ? 16 : 8), 0, "%s", keys[i].name);
    }
}

Test(config, written_yaml_reloads_identically)
{
    reload();
    assert_same();
    c.optim_lr = 0.1 + 0.2;
    c.optim_eps = 4.9406564584124654e-324;
    c.optim_clip = 1.0 / 3 * 1e29;
    c.views_ratio[0] = 0.30000000000000004;
    c.views_ratio[1] = 99.999999999999986;
    c.loss_lambda = -0.0;
    c.optim_weight_decay = 999.99999999999989;
    c.seed = INT64_C(9007199254740991);
    snprintf(c.model, sizeof c.model, "vit_huge");
    reload();
    assert_same();
}

Test(config, written_yaml_keeps_tricky_texts)
{
    const char *const texts[] = {
        "\"double\" 'single' \\ back: slash # hash",
        "two\nlines\r\n\ttab \x01 \x7f",
        " leading and trailing ",
        "~",
        "null",
        "- a",
        "*x &y !z %w @v `u",
        "[1, 2]",
        "M\xc3\xbcnchen \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x8c\x8c",
        "\xc2\x85 \xe2\x80\xa8 \xef\xbb\xbf \xef\xbf\xbf \xc2\xa0",
        "",
        "1e3",
        "a: b\n  c: d",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_assert_eq(lj_config_set(&c, "run.dir", texts[i]), LJ_OK, "%s", lj_error_text());
        reload();
        cr_assert_str_eq(d.run_dir, texts[i]);
    }
    char longest[LJ_TEXT_MAX];
    memset(longest, ' ', sizeof longest);
    longest[0] = longest[LJ_TEXT_MAX - 2] = '"';
    longest[LJ_TEXT_MAX - 1] = 0;
    cr_assert_eq(lj_config_set(&c, "data.archive", longest), LJ_OK);
    reload();
    assert_same();
}

Test(config, command_arguments_are_not_written)
{
    assert_set("out=x.h5");
    assert_set("features=pixels");
    reload();
    cr_assert_str_eq(d.arg_out, "");
    cr_assert_eq(d.arg_features, LJ_ARG_FEATURES_MODEL);
}

static void assert_words(const char *const *words, int count)
{
    cr_assert_eq(lj_config_from_words(&c, words, count), LJ_OK, "%s", lj_error_text());
}

Test(config, words_win_over_files_over_preset_over_defaults)
{
    const char *one = lj_tmpdir_write(&directory, "one.yaml",
                                      "preset: minimal\nbatch.size: 128\nseed: 1\ndata.size: 64\n");
    const char *two = lj_tmpdir_write(&directory, "two.yaml", "seed: 2\n");
    const char *words[] = {"batch.size=32", one, "optim.lr=1", two, "optim.lr=0.5"};
    assert_words(words, 5);
    cr_assert_eq(c.batch_size, 32, "a word wins, also before the file");
    cr_assert_eq(c.seed, 2, "the later file wins");
    cr_assert_eq(c.data_size, 64, "a file wins over its preset");
    cr_assert_eq(c.views_global, 4, "the preset wins over defaults");
    cr_assert_eq(c.optim_lr, 0.5, "of equal words the last wins");
    cr_assert_eq(c.log_every, 10);
    cr_assert_str_eq(c.preset, "minimal");

    const char *other[] = {one, "preset=recipe"};
    assert_words(other, 2);
    cr_assert_str_eq(c.preset, "recipe", "words win over files");
    cr_assert(c.views_global == 2 && c.views_local == 6 && c.batch_size == 128);
    const char *none[] = {one, "preset="};
    assert_words(none, 2);
    cr_assert(c.views_global == 2 && c.loss_lambda == 0.05 && c.preset[0] == 0);
    assert_words(NULL, 0);
    lj_config_defaults(&d);
    cr_assert_eq(memcmp(&c, &d, sizeof c), 0);
}

Test(config, words_that_are_neither_are_refused)
{
    const char *const wrong[] = {"train", "config.txt", "a/b=c", "nowhere/run=1/config.yaml"};
    const char *const parts[] = {"neither", "neither", "neither", "No such file"};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(lj_config_from_words(&c, &wrong[i], 1), LJ_ERR_CONFIG, "%s", wrong[i]);
        cr_assert_not_null(strstr(lj_error_text(), parts[i]), "%s", lj_error_text());
    }
    const char *preset = "preset=minimall";
    cr_assert_eq(lj_config_from_words(&c, &preset, 1), LJ_ERR_CONFIG);
    cr_assert_not_null(strstr(lj_error_text(), "minimal|recipe"), "%s", lj_error_text());
}

/* The published recipe in one table (batch 256, 800 epochs, 4 views of 128 px, ...). */
Test(config, preset_minimal)
{
    cr_assert_eq(lj_config_apply_preset(&c, "minimal"), LJ_OK, "%s", lj_error_text());
    cr_assert_str_eq(c.preset, "minimal");
    cr_assert_str_eq(c.model, "vit_small");
    cr_assert(c.model_patch == 8 && c.data_size == 128 && c.model_drop_path == 0.1);
    cr_assert(c.model_head == 512 && c.views_global == 4 && c.views_local == 0);
    cr_assert(c.views_global_scale[0] == 0.08 && c.views_global_scale[1] == 1);
    cr_assert(c.views_jitter == 0.8 && c.views_brightness == 0.8 && c.views_contrast == 0.8);
    cr_assert(c.views_saturation == 0.8 && c.views_hue == 0.2 && c.views_grey == 0.2);
    cr_assert(c.views_blur == 0.5 && c.views_solarize == 0.1 && c.views_flip == 0.5);
    cr_assert(c.views_blur_sigma[0] == 0.1 && c.views_blur_sigma[1] == 2.0);
    cr_assert_eq(c.views_blur_kernel, 7);
    cr_assert_eq(c.predict_centre, LJ_PREDICT_CENTRE_ALL);
    cr_assert(c.loss_lambda == 0.02 && c.sigreg_slices == 256 && c.projector_out == 16);
    cr_assert(c.optim_lr == 2e-3 && c.optim_lr_floor == 1e-3 && c.optim_weight_decay == 0.05);
    cr_assert(c.optim_warmup_epochs == 1 && c.batch_size == 256 && c.train_epochs == 800);
    cr_assert_eq(c.optim_decay_on, LJ_OPTIM_DECAY_ON_ALL);
}

Test(config, preset_recipe)
{
    cr_assert_eq(lj_config_apply_preset(&c, "recipe"), LJ_OK, "%s", lj_error_text());
    cr_assert(c.views_global == 2 && c.views_local == 6 && c.loss_lambda == 0.05);
    cr_assert(c.sigreg_slices == 1024 && c.projector_out == 64 && c.optim_lr == 5e-4);
    cr_assert(c.views_brightness == 0.4 && c.views_saturation == 0.2 && c.views_hue == 0.1);
    cr_assert(c.views_local_scale[0] == 0.05 && c.views_local_scale[1] == 0.3);
    cr_assert_eq(lj_config_apply_preset(&c, "nothing"), LJ_ERR_CONFIG);
    cr_assert_not_null(strstr(lj_error_text(), "minimal|recipe"));
}

/* Presets of fields set views alone, so that they go with others; the last wins. */
Test(config, presets_of_fields)
{
    static const char *const fields[] = {"microscopy", "astronomy", "materials", "remote_sensing"};
    static struct lj_config plain;
    lj_config_defaults(&plain);
    int count = 0;
    const struct lj_key *key = lj_config_keys(&count);
    for (int f = 0; f < 4; f++) {
        lj_config_defaults(&c);
        cr_assert_eq(lj_config_apply_preset(&c, fields[f]), LJ_OK, "%s", lj_error_text());
        cr_expect(c.views_flip_vertical == 0.5 && c.views_solarize == 0 && c.views_grey == 0);
        cr_expect(fmax(c.views_rotate, c.views_rotate_any) >= 0.75);
        for (int i = 0; i < count; i++) {
            char own[LJ_TEXT_MAX], base[LJ_TEXT_MAX];
            lj_config_value_text(&c, &key[i], own, sizeof own);
            lj_config_value_text(&plain, &key[i], base, sizeof base);
            bool may = strncmp(key[i].name, "views.", 6) == 0 || strcmp(key[i].name, "preset") == 0;
            cr_expect(may || strcmp(own, base) == 0, "%s: %s", fields[f], key[i].name);
        }
    }
    lj_config_defaults(&c);
    const char *both = "preset=minimal,astronomy";
    cr_assert_eq(lj_config_from_words(&c, &both, 1), LJ_OK, "%s", lj_error_text());
    cr_assert_str_eq(c.preset, "minimal,astronomy");
    cr_expect(c.views_global == 4 && c.views_jitter == 0 && c.views_rotate_any == 1);
    const char *wrong[] = {"minimal,", ",minimal", "minimal,nothing", "minimal,,recipe"};
    for (int i = 0; i < 4; i++)
        cr_expect_eq(lj_config_apply_preset(&c, wrong[i]), LJ_ERR_CONFIG, "%s", wrong[i]);
}

/* What fill writes, as text of at most capacity bytes. */
static void captured(char *text, size_t capacity, int (*fill)(FILE *))
{
    memset(text, 0, capacity);
    FILE *out = fmemopen(text, capacity - 1, "w");
    cr_assert_eq(fill(out), LJ_OK, "%s", lj_error_text());
    fclose(out);
}

static int help_all(FILE *out)
{
    return lj_config_help(NULL, out);
}

static int help_lr(FILE *out)
{
    return lj_config_help("optim.lr", out);
}

static int help_preset(FILE *out)
{
    return lj_config_help("preset", out);
}

static int table(FILE *out)
{
    lj_config_write_table(out);
    return LJ_OK;
}

Test(config, help)
{
    static char text[65536];
    captured(text, sizeof text, help_lr);
    cr_assert_eq(
        strncmp(text, "optim.lr=0.0005  (number 0 .. 1000)\n    peak learning rate\n    ", 63), 0);
    cr_assert(strstr(text, "resume.change=optim.lr\n"));
    captured(text, sizeof text, help_preset);
    cr_assert(strstr(text, "minimal: ") && strstr(text, "recipe: "));
    captured(text, sizeof text, help_all);
    cr_assert(strstr(text, "\nseed=0  (integer 0 .. 9007199254740992)\n"));
    cr_assert(strstr(text, "fp32") && strstr(text, "\nout=  (text)\n"));
    cr_assert_eq(lj_config_help("optim.rl", stderr), LJ_ERR_CONFIG);
    cr_assert_not_null(strstr(lj_error_text(), "optim.lr"));
}

Test(config, table_is_github_markdown)
{
    static char text[65536];
    captured(text, sizeof text, table);
    const char *head = "| key | default | values | bits | meaning |\n|---|---|---|---|---|\n";
    cr_assert_eq(strncmp(text, head, strlen(head)), 0);
    cr_assert(strstr(
        text, "\n| `optim.lr` | `0.0005` | number 0 .. 1000 | yes | peak learning rate |\n"));
    cr_assert(strstr(text, "| `reduce` | `exact` | exact\\|fast | yes | gradient sums"));
    cr_assert(strstr(text, "\n| `run.dir` |  | text | no | directory"));
    cr_assert(strstr(text, "\n| `l2` | `0.001` |"));
}
