/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. The vector kernels of columns: their sums, and batch normalisation. Included
 * after kernels_body.h, once per level. A sum goes on from row to row, so that its bits do not
 * depend on how many rows a call has. */

/* Runs the statement behind it for every stretch of rows, from row `first` on, `some` of them,
 * whose part of an array stays in the first-level cache while its columns are gone through. */
#define FOR_ROWS(rows, width)                                                        \
    for (int64_t first = 0, most = lj_max_i64(2048 / lj_max_i64(width, 1), 8), some; \
         first < (rows); first += most)                                              \
        if (some = lj_min_i64(most, (rows)-first), true)

static inline void column_sums_as(float *columns, const void *x, int64_t rows, int64_t width,
                                  enum lj_type type)
{
    FOR_ROWS(rows, width)
    FOR_VECTORS(width)
    {
        vec sum = load(columns + i, live);
        for (int64_t r = first; r < first + some; r++)
            sum = v_add(sum, load_as(x, type, r * width + i, live));
        store(columns + i, sum, live);
    }
}

static void k_column_sums(float *columns, const void *x, enum lj_type type, int64_t rows,
                          int64_t width)
{
    FOR_TYPE(type, column_sums_as, columns, x, rows, width);
}

static void k_column_moments(double *sums, double *squares, const float *x, const float *shift,
                             int64_t rows, int64_t width)
{
    int64_t whole = width / DOUBLES * DOUBLES;
    FOR_ROWS(rows, width)
    for (int64_t j = 0; j < whole; j += DOUBLES)
        v_moments(sums + j, squares + j, x + first * width + j, shift + j, some, width);
    for (int64_t j = whole; j < width; j++)
        for (int64_t r = 0; r < rows; r++) {
            double d = (double)x[r * width + j] - (double)shift[j];
            sums[j] += d;
            squares[j] = __builtin_fma(d, d, squares[j]);
        }
}

static inline void batchnorm_rows(float *y, const float *x, const float *trunk,
                                  const struct lj_batchnorm *norm, int64_t rows, int64_t width,
                                  bool add_trunk, bool relu)
{
    FOR_VECTORS(width)
    {
        vec centre = load(norm->mean + i, live), offset = load(norm->bias + i, live);
        vec scale = v_mul(load(norm->rstd + i, live), load(norm->weight + i, live));
        for (int64_t at = i; at < rows * width; at += width) {
            vec v = v_fma(v_sub(load(x + at, live), centre), scale, offset);
            if (add_trunk)
                v = v_add(v, load(trunk + at, live));
            store(y + at, relu ? relu_of(v) : v, live);
        }
    }
}

static void k_batchnorm(float *y, const float *x, const float *trunk,
                        const struct lj_batchnorm *norm, int64_t rows, int64_t width)
{
    FOR_ROWS(rows, width)
    {
        int64_t at = first * width;
        if (trunk && norm->relu)
            batchnorm_rows(y + at, x + at, trunk + at, norm, some, width, true, true);
        else if (trunk)
            batchnorm_rows(y + at, x + at, trunk + at, norm, some, width, true, false);
        else if (norm->relu)
            batchnorm_rows(y + at, x + at, NULL, norm, some, width, false, true);
        else
            batchnorm_rows(y + at, x + at, NULL, norm, some, width, false, false);
    }
}

/* What forward needs of a column, so that backward finds the same sign before ReLU. */
struct norm_columns {
    vec centre, rstd, scale, offset;
};

static inline struct norm_columns norm_columns(const struct lj_batchnorm *norm, int64_t i,
                                               int64_t live)
{
    vec rstd = load(norm->rstd + i, live);
    return (struct norm_columns){load(norm->mean + i, live), rstd,
                                 v_mul(rstd, load(norm->weight + i, live)),
                                 load(norm->bias + i, live)};
}

/* dy where ReLU let the value of `off` = x - mean through. */
static inline vec passed(vec dy, vec off, const struct norm_columns *c, bool relu)
{
    if (!relu)
        return dy;
    return v_if_less(v_set(0), v_fma(off, c->scale, c->offset), dy, v_set(0));
}

static inline void batchnorm_sums_rows(float *sums, float *products, const float *dy,
                                       const float *x, const struct lj_batchnorm *norm,
                                       int64_t rows, int64_t width, bool relu)
{
    FOR_VECTORS(width)
    {
        vec sum = load(sums + i, live), product = load(products + i, live);
        struct norm_columns c = norm_columns(norm, i, live);
        for (int64_t at = i; at < rows * width; at += width) {
            vec off = v_sub(load(x + at, live), c.centre);
            vec d = passed(load(dy + at, live), off, &c, relu);
            sum = v_add(sum, d);
            product = v_fma(d, v_mul(off, c.rstd), product);
        }
        store(sums + i, sum, live);
        store(products + i, product, live);
    }
}

static void k_batchnorm_sums(float *sums, float *products, const float *dy, const float *x,
                             const struct lj_batchnorm *norm, int64_t rows, int64_t width)
{
    FOR_ROWS(rows, width)
    {
        int64_t at = first * width;
        if (norm->relu)
            batchnorm_sums_rows(sums, products, dy + at, x + at, norm, some, width, true);
        else
            batchnorm_sums_rows(sums, products, dy + at, x + at, norm, some, width, false);
    }
}

static inline void batchnorm_backward_rows(float *dx, const float *dy, const float *x,
                                           const struct lj_batchnorm *norm, const float *dmean,
                                           const float *dproduct, int64_t rows, int64_t width,
                                           bool add, bool relu)
{
    FOR_VECTORS(width)
    {
        struct norm_columns c = norm_columns(norm, i, live);
        vec mean_d = load(dmean + i, live), mean_dx = load(dproduct + i, live);
        vec factor = v_mul(load(norm->weight + i, live), c.rstd);
        for (int64_t at = i; at < rows * width; at += width) {
            vec off = v_sub(load(x + at, live), c.centre);
            vec d = v_sub(passed(load(dy + at, live), off, &c, relu), mean_d);
            d = v_nfma(v_mul(off, c.rstd), mean_dx, d);
            store(dx + at, add ? v_fma(factor, d, load(dx + at, live)) : v_mul(factor, d), live);
        }
    }
}

static void k_batchnorm_backward(float *dx, const float *dy, const float *x,
                                 const struct lj_batchnorm *norm, const float *dmean,
                                 const float *dproduct, int64_t rows, int64_t width, bool add)
{
    FOR_ROWS(rows, width)
    {
        int64_t at = first * width;
        if (norm->relu)
            batchnorm_backward_rows(dx + at, dy + at, x + at, norm, dmean, dproduct, some, width,
                                    add, true);
        else
            batchnorm_backward_rows(dx + at, dy + at, x + at, norm, dmean, dproduct, some, width,
                                    add, false);
    }
}
