/* SPDX-License-Identifier: Apache-2.0 */
/* Which value wins: defaults < preset < files in order < key=value in order, from the words of a
 * command line. */
#include "base/config/config.h"

#include <string.h>

/* A '/' before the first '=' makes it a path: no key has one. */
static bool is_assignment(const char *word)
{
    return word[strcspn(word, "=/")] == '=';
}

static int check_file_word(const char *word)
{
    const char *dot = strrchr(word, '.');
    if (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG, "'%.80s' is neither key=value nor a file named *.yaml", word);
}

/* Files in order, then assignments in order, onto what config holds. */
static int read_words(struct lj_config *config, const char *const *words, int count)
{
    for (int i = 0; i < count; i++) {
        if (is_assignment(words[i]))
            continue;
        LJ_TRY(check_file_word(words[i]));
        LJ_TRY(lj_config_read_file(config, words[i]));
    }
    for (int i = 0; i < count; i++)
        if (is_assignment(words[i]))
            LJ_TRY(lj_config_assign(config, words[i]));
    return LJ_OK;
}

int lj_config_apply_words(struct lj_config *config, const char *const *words, int count)
{
    return read_words(config, words, count);
}

int lj_config_from_words(struct lj_config *config, const char *const *words, int count)
{
    char preset[LJ_TEXT_MAX];
    lj_config_defaults(config);
    LJ_TRY(read_words(config, words, count)); /* tells the preset, wherever it stands */
    if (!config->preset[0])
        return LJ_OK;
    memcpy(preset, config->preset, sizeof preset);
    lj_config_defaults(config);
    LJ_TRY(lj_config_apply_preset(config, preset));
    return read_words(config, words, count);
}
