/* SPDX-License-Identifier: Apache-2.0 */
/* The table of objectives, and what a row may ask for. */
#include "loss/loss.h"

#include <criterion/criterion.h>
#include <string.h>

Test(objective, rows_are_found_by_name)
{
    const struct lj_objective_kind *kind = NULL;
    cr_assert_eq(lj_objective_find("lejepa", &kind), LJ_OK);
    cr_assert(kind == &lj_objective_lejepa && lj_objective_terms(kind) == 3);
    cr_assert_str_eq(kind->term[0].name, "loss");
    cr_assert_eq(lj_objective_find("vicreg", &kind), LJ_OK);
    cr_assert(kind == &lj_objective_vicreg && lj_objective_terms(kind) == 4);
    cr_assert_eq(lj_objective_find("supervised", &kind), LJ_OK);
    cr_assert(kind == &lj_objective_supervised && lj_objective_terms(kind) == 2);
    cr_assert_eq(lj_objective_find("simclr", &kind), LJ_OK);
    cr_assert(kind == &lj_objective_simclr && lj_objective_terms(kind) == 3);
}

Test(objective, an_unknown_name_is_answered_with_those_there_are)
{
    const struct lj_objective_kind *kind = NULL;
    cr_assert_eq(lj_objective_find("lejep", &kind), LJ_ERR_CONFIG);
    cr_assert(strstr(lj_error_text(), "'lejep'") &&
                  strstr(lj_error_text(), "lejepa, byol, dino, simclr, supervised, vicreg"),
              "%s", lj_error_text());
    cr_assert_eq(lj_objective_find("", &kind), LJ_ERR_CONFIG);
}

static int created;

static int create(void **state, int64_t *sums, const struct lj_config *config,
                  const struct lj_objective_shape *shape)
{
    (void)config, (void)shape;
    created++;
    *state = NULL;
    *sums = 1;
    return LJ_OK;
}

static void destroy(void *state)
{
    (void)state;
    created--;
}

/* A row that asks for something is refused by name unless it is given; nothing is made then. */
Test(objective, a_need_that_is_not_given_is_refused)
{
    static const struct {
        unsigned need;
        const char *text;
    } needs[] = {{LJ_NEED_LABELS, "labels"},
                 {LJ_NEED_PREDICTOR, "predictor"},
                 {LJ_NEED_AVERAGE, "moving average"},
                 {LJ_NEED_STATE, "state"},
                 {LJ_NEED_PROTOTYPES, "prototypes"}};
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
        struct lj_objective *objective = NULL;
        struct lj_objective_kind kind = {.name = "wish",
                                         .needs = needs[i].need,
                                         .message = "wish",
                                         .create = create,
                                         .destroy = destroy};
        struct lj_objective_shape shape = {.workers = 2, .gives = ~needs[i].need};
        int status = lj_objective_create(&objective, NULL, &kind, NULL, &shape, NULL);
        cr_assert_eq(status, LJ_ERR_CONFIG, "%s", needs[i].text);
        cr_assert(strstr(lj_error_text(), "objective=wish") &&
                      strstr(lj_error_text(), needs[i].text),
                  "%s", lj_error_text());
        cr_assert(created == 0 && !objective);
        shape.gives = needs[i].need;
        status = lj_objective_create(&objective, NULL, &kind, NULL, &shape, NULL);
        cr_assert(status == LJ_OK && created == 1, "%s", needs[i].text);
        lj_objective_destroy(objective);
        cr_assert_eq(created, 0);
    }
}
