/* SPDX-License-Identifier: Apache-2.0 */
/* The points of a grid, from the text "KEY=VALUE|VALUE|...;KEY=...": a YAML file's mapping `grid`
 * becomes the same text. */
#include "run/run.h"

#include "models/models.h"

#include <ctype.h>
#include <string.h>

enum { AXES_MAX = 16, VALUES_MAX = 256, POINTS_MAX = 10000 };

/* A setting and its values. */
struct axis {
    const char *key;
    const char *value[VALUES_MAX];
    int values;
};

struct lj_grid {
    const struct lj_config *config; /* not owned */
    char text[LJ_TEXT_MAX];         /* of grid=, cut into the words that axes point to */
    struct axis axis[AXES_MAX];
    int axes, points;
};

/* The next word of *text, up to the separator, which becomes its end; NULL: no more. */
static char *next_word(char **text, char separator)
{
    if (!*text)
        return NULL;
    char *word = *text + strspn(*text, " "), *end = strchr(word, separator);
    *text = end ? end + 1 : NULL;
    if (end)
        *end = 0;
    return word;
}

/* Characters that a file's name should not have become '_'. */
static void append_safe(char *name, size_t capacity, const char *text)
{
    size_t used = strlen(name);
    for (; *text && used + 1 < capacity; text++)
        name[used++] = isalnum((unsigned char)*text) || strchr(".,+-", *text) ? *text : '_';
    name[used] = 0;
}

static int check_key(const struct lj_grid *grid, const char *name)
{
    const struct lj_key *key = lj_config_key(name);
    if (!key || key->role == LJ_KEY_ARGUMENT || strcmp(name, "run.dir") == 0 ||
        strcmp(name, "preset") == 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "grid: '%s' is no setting that runs can differ in; `lejepa_mpi help` lists "
                       "all",
                       name);
    for (int a = 0; a < grid->axes; a++)
        if (strcmp(grid->axis[a].key, name) == 0)
            return lj_fail(LJ_ERR_CONFIG, "grid: %s is there twice", name);
    return LJ_OK;
}

static int add_value(struct axis *axis, const char *value)
{
    char safe[LJ_GRID_NAME_MAX] = "", other[LJ_GRID_NAME_MAX];
    append_safe(safe, sizeof safe, value);
    for (int v = 0; v < axis->values; v++) {
        other[0] = 0;
        append_safe(other, sizeof other, axis->value[v]);
        if (strcmp(safe, other) == 0)
            return lj_fail(LJ_ERR_CONFIG, "grid: %s has the value %s twice", axis->key, value);
    }
    if (axis->values == VALUES_MAX)
        return lj_fail(LJ_ERR_CONFIG, "grid: %s has more than %d values", axis->key, VALUES_MAX);
    axis->value[axis->values++] = value;
    return LJ_OK;
}

/* KEY=VALUE|VALUE */
static int add_axis(struct lj_grid *grid, char *text)
{
    char *values = text, *key = next_word(&values, '=');
    if (!values)
        return lj_fail(LJ_ERR_CONFIG,
                       "grid: '%s': expected a setting with its values, as in "
                       "loss.lambda=0.02|0.05",
                       text);
    LJ_TRY(check_key(grid, key));
    if (grid->axes == AXES_MAX)
        return lj_fail(LJ_ERR_CONFIG, "grid: more than %d settings", AXES_MAX);
    struct axis *axis = &grid->axis[grid->axes++];
    axis->key = key;
    for (char *value = next_word(&values, '|'); value; value = next_word(&values, '|'))
        LJ_TRY(add_value(axis, value));
    grid->points *= axis->values;
    if (grid->points > POINTS_MAX)
        return lj_fail(LJ_ERR_CONFIG, "grid: more than %d runs", POINTS_MAX);
    return LJ_OK;
}

/* Every value must be one of its setting, and the longest name a file's. */
static int check_values(const struct lj_grid *grid)
{
    char name[LJ_GRID_NAME_MAX];
    struct lj_config *point = lj_alloc(sizeof *point, "grid");
    int status = point ? LJ_OK : LJ_ERR_RESOURCE;
    for (int k = 0; status == LJ_OK && k < grid->points; k++) {
        status = lj_grid_config(grid, k, point);
        lj_grid_name(grid, k, name);
        if (status == LJ_OK && strlen(name) + 1 == sizeof name)
            status = lj_fail(LJ_ERR_CONFIG, "grid: the name %s... is too long", name);
    }
    lj_free(point);
    return status;
}

static int read_grid(struct lj_grid *grid)
{
    char *text = grid->text;
    memcpy(grid->text, grid->config->arg_grid, sizeof grid->text);
    if (!grid->text[0])
        return lj_fail(LJ_ERR_CONFIG, "grid: is empty; give the settings to try with their values, "
                                      "as in grid='loss.lambda=0.02|0.05;optim.lr=0.0005|0.001'");
    grid->points = 1;
    for (char *axis = next_word(&text, ';'); axis; axis = next_word(&text, ';'))
        LJ_TRY(add_axis(grid, axis));
    return check_values(grid);
}

int lj_grid_create(struct lj_grid **grid, const struct lj_config *config)
{
    struct lj_grid *g = lj_alloc(sizeof *g, "grid");
    *grid = g;
    if (!g)
        return LJ_ERR_RESOURCE;
    g->config = config;
    return read_grid(g);
}

void lj_grid_destroy(struct lj_grid *grid)
{
    lj_free(grid);
}

int lj_grid_points(const struct lj_grid *grid)
{
    return grid->points;
}

/* Which value of each setting a point has. */
static void values_of(const struct lj_grid *grid, int point, const char *value[AXES_MAX])
{
    for (int a = grid->axes - 1; a >= 0; a--) {
        value[a] = grid->axis[a].value[point % grid->axis[a].values];
        point /= grid->axis[a].values;
    }
}

void lj_grid_name(const struct lj_grid *grid, int point, char name[LJ_GRID_NAME_MAX])
{
    const char *value[AXES_MAX];
    values_of(grid, point, value);
    name[0] = 0;
    for (int a = 0; a < grid->axes; a++) {
        append_safe(name, LJ_GRID_NAME_MAX, a ? "," : "");
        append_safe(name, LJ_GRID_NAME_MAX, grid->axis[a].key);
        append_safe(name, LJ_GRID_NAME_MAX, "_");
        append_safe(name, LJ_GRID_NAME_MAX, value[a]);
    }
}

void lj_grid_dir(const struct lj_grid *grid, int point, char dir[LJ_PATH_MAX])
{
    char name[LJ_GRID_NAME_MAX];
    lj_grid_name(grid, point, name);
    snprintf(dir, LJ_PATH_MAX, "%.3700s/%s", grid->config->run_dir, name);
}

int lj_grid_config(const struct lj_grid *grid, int point, struct lj_config *config)
{
    const char *value[AXES_MAX];
    const struct lj_encoder *encoder;
    *config = *grid->config;
    values_of(grid, point, value);
    for (int a = 0; a < grid->axes; a++)
        if (lj_config_set(config, grid->axis[a].key, value[a]) != LJ_OK)
            return lj_fail(LJ_ERR_CONFIG, "grid: %s", lj_error_text());
    lj_grid_dir(grid, point, config->run_dir);
    return lj_encoder_find(config->model, &encoder);
}
