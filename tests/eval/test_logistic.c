/* SPDX-License-Identifier: Apache-2.0 */
/* The loss against a plain formula, its gradient against central differences, over block edges. */
#include "eval/logistic.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>

enum { ROWS = 259, WIDTH = 9, CLASSES = 5, COUNT = (WIDTH + 1) * CLASSES };

static float x[ROWS * WIDTH];
static int32_t member[ROWS];
static double w[COUNT];

static void fill(void)
{
    for (int i = 0; i < ROWS * WIDTH; i++)
        x[i] = i % WIDTH == 4 ? 0.1f : 3 * sinf((float)(i * i % 1009)); /* feature 4: constant */
    for (int i = 0; i < ROWS; i++)
        member[i] = i * 7 % 11 % CLASSES;
    for (int i = 0; i < COUNT; i++)
        w[i] = cos(i);
}

/* Everything straight from the definition, in long double. */
static double plain_loss(double l2)
{
    long double sum = 0, square = 0, mean[WIDTH], deviation[WIDTH];
    for (int j = 0; j < WIDTH; j++) {
        mean[j] = deviation[j] = 0;
        for (int r = 0; r < ROWS; r++)
            mean[j] += x[r * WIDTH + j] / (long double)ROWS;
        for (int r = 0; r < ROWS; r++)
            deviation[j] += powl(x[r * WIDTH + j] - mean[j], 2) / ROWS;
    }
    for (int r = 0; r < ROWS; r++) {
        long double total = 0, own = 0;
        for (int k = 0; k < CLASSES; k++) {
            long double logit = w[WIDTH * CLASSES + k];
            for (int j = 0; j < WIDTH; j++)
                if (j != 4)
                    logit +=
                        (x[r * WIDTH + j] - mean[j]) / sqrtl(deviation[j]) * w[j * CLASSES + k];
            total += expl(logit);
            own = k == member[r] ? logit : own;
        }
        sum += logl(total) - own;
    }
    for (int i = 0; i < WIDTH * CLASSES; i++)
        square += w[i] * w[i];
    return (double)(sum / ROWS + l2 / 2 * square);
}

Test(logistic, loss_and_gradient)
{
    struct lj_logistic problem;
    double gradient[COUNT], unused[COUNT];
    fill();
    cr_assert_eq(lj_logistic_create(&problem, x, member, ROWS, WIDTH, CLASSES, 0.3), LJ_OK);
    cr_assert_float_eq(lj_logistic_value(&problem, w, gradient), plain_loss(0.3), 1e-12);
    for (int i = 0; i < COUNT; i++) {
        double kept = w[i], h = 1e-5;
        w[i] = kept + h;
        double up = lj_logistic_value(&problem, w, unused);
        w[i] = kept - h;
        double down = lj_logistic_value(&problem, w, unused);
        w[i] = kept;
        cr_assert_float_eq(gradient[i], (up - down) / (2 * h), 1e-9, "element %d", i);
    }
    lj_logistic_destroy(&problem);
}

Test(logistic, threads_do_not_matter)
{
    struct lj_logistic problem;
    double one[COUNT], three[COUNT];
    fill();
    cr_assert_eq(lj_logistic_create(&problem, x, member, ROWS, WIDTH, CLASSES, 0.3), LJ_OK);
    omp_set_num_threads(1);
    double a = lj_logistic_value(&problem, w, one);
    omp_set_num_threads(3);
    double b = lj_logistic_value(&problem, w, three);
    cr_assert_eq(a, b);
    cr_assert_arr_eq(one, three, sizeof one);
    lj_logistic_destroy(&problem);
}
