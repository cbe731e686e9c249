/* SPDX-License-Identifier: Apache-2.0 */
/* The points of a sweep's grid, and how many runs it makes at once. */
#include "run/run.h"

#include <criterion/criterion.h>
#include <string.h>

static struct lj_config config, point;

static int create(struct lj_grid **grid, const char *text)
{
    lj_config_defaults(&config);
    snprintf(config.run_dir, sizeof config.run_dir, "runs/s");
    snprintf(config.arg_grid, sizeof config.arg_grid, "%s", text);
    return lj_grid_create(grid, &config);
}

Test(grid, every_combination_the_last_setting_first)
{
    struct lj_grid *grid = NULL;
    const double lambda[] = {0.02, 0.02, 0.02, 0.2, 0.2, 0.2};
    const char *const model[] = {"vit_tiny", "resnet18", "vit_small"};
    cr_assert_eq(create(&grid, "loss.lambda=0.02|0.2; model=vit_tiny|resnet18|vit_small"), LJ_OK,
                 "%s", lj_error_text());
    cr_assert_eq(lj_grid_points(grid), 6);
    for (int k = 0; k < 6; k++) {
        char name[LJ_GRID_NAME_MAX], wanted[LJ_GRID_NAME_MAX];
        cr_assert_eq(lj_grid_config(grid, k, &point), LJ_OK);
        cr_assert_eq(point.loss_lambda, lambda[k]);
        cr_assert_str_eq(point.model, model[k % 3]);
        lj_grid_name(grid, k, name);
        snprintf(wanted, sizeof wanted, "loss.lambda_%g,model_%s", lambda[k], model[k % 3]);
        cr_assert_str_eq(name, wanted);
        cr_assert(strncmp(point.run_dir, "runs/s/", 7) == 0);
        cr_assert_str_eq(point.run_dir + 7, wanted);
    }
    lj_grid_destroy(grid);
}

Test(grid, names_are_those_of_files)
{
    struct lj_grid *grid = NULL;
    char name[LJ_GRID_NAME_MAX];
    cr_assert_eq(create(&grid, "data.archive=/a/b c.h5;views.local_scale=0.1,0.3"), LJ_OK);
    lj_grid_name(grid, 0, name);
    cr_assert_str_eq(name, "data.archive__a_b_c.h5,views.local_scale_0.1,0.3");
    lj_grid_destroy(grid);
}

Test(grid, what_is_refused)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "is empty"},
        {"loss.lambda", "expected a setting with its values"},
        {"loss.lambdda=1|2", "'loss.lambdda' is no setting"},
        {"run.dir=a|b", "'run.dir' is no setting"},
        {"preset=recipe|minimal", "'preset' is no setting"},
        {"json=0|1", "'json' is no setting"},
        {"loss.lambda=1|2;loss.lambda=3", "loss.lambda is there twice"},
        {"loss.lambda=1|2|1", "the value 1 twice"},
        {"loss.lambda=1|x", "loss.lambda"},
        {"loss.lambda=1|", "loss.lambda"},
        {"model=vit_tiny|vit_tinny", "vit_tinny"},
        {"seed=1|2|3|4|5|6|7|8|9|10;data.window=1|2|3|4|5|6|7|8|9|10;"
         "model.width=1|2|3|4|5|6|7|8|9|10;model.depth=1|2|3|4|5|6|7|8|9|10;train.steps=1|2",
         "more than 10000 runs"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lj_grid *grid = NULL;
        cr_assert_eq(create(&grid, cases[i].text), LJ_ERR_CONFIG, "%s", cases[i].text);
        cr_assert(strstr(lj_error_text(), cases[i].why), "%s: %s", cases[i].text, lj_error_text());
        lj_grid_destroy(grid);
    }
}

Test(grid, from_yaml)
{
    struct lj_grid *grid = NULL;
    lj_config_defaults(&config);
    cr_assert_eq(lj_config_read_text(&config,
                                     "run.dir: r\n"
                                     "grid:\n"
                                     "  loss: {lambda: [0.02, 0.2]}\n"
                                     "  optim.lr: [1e-3]\n",
                                     "text"),
                 LJ_OK, "%s", lj_error_text());
    cr_assert_str_eq(config.arg_grid, "loss.lambda=0.02|0.2;optim.lr=1e-3");
    cr_assert_eq(lj_grid_create(&grid, &config), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_grid_points(grid), 2);
    lj_grid_destroy(grid);
    cr_assert_eq(lj_config_read_text(&config, "grid: {seed: [1, [2]]}", "text"), LJ_ERR_CONFIG);
    cr_assert_eq(lj_config_read_text(&config, "grid: {seed: ['1|2']}", "text"), LJ_ERR_CONFIG);
    cr_assert_eq(lj_config_read_text(&config, "grid: {seed: 1}", "text"), LJ_ERR_CONFIG);
}

Test(grid, groups)
{
    cr_assert_eq(lj_sweep_groups(8, 0, 100), 8);
    cr_assert_eq(lj_sweep_groups(8, 0, 6), 4);
    cr_assert_eq(lj_sweep_groups(7, 0, 6), 1);
    cr_assert_eq(lj_sweep_groups(12, 0, 5), 4);
    cr_assert_eq(lj_sweep_groups(8, 3, 6), 2);
    cr_assert_eq(lj_sweep_groups(8, 8, 6), 1);
}
