/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a run. The names of the columns of metrics.jsonl are those of the file, so that
 * another objective's terms are there, too. */
#include "app/history.h"

#include "store/store.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16384 };

int lj_history_column(const struct lj_history *history, const char *name)
{
    for (int i = 0; i < history->columns; i++)
        if (strcmp(history->name[i], name) == 0)
            return i;
    return -1;
}

double lj_history_value(const struct lj_history *history, int64_t row, int column)
{
    return column < 0 ? NAN : history->value[row * LJ_HISTORY_COLUMNS + column];
}

double lj_history_last(const struct lj_history *history, const char *name)
{
    int column = lj_history_column(history, name);
    for (int64_t row = history->rows - 1; row >= 0; row--)
        if (isfinite(lj_history_value(history, row, column)))
            return lj_history_value(history, row, column);
    return NAN;
}

void lj_history_free(struct lj_history *history)
{
    lj_free(history->value);
    *history = (struct lj_history){0};
}

static int grow(struct lj_history *history)
{
    const size_t row_bytes = LJ_HISTORY_COLUMNS * sizeof *history->value;
    int64_t capacity = 2 * history->capacity + 256;
    double *value = lj_alloc_array(capacity, row_bytes, "metrics");
    if (!value)
        return LJ_ERR_RESOURCE;
    if (history->rows > 0)
        memcpy(value, history->value, (size_t)history->rows * row_bytes);
    lj_free(history->value);
    history->value = value;
    history->capacity = capacity;
    return LJ_OK;
}

/* Names become names of files and columns. */
static bool is_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return length > 0 && length < LJ_HISTORY_NAME && !name[length];
}

/* The column of a member, added where it is new; -1: there is no room for it. */
static int column_for(struct lj_history *history, const char *name)
{
    int column = lj_history_column(history, name);
    if (column >= 0 || history->columns == LJ_HISTORY_COLUMNS || !is_name(name))
        return column;
    snprintf(history->name[history->columns], LJ_HISTORY_NAME, "%s", name);
    return history->columns++;
}

static int add_line(struct lj_history *history, json_t *line)
{
    const char *name;
    json_t *member;
    if (history->rows == history->capacity)
        LJ_TRY(grow(history));
    double *row = history->value + history->rows++ * LJ_HISTORY_COLUMNS;
    for (int i = 0; i < LJ_HISTORY_COLUMNS; i++)
        row[i] = NAN;
    json_object_foreach(line, name, member)
    {
        bool number = json_is_number(member) || json_is_null(member) || json_is_true(member);
        int column = number ? column_for(history, name) : -1;
        if (column >= 0 && !json_is_null(member))
            row[column] = json_is_true(member) ? 1 : json_number_value(member);
    }
    return LJ_OK;
}

/* Reads a line without its end. Returns whether there was one; a line that does not fit is empty.
 */
static bool next_line(FILE *file, char line[LINE_MAX_BYTES])
{
    if (!fgets(line, LINE_MAX_BYTES, file))
        return false;
    if (strchr(line, '\n') || feof(file))
        return true;
    line[0] = 0;
    for (int c = getc(file); c != EOF && c != '\n';)
        c = getc(file);
    return true;
}

static int read_lines(FILE *file, struct lj_history *steps, struct lj_history *evaluations,
                      int64_t *skipped)
{
    char line[LINE_MAX_BYTES];
    int status = LJ_OK;
    while (status == LJ_OK && next_line(file, line)) {
        json_t *object = json_loads(line, 0, NULL);
        if (json_is_number(json_object_get(object, "step")))
            status = add_line(json_object_get(object, "event") ? evaluations : steps, object);
        else
            ++*skipped;
        json_decref(object);
        lj_progress();
    }
    return status;
}

int lj_history_settings(const char *dir, struct lj_config *config)
{
    char path[LJ_PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/config.yaml", dir);
    lj_config_defaults(config);
    if (access(path, R_OK) != 0)
        return lj_fail(LJ_ERR_DATA, "%s: is no directory of a run: it has no config.yaml", dir);
    return lj_config_read_file(config, path) == LJ_OK ? LJ_OK : LJ_ERR_DATA;
}

int lj_history_read(const char *dir, struct lj_history *steps, struct lj_history *evaluations,
                    int64_t *skipped)
{
    *steps = *evaluations = (struct lj_history){0};
    *skipped = 0;
    char path[LJ_PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/metrics.jsonl", dir);
    FILE *file = fopen(path, "re");
    if (!file)
        return LJ_OK;
    int status = read_lines(file, steps, evaluations, skipped);
    fclose(file);
    return status;
}
