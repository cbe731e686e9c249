/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. The vector kernels of SIGReg: sums of cos(k theta) and sin(k theta), and
 * trigonometric polynomials. Included after kernels_body.h, once per level.
 *
 * Knots k are taken in groups of four. The first four multiples of theta come from double and
 * triple angle formulas in terms of sines, which keep their digits near theta = 0 and pi; 8 theta
 * and 12 theta come from 4 theta by the same formulas. Any other knot 4 j + q, q = 1 .. 3, costs
 * one fused multiply-add for each row. The formulas are
 *   cos(4j + q) + cos(4j - q) = 2 cos(4j) cos(q),  sin(4j + q) + sin(4j - q) = 2 sin(4j) cos(q),
 * where the products on the right are summed over the rows, and the sum of the lower knot's values
 * is subtracted at the end, once for all rows. A value is at most three such formulas away from
 * theta, so errors stay at a few roundings times the knot. */

#include <math.h>

enum { ECF_ROWS_MAX = 32, ECF_COLUMNS_MAX = 16, ECF_KNOTS_MAX = 16 };

/* The factor from x to theta / pi = x (high + low), in two floats. */
struct half_turns {
    float high; /* rounded to float */
    float low;  /* what the rounding left */
};

static struct half_turns half_turns_of(float step)
{
    double factor = (double)step * 0.318309886183790671538; /* 1 / pi */
    float high = (float)factor;
    return (struct half_turns){high, (float)(factor - (double)high)};
}

/* sin(pi rest) and cos(pi rest) for rest in [-1/2, 1/2]: minimax polynomials, off by at
 * most 1e-8 and 6e-8. */
static inline void sincos_pi(vec rest, vec *s, vec *c)
{
    vec square = v_mul(rest, rest);
    vec sine = v_fma(square, v_set(0.0779802725f), v_set(-0.598502755f));
    sine = v_fma(square, sine, v_set(2.55012465f));
    sine = v_fma(square, sine, v_set(-5.16771412f));
    sine = v_fma(square, sine, v_set(3.14159274f));
    vec cosine = v_fma(square, v_set(0.220005676f), v_set(-1.33206213f));
    cosine = v_fma(square, cosine, v_set(4.05844736f));
    cosine = v_fma(square, cosine, v_set(-4.93479538f));
    *s = v_mul(sine, rest);
    *c = v_fma(square, cosine, v_set(1));
}

/* Sines and cosines of the rows' angles, valid if every |theta| is at most pi / 2, which
 * on grid a is nearly always so. Returns the largest |x| of each column, from which the
 * caller sees if they are. */
static inline vec sincos_small(vec *s, vec *c, const float *x, int64_t ldx, int64_t rows,
                               int64_t live, struct half_turns turns)
{
    vec most = v_set(0);
    for (int64_t r = 0; r < rows; r++) {
        vec a = load(x + r * ldx, live);
        most = v_max_magnitude(a, most);
        sincos_pi(v_mul(a, v_set(turns.high)), &s[r], &c[r]);
    }
    return most;
}

/* The same, valid if every |theta / pi| is below 2^21: subtracts the integer nearest to theta / pi.
 * Adding 1.5 2^23 rounds to that integer and leaves its lowest bit as the lowest bit of `shifted`;
 * if it is set, sine and cosine change sign. Two loops, because the chain of operations of a row is
 * longer than the processor looks ahead, so that in one loop it could not overlap rows. */
static inline vec sincos_near(vec *s, vec *c, const float *x, int64_t ldx, int64_t rows,
                              int64_t live, struct half_turns turns)
{
    vec shifted[ECF_ROWS_MAX], rest[ECF_ROWS_MAX], most = v_set(0);
    vec magic = v_set(0x1.8p23f), high = v_set(turns.high), low = v_set(turns.low);
    for (int64_t r = 0; r < rows; r++) {
        vec a = load(x + r * ldx, live), sum = v_fma(a, high, magic);
        most = v_max_magnitude(a, most);
        shifted[r] = sum;
        rest[r] = v_fma(a, low, v_fms(a, high, v_sub(sum, magic)));
    }
    for (int64_t r = 0; r < rows; r++) {
        vec sine, cosine;
        sincos_pi(rest[r], &sine, &cosine);
        s[r] = v_flip_if_odd(sine, shifted[r]);
        c[r] = v_flip_if_odd(cosine, shifted[r]);
    }
    return most;
}

/* Writes theta / pi reduced to [-1, 1] for any angles, in double: slow and exact. An x that is not
 * finite becomes NaN.
 *   near  out  (rows, WIDTH) */
static __attribute__((noinline)) void bring_near(float *near, const float *x, int64_t ldx,
                                                 int64_t rows, int64_t live, float step)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < live; j++) {
            double angle = (double)step * (double)x[r * ldx + j];
            near[r * WIDTH + j] = (float)(atan2(sin(angle), cos(angle)) / 3.14159265358979323846);
        }
}

/* The same, valid for all angles. */
static __attribute__((noinline)) void sincos_any(vec *s, vec *c, const float *x, int64_t ldx,
                                                 int64_t rows, int64_t live, float step)
{
    struct half_turns turns = half_turns_of(step), itself = {1, 0};
    vec most = sincos_near(s, c, x, ldx, rows, live, turns);
    if (!v_all_below(most, 0x1p21f / turns.high)) {
        float near[ECF_ROWS_MAX * WIDTH] = {0};
        bring_near(near, x, ldx, rows, live, step);
        sincos_near(s, c, near, WIDTH, rows, WIDTH, itself);
    }
}

/* sin(step x) and cos(step x) of up to 32 rows. In a healthy run |x| stays below about 4. If the
 * step is so small that |x| < 4 means |theta| <= pi / 2, sines and cosines are computed as if all
 * angles were in that range, while the largest |x| is found. If it is beyond the range, or NaN,
 * everything is computed again by the form for all angles; so is every x if the step is larger. */
static inline void sincos_rows(vec *s, vec *c, const float *x, int64_t ldx, int64_t rows,
                               int64_t live, float step)
{
    struct half_turns turns = half_turns_of(step);
    float limit = 0.5f / turns.high;
    if (limit < 4 || !v_all_below(sincos_small(s, c, x, ldx, rows, live, turns), limit))
        sincos_any(s, c, x, ldx, rows, live, step);
}

/* ---- sums -------------------------------------------------------------------------------- */

/* Multiples of the angle of each row. */
struct multiples {
    vec c[4][ECF_ROWS_MAX]; /* cosines of theta, 2 theta, 3 theta, 4 theta */
    vec s[ECF_ROWS_MAX];    /* sine of 4 theta */
};

/* Makes the multiples of row r; before, s and c[0] hold sine and cosine of theta. Adds the row's
 * sines to the sums for knots 1 to 4. */
static inline void multiply_angle(struct multiples *of, vec *sine, int64_t r)
{
    vec one = v_set(1), s1 = of->s[r], c1 = of->c[0][r], twice1 = v_add(s1, s1);
    vec c2 = v_nfma(twice1, s1, one), s2 = v_mul(twice1, c1), twice2 = v_add(s2, s2);
    vec s3 = v_fma(twice1, c2, s1), s4 = v_mul(twice2, c2);
    of->c[1][r] = c2;
    of->c[2][r] = v_nfma(twice1, s2, c1);
    of->c[3][r] = v_nfma(twice2, s2, one);
    of->s[r] = s4;
    sine[0] = v_add(sine[0], s1);
    sine[1] = v_add(sine[1], s2);
    sine[2] = v_add(sine[2], s3);
    sine[3] = v_add(sine[3], s4);
}

/* Makes the multiples of all rows, and sums: cosines and sines of knots 1 to 4; cosines of knots 8
 * and 12; for the knots above 4, 8 and 12 the products of finish_products; for the last knot the
 * square of the cosine of its half. */
static inline void sum_cosines(vec *cosine, vec *sine, struct multiples *of, int64_t rows,
                               int knots)
{
    vec one = v_set(1), zero = v_set(0), first_sines[4] = {zero, zero, zero, zero};
    vec sum[ECF_KNOTS_MAX] = {zero, zero, zero, zero, zero, zero, zero, zero,
                              zero, zero, zero, zero, zero, zero, zero, zero};
    for (int64_t r = 0; r < rows; r++) {
        multiply_angle(of, first_sines, r);
        vec c[4] = {of->c[0][r], of->c[1][r], of->c[2][r], of->c[3][r]};
        for (int k = 0; k < 4; k++)
            sum[k] = v_add(sum[k], c[k]);
        for (int k = 0; k < 3; k++)
            sum[4 + k] = v_fma(c[3], c[k], sum[4 + k]);
        if (knots == 8) {
            sum[7] = v_fma(c[3], c[3], sum[7]);
            continue;
        }
        vec s4 = of->s[r], twice = v_add(s4, s4);
        vec c8 = v_nfma(twice, s4, one), c12 = v_nfma(twice, v_mul(twice, c[3]), c[3]);
        sum[7] = v_add(sum[7], c8);
        sum[11] = v_add(sum[11], c12);
        for (int k = 0; k < 3; k++) {
            sum[8 + k] = v_fma(c8, c[k], sum[8 + k]);
            sum[12 + k] = v_fma(c12, c[k], sum[12 + k]);
        }
        sum[15] = v_fma(c8, c8, sum[15]);
    }
    for (int k = 0; k < knots; k++)
        cosine[k] = sum[k];
    for (int k = 0; k < 4; k++)
        sine[k] = first_sines[k];
}

/* The same sums for the sines of knots above 4; for the last knot sine times cosine of its half. */
static inline void sum_sines(vec *sine, const struct multiples *of, int64_t rows, int knots)
{
    vec one = v_set(1), zero = v_set(0);
    vec sum[ECF_KNOTS_MAX] = {zero, zero, zero, zero, zero, zero, zero, zero,
                              zero, zero, zero, zero, zero, zero, zero, zero};
    for (int64_t r = 0; r < rows; r++) {
        vec c[4] = {of->c[0][r], of->c[1][r], of->c[2][r], of->c[3][r]}, s4 = of->s[r];
        for (int k = 0; k < 3; k++)
            sum[4 + k] = v_fma(s4, c[k], sum[4 + k]);
        if (knots == 8) {
            sum[7] = v_fma(s4, c[3], sum[7]);
            continue;
        }
        vec twice = v_add(s4, s4), c8 = v_nfma(twice, s4, one), s8 = v_mul(twice, c[3]);
        vec s12 = v_fma(twice, c8, s4);
        sum[7] = v_add(sum[7], s8);
        sum[11] = v_add(sum[11], s12);
        for (int k = 0; k < 3; k++) {
            sum[8 + k] = v_fma(s8, c[k], sum[8 + k]);
            sum[12 + k] = v_fma(s12, c[k], sum[12 + k]);
        }
        sum[15] = v_fma(s8, c8, sum[15]);
    }
    for (int k = 4; k < knots; k++)
        sine[k] = sum[k];
}

/* Turns sums of products into sums of cosines and sines, by the formulas at the top of this file;
 * for the last knot by cos(2a) = 2 cos(a)^2 - 1 and sin(2a) = 2 sin(a) cos(a). */
static inline void finish_products(vec *cosine, vec *sine, int64_t rows, int knots)
{
    vec two = v_set(2);
    for (int first = 4; first < knots; first += 4)
        for (int q = 1; q < 4; q++) {
            int k = first + q - 1, lower = first - q - 1;
            cosine[k] = v_fms(two, cosine[k], cosine[lower]);
            sine[k] = v_fms(two, sine[k], sine[lower]);
        }
    cosine[knots - 1] = v_fms(two, cosine[knots - 1], v_set((float)rows));
    sine[knots - 1] = v_mul(two, sine[knots - 1]);
}

/* The kernel for one vector of columns. */
static inline void sum_knots(float *sums, int64_t columns, const float *x, int64_t ldx,
                             int64_t rows, int64_t live, int knots, float step)
{
    struct multiples multiples;
    vec cosine[ECF_KNOTS_MAX], sine[ECF_KNOTS_MAX];
    sincos_rows(multiples.s, multiples.c[0], x, ldx, rows, live, step);
    sum_cosines(cosine, sine, &multiples, rows, knots);
    sum_sines(sine, &multiples, rows, knots);
    finish_products(cosine, sine, rows, knots);
    for (int k = 0; k < knots; k++) {
        store(sums + k * columns, cosine[k], live);
        store(sums + (knots + k) * columns, sine[k], live);
    }
}

static void k_ecf_sums(float *sums, const float *x, int64_t ldx, int64_t rows, int64_t columns,
                       int knots, float step)
{
    FOR_VECTORS(columns)
    {
        if (knots == 8)
            sum_knots(sums + i, columns, x + i, ldx, rows, live, 8, step);
        else
            sum_knots(sums + i, columns, x + i, ldx, rows, live, 16, step);
    }
}

/* ---- trigonometric polynomials ----------------------------------------------------------- */

/* A polynomial sum_k a_k cos(k theta) + b_k sin(k theta) as
 *   sum_j cos(4 j theta) sum_q even[4 j + q] cos(q theta)
 *   + sin(theta) sum_j cos(4 j theta) sum_q odd[4 j + q] cos(q theta),   q = 0 .. 3:
 * the second line holds because sin(k theta) / sin(theta) is twice the sum of the cosines of (k-1)
 * theta, (k-3) theta, ..., where cos(0) counts once. */
struct polynomial {
    vec even[ECF_KNOTS_MAX + 1]; /* coefficients of the first line */
    vec odd[ECF_KNOTS_MAX];      /* coefficients of the second line */
};

/* Turns coefficients of cos(n theta) into those of cos(4 j theta) cos(q theta). */
static inline void into_products(vec *coefficient, int knots)
{
    for (int first = knots - 4; first > 0; first -= 4)
        for (int q = 1; q < 4; q++) {
            vec *upper = coefficient + first + q, *lower = coefficient + first - q;
            *lower = v_sub(*lower, *upper);
            *upper = v_add(*upper, *upper);
        }
}

static void make_polynomial(struct polynomial *p, const float *coefficient, int64_t columns,
                            int64_t live, int knots)
{
    p->even[0] = v_set(0);
    for (int k = 0; k < knots; k++) {
        p->even[k + 1] = load(coefficient + k * columns, live);
        p->odd[k] = load(coefficient + (knots + k) * columns, live);
    }
    for (int n = knots - 1; n > 0; n--) {
        p->odd[n] = v_add(p->odd[n], p->odd[n]);
        if (n + 2 < knots)
            p->odd[n] = v_add(p->odd[n], p->odd[n + 2]);
    }
    p->odd[0] = v_fma(v_set(0.5f), p->odd[2], p->odd[0]);
    into_products(p->even, knots);
    into_products(p->odd, knots);
}

/* sum_q coefficient[q] cos(q theta). */
static inline vec inner(const vec *coefficient, const vec *cosine)
{
    vec sum = v_fma(coefficient[1], cosine[0], coefficient[0]);
    sum = v_fma(coefficient[2], cosine[1], sum);
    return v_fma(coefficient[3], cosine[2], sum);
}

/* The polynomial at an angle with sine s and cosine c1, by Clenshaw's recurrence in 4 theta over
 * the groups of four. One row at a time: the processor overlaps rows by itself, and the values of
 * two would not fit into sixteen registers. */
static inline vec evaluate(vec s, vec c1, const struct polynomial *p, int knots)
{
    vec doubled = v_add(s, s), s2 = v_mul(doubled, c1);
    vec c[3] = {c1, v_nfma(doubled, s, v_set(1)), v_nfma(doubled, s2, c1)};
    vec c4 = v_nfma(v_add(s2, s2), s2, v_set(1)), twice = v_add(c4, c4);
    vec u2 = p->even[knots], u1 = v_fma(twice, u2, inner(p->even + knots - 4, c));
    vec w2 = v_set(0), w1 = inner(p->odd + knots - 4, c);
    for (int first = knots - 8; first > 0; first -= 4) {
        vec u = v_sub(inner(p->even + first, c), u2), w = v_sub(inner(p->odd + first, c), w2);
        u2 = u1;
        w2 = w1;
        u1 = v_fma(twice, u1, u);
        w1 = v_fma(twice, w1, w);
    }
    vec even = v_fma(c4, u1, v_sub(inner(p->even, c), u2));
    vec odd = v_fma(c4, w1, v_sub(inner(p->odd, c), w2));
    return v_fma(s, odd, even);
}

/* The kernel for one vector of columns and up to 32 rows. Prefetches the columns that follow, which
 * the caller will most likely ask for next: when projections come from memory, rows are too far
 * apart for the processor's own prefetcher. */
static inline void evaluate_rows(float *g, const float *x, int64_t ldx, int64_t rows, int64_t live,
                                 const struct polynomial *p, int knots, float step)
{
    vec s[ECF_ROWS_MAX], c[ECF_ROWS_MAX];
    sincos_rows(s, c, x, ldx, rows, live, step);
    for (int64_t r = 0; r < rows; r++) {
        __builtin_prefetch(x + r * ldx + ECF_COLUMNS_MAX, 0, 2);
        store(g + r * ldx, evaluate(s[r], c[r], p, knots), live);
    }
}

static void k_ecf_gradient(float *g, const float *x, int64_t ldx, const float *coefficient,
                           int64_t rows, int64_t columns, int knots, float step)
{
    struct polynomial p;
    FOR_VECTORS(columns)
    {
        make_polynomial(&p, coefficient + i, columns, live, knots);
        for (int64_t r = 0; r < rows; r += ECF_ROWS_MAX) {
            int64_t here = lj_min_i64(ECF_ROWS_MAX, rows - r), at = r * ldx + i;
            if (knots == 8)
                evaluate_rows(g + at, x + at, ldx, here, live, &p, 8, step);
            else
                evaluate_rows(g + at, x + at, ldx, here, live, &p, 16, step);
        }
    }
}

/* ---- fixed point ------------------------------------------------------------------------- */

static int64_t k_add_fixed(int64_t *sums, const float *x, int64_t count)
{
    int64_t nonfinite = 0, i = 0;
    for (; i + WIDTH <= count; i += WIDTH)
        nonfinite += v_add_fixed(sums + i, v_load(x + i));
    if (i < count) {
        int64_t tail[WIDTH] = {0}, bytes = (count - i) * (int64_t)sizeof *sums;
        __builtin_memcpy(tail, sums + i, (size_t)bytes);
        nonfinite += v_add_fixed(tail, v_load_part(x + i, count - i));
        __builtin_memcpy(sums + i, tail, (size_t)bytes);
    }
    return nonfinite;
}
