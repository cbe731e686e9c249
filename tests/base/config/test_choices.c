/* SPDX-License-Identifier: Apache-2.0 */
/* Enumerated settings: enums in memory, words in text. */
#include "base/base.h"
#include "lejepa/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct lj_config c;

/* One word of one key: its constant, and where the key's value is kept. */
struct choice {
    const char *key;
    size_t offset;
    int constant;
    const char *word;
};

#define EACH_WORD(constant, word) {constant, word},
#define ADD_CHOICES(role, field, key, init, words, text)                               \
    {                                                                                  \
        const struct {                                                                 \
            int constant;                                                              \
            const char *word;                                                          \
        } all[] = {words};                                                             \
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {                        \
            list[count++] = (struct choice){key, offsetof(struct lj_config, field),    \
                                            all[i].constant, all[i].word};             \
            cr_assert_str_eq(lj_##field##_word((enum lj_##field)i), all[i].word, key); \
        }                                                                              \
    }

enum { MANY = 256 };

/* All words of all keys, from the table itself. Returns their number. */
static int list_choices(struct choice list[MANY])
{
    int count = 0;
    LJ_CHOICE_KEYS(ADD_CHOICES, EACH_WORD)
    return count;
}

static int value_of(const struct choice *choice)
{
    int value = -1;
    memcpy(&value, (char *)&c + choice->offset, sizeof value);
    return value;
}

Test(choices, every_word_goes_to_its_constant_and_back)
{
    struct choice list[MANY];
    int count = list_choices(list);
    cr_assert(count > 35 && count < MANY, "%d", count);
    lj_config_defaults(&c);
    for (int i = 0; i < count; i++) {
        char text[64];
        cr_assert_eq(lj_config_set(&c, list[i].key, list[i].word), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(value_of(&list[i]), list[i].constant, "%s=%s", list[i].key, list[i].word);
        lj_config_value_text(&c, lj_config_key(list[i].key), text, sizeof text);
        cr_assert_str_eq(text, list[i].word, "%s", list[i].key);
    }
}

Test(choices, every_word_survives_yaml)
{
    struct choice list[MANY];
    int count = list_choices(list);
    for (int i = 0; i < count; i++) {
        if (lj_config_key(list[i].key)->role == LJ_KEY_ARGUMENT)
            continue;
        lj_config_defaults(&c);
        cr_assert_eq(lj_config_set(&c, list[i].key, list[i].word), LJ_OK);
        char *yaml = lj_config_yaml(&c), line[128];
        snprintf(line, sizeof line, "\n%s: %s\n", list[i].key, list[i].word);
        cr_assert_not_null(strstr(yaml, line), "%s", line);
        lj_config_defaults(&c);
        cr_assert_eq(lj_config_read_text(&c, yaml, "text"), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(value_of(&list[i]), list[i].constant, "%s=%s", list[i].key, list[i].word);
        lj_free(yaml);
    }
}

Test(choices, other_words_are_refused_and_change_nothing)
{
    struct choice list[MANY];
    int count = list_choices(list);
    lj_config_defaults(&c);
    for (int i = 0; i < count; i++) {
        const struct lj_key *key = lj_config_key(list[i].key);
        const char *const wrong[] = {"", "fp3", "NONE", "0", "none ", key->choices};
        cr_assert_eq(lj_config_set(&c, list[i].key, list[i].word), LJ_OK);
        for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
            char expected[256];
            snprintf(expected, sizeof expected, "%s: '%s' is not a choice; expected one of %s",
                     key->name, wrong[w], key->choices);
            cr_assert_eq(lj_config_set(&c, key->name, wrong[w]), LJ_ERR_CONFIG, "%s", wrong[w]);
            cr_assert_str_eq(lj_error_text(), expected);
            cr_assert_eq(value_of(&list[i]), list[i].constant, "%s", key->name);
        }
    }
}

Test(choices, constants_are_typed)
{
    lj_config_defaults(&c);
    cr_assert(c.precision == LJ_PRECISION_FP32 && c.data_axes == LJ_DATA_AXES_AUTO);
    cr_assert(c.run_measure_peak == LJ_RUN_MEASURE_PEAK_FALSE);
    cr_assert_eq(lj_config_assign(&c, "precision=bf16"), LJ_OK);
    cr_assert_eq(c.precision, LJ_PRECISION_BF16);
    cr_assert_str_eq(lj_precision_word(c.precision), "bf16");
    cr_assert_str_eq(lj_config_key("precision")->choices, "fp32|bf16|auto");
    cr_assert_str_eq(lj_config_key("run.measure_peak")->choices, "false|true");
}
