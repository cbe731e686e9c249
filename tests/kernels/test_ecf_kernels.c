/* SPDX-License-Identifier: Apache-2.0 */
/* SIGReg's kernels and sums in fixed point, at every level of this processor, against libm in
 * double. */
#include "kernels/kernels.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- SIGReg's kernels -------------------------------------------------------------------- */

enum { ROWS = 32, COLUMNS = 16, LD = 19, KNOTS = 16, MANY_ROWS = 71 };
static const double ecf_tolerance = 2e-5; /* of a cosine or sine */

/* Projections: |t x| up to 50, and near 0 and multiples of pi. */
static void fill_projections(float *x, int64_t rows, float step)
{
    lj_random_between_f32(x, rows * LD, -50 / (step * KNOTS), 50 / (step * KNOTS), 3);
    for (int64_t r = 0; r < rows; r += 4)
        for (int j = 0; j < LD; j++) {
            int at = j + (int)r;
            x[r * LD + j] = (float)(at % 9 - 4) * (float)M_PI / step / 4;
            if (r + 2 < rows) {
                x[(r + 1) * LD + j] = (at % 2 ? -1.0f : 1.0f) * powf(10, -(float)(at % 12));
                x[(r + 2) * LD + j] = (float)M_PI / step * (1 + 1e-6f * (float)at);
            }
        }
}

/* Angles beyond the fast reduction, in some columns only. */
static void fill_far_projections(float *x, int64_t rows)
{
    for (int64_t r = 0; r < rows; r += 3)
        x[r * LD + r % LD] = (r % 2 ? -1.0f : 1.0f) * powf(10, (float)(3 + r % 36));
}

static void check_ecf_sums(const struct lj_kernels *k, const float *x, float step, int knots,
                           int64_t rows, int64_t columns)
{
    float sums[2 * KNOTS * COLUMNS + 1];
    for (int i = 0; i < 2 * KNOTS * COLUMNS + 1; i++)
        sums[i] = -777.25f;
    k->ecf_sums(sums, x, LD, rows, columns, knots, step);
    for (int64_t i = 0; i < 2 * KNOTS * COLUMNS + 1; i++) {
        double want = i < 2 * knots * columns ? 0 : -777.25;
        int64_t t = columns ? i / columns % knots + 1 : 0, j = columns ? i % columns : 0;
        for (int64_t r = 0; i < 2 * knots * columns && r < rows; r++) {
            double angle = (double)t * (double)step * (double)x[r * LD + j];
            want += i < knots * columns ? cos(angle) : sin(angle);
        }
        cr_assert(fabs((double)sums[i] - want) <= ecf_tolerance * (double)rows,
                  "%s %lld rows, %d knots: sum %lld is %g, expected %g", k->name, (long long)rows,
                  knots, (long long)i, (double)sums[i], want);
    }
}

static void check_ecf_gradient(const struct lj_kernels *k, const float *x, float step, int knots,
                               int64_t rows, int64_t columns)
{
    static float g[MANY_ROWS * LD];
    float coefficient[2 * KNOTS * COLUMNS];
    lj_random_normal_f32(coefficient, 2 * KNOTS * COLUMNS, 4);
    memcpy(g, x, sizeof g);
    k->ecf_gradient(g, g, LD, coefficient, rows, columns, knots, step);
    for (int64_t r = 0; r < MANY_ROWS; r++)
        for (int64_t j = 0; j < LD; j++) {
            double sum = 0, size = 0;
            bool inside = r < rows && j < columns;
            for (int t = 0; inside && t < knots; t++) {
                double angle = (t + 1) * (double)step * (double)x[r * LD + j];
                double a = (double)coefficient[t * columns + j];
                double b = (double)coefficient[(knots + t) * columns + j];
                sum += a * cos(angle) + b * sin(angle);
                size += fabs(a) + fabs(b);
            }
            double want = inside ? sum : (double)x[r * LD + j];
            cr_assert(fabs((double)g[r * LD + j] - want) <= ecf_tolerance * size,
                      "%s gradient (%lld, %lld): %g, expected %g", k->name, (long long)r,
                      (long long)j, (double)g[r * LD + j], want);
        }
}

/* Which projections: as filled above, or all with |theta| below 1/2 or 2/3 of pi. */
enum reach { USUAL, FAR, WITHIN_HALF, WITHIN_TWO_THIRDS, REACHES };

static void check_ecf(const struct lj_kernels *k, enum reach reach, int64_t columns)
{
    static float x[MANY_ROWS * LD];
    static const int64_t rows[] = {0, 1, 2, 3, 31, 32};
    for (int knots = 8; knots <= 16; knots += 8) {
        float step = knots == 16 ? 0.1875f : 0.625f;
        fill_projections(x, MANY_ROWS, step);
        if (reach == FAR)
            fill_far_projections(x, MANY_ROWS);
        float most = (reach == WITHIN_HALF ? 0.4999f : 0.66f) * (float)M_PI / step;
        if (reach >= WITHIN_HALF)
            lj_random_between_f32(x, MANY_ROWS * LD, -most, most, 6);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            check_ecf_sums(k, x, step, knots, rows[i], columns);
            check_ecf_gradient(k, x, step, knots, rows[i], columns);
        }
        check_ecf_gradient(k, x, step, knots, MANY_ROWS, columns);
    }
}

Test(kernels, ecf)
{
    for (enum lj_isa isa = LJ_ISA_SCALAR; isa < LJ_ISA_COUNT; isa++)
        for (int64_t columns = 0; lj_kernels_of(isa) && columns <= COLUMNS; columns++)
            for (enum reach reach = USUAL; reach < REACHES; reach++)
                check_ecf(lj_kernels_of(isa), reach, columns);
}

/* A projection that is not finite shows in its column, and in no other. */
Test(kernels, ecf_of_what_is_not_finite)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (enum lj_isa isa = LJ_ISA_SCALAR; isa < LJ_ISA_COUNT; isa++)
        for (int i = 0; lj_kernels_of(isa) && i < 3; i++) {
            float x[ROWS * LD], sums[2 * KNOTS * COLUMNS];
            fill_projections(x, ROWS, 0.1875f);
            x[7 * LD + 5] = bad[i];
            lj_kernels_of(isa)->ecf_sums(sums, x, LD, ROWS, COLUMNS, KNOTS, 0.1875f);
            for (int64_t j = 0; j < 2 * KNOTS * COLUMNS; j++)
                cr_assert(isnan(sums[j]) == (j % COLUMNS == 5));
        }
}

/* ---- fixed point ------------------------------------------------------------------------- */

Test(kernels, add_fixed_equals_to_fixed)
{
    enum { N = 5000 };
    static float x[N];
    static int64_t sums[N + 2];
    static const float special[] = {0,         -0.0f,    63.999996f, -63.999996f, 64,    -64,
                                    NAN,       INFINITY, -INFINITY,  1e-40f,      1e30f, 0x1p-33f,
                                    -0x1p-33f, 0x3p-33f, -0x3p-33f,  0x1p-34f};
    lj_random_between_f32(x, N, -40, 40, 1);
    for (int i = 0; i < N / 2; i++)
        x[i] *= powf(2, (float)(-i % 40));
    for (int i = 0; i < 16; i++)
        x[i * 3] = special[i];
    for (enum lj_isa isa = LJ_ISA_SCALAR; isa < LJ_ISA_COUNT; isa++) {
        const struct lj_kernels *k = lj_kernels_of(isa);
        int64_t nonfinite = 0, none = 0;
        for (int i = 0; i < N + 2; i++)
            sums[i] = 1000 - i;
        if (!k)
            continue;
        int64_t counted = k->add_fixed(sums + 1, x, N);
        for (int i = 0; i < N; i++) {
            bool fit = fabsf(x[i]) < 64; /* false for NaN */
            int64_t want = fit ? lj_to_fixed(2, (double)x[i], &none) : 0;
            nonfinite += !fit;
            cr_assert_eq(sums[i + 1], 1000 - (i + 1) + want, "%s: %g", k->name, (double)x[i]);
        }
        cr_assert(counted == nonfinite && sums[0] == 1000 && sums[N + 1] == 1000 - (N + 1));
    }
}
