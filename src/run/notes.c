/* SPDX-License-Identifier: Apache-2.0 */
/* Notes of a sweep on its runs, as JSON. A run is finished if all that its weights and scores are
 * made of is as it was. It is given up only while nothing has changed that may have made it fail:
 * a path may be mended, or the memory that it needs. */
#include "run/notes.h"

#include "run/run.h"
#include "run/state.h"

#include <jansson.h>
#include <string.h>
#include <xxhash.h>

static bool makes_result(const struct lj_key *key)
{
    static const char *const others[] = {"data.archive",    "data.images", "data.labels",
                                         "data.unlabelled", "init",        NULL};
    return key->role == LJ_KEY_BITS || lj_is_one_of(key->name, others);
}

static bool may_fail(const struct lj_key *key)
{
    static const char *const arguments[] = {"init", "resume.change", NULL};
    if (key->role == LJ_KEY_ARGUMENT)
        return lj_is_one_of(key->name, arguments);
    return strcmp(key->name, "run.dir") != 0;
}

/* A word for the values of the settings that count. */
static void values_word(const struct lj_config *c, bool (*counts)(const struct lj_key *key),
                        char word[32])
{
    char value[LJ_TEXT_MAX];
    int count = 0;
    const struct lj_key *key = lj_config_keys(&count);
    uint64_t hash = 0;
    for (int i = 0; i < count; i++)
        if (counts(&key[i])) {
            lj_config_value_text(c, &key[i], value, sizeof value);
            hash = XXH3_64bits_withSeed(value, strlen(value), hash);
        }
    snprintf(word, 32, "%016llx", (unsigned long long)hash);
}

void lj_run_note_now(struct lj_run_note *note, struct lj_config *config)
{
    char dir[LJ_PATH_MAX];
    *note = (struct lj_run_note){.init_known = true, .code = -1};
    values_word(config, may_fail, note->settings);
    if (lj_run_resolve_holdout(config) != LJ_OK) /* the run will say so */
        lj_error_set("");
    values_word(config, makes_result, note->result);
    memcpy(note->init, config->arg_init, sizeof note->init);
    if (lj_checkpoint_directory(config->run_dir, dir) != LJ_OK ||
        lj_checkpoint_last(dir, note->from) != LJ_OK)
        note->from[0] = 0;
}

/* "" if there is no such text. */
static void read_text(const json_t *object, const char *name, char *text, size_t capacity)
{
    const char *there = json_string_value(json_object_get(object, name));
    snprintf(text, capacity, "%s", there ? there : "");
}

void lj_run_note_read(struct lj_run_note *note, const char *path)
{
    json_t *object = json_load_file(path, 0, NULL);
    const json_t *code = json_object_get(object, "code");
    *note = (struct lj_run_note){.code = json_is_integer(code) ? json_integer_value(code) : -1};
    read_text(object, "settings", note->settings, sizeof note->settings);
    read_text(object, "result", note->result, sizeof note->result);
    read_text(object, "init", note->init, sizeof note->init);
    read_text(object, "from", note->from, sizeof note->from);
    note->init_known = json_is_string(json_object_get(object, "init"));
    note->tries = (int)json_integer_value(json_object_get(object, "tries"));
    json_decref(object);
}

void lj_run_note_write(const struct lj_run_note *note, const char *path, const char *error)
{
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:s}", "settings", note->settings, "result",
                  note->result, "init", note->init, "from", note->from, "tries", note->tries,
                  "code", note->code < 0 ? json_null() : json_integer(note->code), "error", error);
    if (!object)
        lj_warn("%s: cannot be written: init=, run.dir or an error's text is no UTF-8; the next "
                "job may repeat this run",
                path);
    else if (lj_json_write(path, object, 17) != LJ_OK)
        lj_warn("%s; the next job may repeat this run", lj_error_text());
    json_decref(object);
}

bool lj_run_note_finished(const struct lj_run_note *now, const struct lj_run_note *last)
{
    return last->code == 0 && now->from[0] && strcmp(now->result, last->result) == 0;
}

int lj_run_note_failures(const struct lj_run_note *now, const struct lj_run_note *last)
{
    bool same = strcmp(now->settings, last->settings) == 0 && strcmp(now->from, last->from) == 0;
    return same && last->code != 0 ? last->tries : 0;
}
