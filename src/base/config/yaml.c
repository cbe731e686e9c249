/* SPDX-License-Identifier: Apache-2.0 */
/* YAML in and out. libyaml's events are flattened to dotted keys: a mapping in a mapping extends
 * the name, a scalar is a value, a sequence of two scalars is a pair, those in `grid` are values to
 * try. Of equal keys the last wins.
 * Anchors, aliases and other sequences are refused: what is read is what stands there. */
#include "base/config/config.h"

#include <errno.h>
#include <string.h>
#include <yaml.h>

enum { NAME_CAPACITY = 256, DEPTH_MAX = 16 };

static const char GRID[] = "grid."; /* a mapping of lists: the values that a sweep tries */

struct reader {
    struct lj_config *config;
    const char *path;
    yaml_parser_t parser;
    yaml_event_t event;       /* the present one */
    char name[NAME_CAPACITY]; /* dotted key being read */
};

static unsigned long line_of(const struct reader *r)
{
    return (unsigned long)r->event.start_mark.line + 1;
}

/* Fails with "file:line: reason", the line that of the present event. */
static int fail_here(const struct reader *r, const char *reason)
{
    return lj_fail(LJ_ERR_CONFIG, "%s:%lu: %s", r->path, line_of(r), reason);
}

/* Replaces the present event by the next one. */
static int advance(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event))
        return LJ_OK;
    const yaml_parser_t *p = &r->parser;
    return lj_fail(LJ_ERR_CONFIG, "%s:%lu: not valid YAML: %s%s%s", r->path,
                   (unsigned long)p->problem_mark.line + 1,
                   p->problem ? p->problem : "out of memory", p->context ? ", " : "",
                   p->context ? p->context : "");
}

/* The text of the present event, which must be a plain scalar. */
static int scalar(struct reader *r, const char **text)
{
    if (r->event.type == YAML_ALIAS_EVENT)
        return fail_here(r, "an alias (*name) is not supported; write the value itself");
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_here(r, "expected one value, found a nested list or mapping");
    if (r->event.data.scalar.anchor)
        return fail_here(r, "an anchor (&name) is not supported; write the value alone");
    *text = (const char *)r->event.data.scalar.value;
    if (strlen(*text) != r->event.data.scalar.length)
        return fail_here(r, "a value holds a zero byte");
    return LJ_OK;
}

static int set_value(struct reader *r, const char *value, unsigned long line)
{
    int status = lj_config_set(r->config, r->name, value);
    if (status == LJ_OK)
        return LJ_OK;
    return lj_fail(status, "%s:%lu: %s", r->path, line, lj_error_text());
}

/* [a, b] of a pair; the present event starts the sequence. */
static int read_pair(struct reader *r)
{
    const struct lj_key *key = lj_config_key(r->name);
    unsigned long line = line_of(r);
    char both[2 * 64 + 2] = "";
    if (r->event.data.sequence_start.anchor)
        return fail_here(r, "an anchor (&name) is not supported; write the value alone");
    if (key && key->type != LJ_KEY_PAIR)
        return lj_fail(LJ_ERR_CONFIG,
                       "%s:%lu: %s takes one value, not a list; join files with commas", r->path,
                       line, r->name);
    for (int i = 0;; i++) {
        const char *text = NULL;
        LJ_TRY(advance(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT && i == 2)
            return set_value(r, both, line);
        if (r->event.type == YAML_SEQUENCE_END_EVENT || i == 2)
            return fail_here(r, "expected a list of exactly two numbers");
        LJ_TRY(scalar(r, &text));
        if (strlen(text) >= 64 || strchr(text, ','))
            return fail_here(r, "expected a list of two numbers");
        size_t used = strlen(both);
        snprintf(both + used, sizeof both - used, "%s%s", i ? "," : "", text);
    }
}

/* Adds KEY=VALUE|VALUE to the text of grid=, from a list in the mapping `grid`; the present event
 * starts it. */
static int read_grid_axis(struct reader *r)
{
    char text[LJ_TEXT_MAX];
    unsigned long line = line_of(r);
    const char *grid = r->config->arg_grid;
    size_t used = (size_t)snprintf(text, sizeof text, "%s%s%s=", grid, grid[0] ? ";" : "",
                                   r->name + strlen(GRID));
    for (int i = 0; used < sizeof text; i++) {
        const char *value = NULL;
        LJ_TRY(advance(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT) {
            int status = lj_config_set(r->config, "grid", text);
            return status == LJ_OK ? LJ_OK
                                   : lj_fail(status, "%s:%lu: %s", r->path, line, lj_error_text());
        }
        LJ_TRY(scalar(r, &value));
        if (strpbrk(value, "|;"))
            return fail_here(r, "a value of a grid holds '|' or ';'");
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? "|" : "", value);
    }
    return fail_here(r, "the grid is too long");
}

static int read_mapping(struct reader *r, int depth);

/* The value of r->name; the present event starts it. */
static int read_value(struct reader *r, int depth)
{
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return read_mapping(r, depth + 1);
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return strncmp(r->name, GRID, strlen(GRID)) == 0 ? read_grid_axis(r) : read_pair(r);
    const char *text = NULL;
    LJ_TRY(scalar(r, &text));
    return set_value(r, text, line_of(r));
}

/* All keys of a mapping; the present event starts it and, at return, ends it. */
static int read_mapping(struct reader *r, int depth)
{
    size_t prefix = strlen(r->name);
    if (r->event.data.mapping_start.anchor)
        return fail_here(r, "an anchor (&name) is not supported; write the mapping alone");
    if (depth > DEPTH_MAX)
        return fail_here(r, "mappings are nested too deeply");
    for (;;) {
        const char *text = NULL;
        LJ_TRY(advance(r));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return LJ_OK;
        LJ_TRY(scalar(r, &text));
        int length = snprintf(r->name + prefix, sizeof r->name - prefix, "%s%s",
                              prefix > 0 ? "." : "", text);
        if (length < 0 || (size_t)length >= sizeof r->name - prefix)
            return fail_here(r, "a key is longer than any known one");
        LJ_TRY(advance(r));
        LJ_TRY(read_value(r, depth));
        r->name[prefix] = 0;
    }
}

/* Stream start, at most one document holding a mapping (or nothing), stream end. */
static int read_stream(struct reader *r)
{
    LJ_TRY(advance(r));
    LJ_TRY(advance(r));
    if (r->event.type == YAML_STREAM_END_EVENT)
        return LJ_OK;
    LJ_TRY(advance(r));
    bool nothing = r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.length == 0;
    if (!nothing && r->event.type != YAML_MAPPING_START_EVENT)
        return fail_here(r, "expected lines of `key: value`");
    if (!nothing)
        LJ_TRY(read_mapping(r, 1));
    LJ_TRY(advance(r));
    LJ_TRY(advance(r));
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fail_here(r, "a second document starts here; expected one");
    return LJ_OK;
}

static int read_open(struct lj_config *config, FILE *file, const char *path)
{
    struct reader r = {.config = config, .path = path};
    int status = LJ_OK;
    if (yaml_parser_initialize(&r.parser)) {
        yaml_parser_set_input_file(&r.parser, file);
        status = read_stream(&r);
        yaml_event_delete(&r.event);
        yaml_parser_delete(&r.parser);
    } else {
        status = lj_fail(LJ_ERR_RESOURCE, "%s: no memory for reading YAML", path);
    }
    fclose(file);
    return status;
}

int lj_config_read_file(struct lj_config *config, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return lj_fail(LJ_ERR_CONFIG, "%s: cannot open the configuration: %s", path,
                       strerror(errno));
    return read_open(config, file, path);
}

int lj_config_read_text(struct lj_config *config, const char *text, const char *origin)
{
    FILE *file = fmemopen((void *)text, strlen(text), "rb");
    if (!file)
        return lj_fail(LJ_ERR_CONFIG, "%s: holds no configuration", origin);
    return read_open(config, file, origin);
}

/* ---- out --------------------------------------------------------------------------------- */

/* Must this code point be escaped between double quotes? What YAML 1.1 calls not printable, line
 * breaks, and the two that mean something there. */
static bool needs_escape(long code)
{
    return code < 0x20 || code == '"' || code == '\\' || (code >= 0x7F && code < 0xA0) ||
           code == 0x2028 || code == 0x2029 || code == 0xFEFF || code == 0xFFFE || code == 0xFFFF;
}

static void write_quoted(const char *text, FILE *out)
{
    fputc('"', out);
    while (*text) {
        const char *start = text;
        long code = lj_utf8_next(&text);
        LJ_CHECK(code >= 0, "a configuration text is not UTF-8");
        if (needs_escape(code))
            fprintf(out, "\\u%04lX", (unsigned long)code);
        else
            fwrite(start, 1, (size_t)(text - start), out);
    }
    fputc('"', out);
}

static void write_value(const struct lj_key *key, const char *text, FILE *out)
{
    fprintf(out, "%s: ", key->name);
    if (key->type == LJ_KEY_TEXT)
        write_quoted(text, out);
    else if (key->type == LJ_KEY_PAIR)
        fprintf(out, "[%s]", text);
    else
        fputs(text, out);
    fputc('\n', out);
}

/* base: NULL: all values are written. */
static void write_settings(const struct lj_config *config, const struct lj_config *base, FILE *out)
{
    int count = 0;
    const struct lj_key *keys = lj_config_keys(&count);
    for (int i = 0; i < count; i++) {
        char text[LJ_TEXT_MAX], base_text[LJ_TEXT_MAX];
        if (keys[i].role == LJ_KEY_ARGUMENT)
            continue;
        lj_config_value_text(config, &keys[i], text, sizeof text);
        if (base)
            lj_config_value_text(base, &keys[i], base_text, sizeof base_text);
        if (!base || strcmp(text, base_text) != 0)
            write_value(&keys[i], text, out);
    }
}

void lj_config_write_yaml(const struct lj_config *config, FILE *out)
{
    write_settings(config, NULL, out);
}

void lj_config_write_differences(const struct lj_config *config, const struct lj_config *base,
                                 FILE *out)
{
    write_settings(config, base, out);
}

/* Every byte of a value may become six (\uXXXX), each line has a key and punctuation. */
static size_t yaml_bound(void)
{
    int count = 0;
    lj_config_keys(&count);
    return (size_t)count * (6 * (size_t)LJ_TEXT_MAX + 128);
}

char *lj_config_yaml(const struct lj_config *config)
{
    char *text = lj_alloc(yaml_bound(), "configuration");
    FILE *out = text ? fmemopen(text, yaml_bound(), "w") : NULL;
    if (!out) {
        lj_free(text);
        lj_fail(LJ_ERR_RESOURCE, "out of memory for the configuration's text");
        return NULL;
    }
    lj_config_write_yaml(config, out);
    fclose(out);
    return text;
}
