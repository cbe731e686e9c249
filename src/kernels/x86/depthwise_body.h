/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. The weight gradient of depthwise convolutions, for which oneDNN has no fast
 * kernel. Included after kernels_body.h, once per level.
 *
 * A vector holds neighbouring channels. For these, the sums of all elements of W lie in the
 * first-level cache; those of a row of W stay in registers while a piece of a row of windows is
 * gone through. The piece of x that they look at is copied, with zeros around the map. */

enum { DEPTHWISE_MOST = 7, PIECE = 64 /* windows */ };

/* kernel x kernel sums, of a vector each. */
struct window_sums {
    vec of[DEPTHWISE_MOST][DEPTHWISE_MOST]; /* row and column of W */
};

/* Some channels of maps. */
struct map_channels {
    const void *x, *dy; /* at the first channel */
    int64_t height, width, lines /* of all images */, stride /* elements from column to column */;
    int64_t live; /* channels */
};

/* Columns [first, first + count) of a line of x. */
static inline void copy_piece(vec *piece, const struct map_channels *m, int64_t line, int64_t first,
                              int64_t count, enum lj_type type)
{
    const void *x = at_as_const(m->x, type, line * m->width * m->stride);
    for (int64_t i = 0; i < count; i++) {
        int64_t column = first + i;
        piece[i] = column >= 0 && column < m->width ? load_as(x, type, column * m->stride, m->live)
                                                    : v_set(0);
    }
}

/* Adds to the sums of a row of W those of `count` windows, whose first dy is given. */
static inline void add_piece(vec *sum, const vec *piece, const void *dy, int64_t count,
                             int64_t stride, int64_t live, int64_t kernel, enum lj_type type)
{
    vec row[DEPTHWISE_MOST];
    for (int64_t k = 0; k < kernel; k++)
        row[k] = v_set(0);
    for (int64_t i = 0; i < count; i++) {
        vec d = load_as(dy, type, i * stride, live);
        for (int64_t k = 0; k < kernel; k++)
            row[k] = v_fma(d, piece[i + k], row[k]);
    }
    for (int64_t k = 0; k < kernel; k++)
        sum[k] = v_add(sum[k], row[k]);
}

/* Row k of W meets line l of x where dy has line l - k + kernel / 2. */
static inline void sum_windows(struct window_sums *sums, const struct map_channels *m,
                               int64_t kernel, enum lj_type type)
{
    vec piece[PIECE + DEPTHWISE_MOST];
    int64_t half = kernel / 2;
    for (int64_t line = 0; line < m->lines; line++)
        for (int64_t first = 0; first < m->width; first += PIECE) {
            int64_t count = lj_min_i64(PIECE, m->width - first);
            copy_piece(piece, m, line, first - half, count + kernel - 1, type);
            for (int64_t k = 0; k < kernel; k++) {
                int64_t of_dy = line % m->height - k + half;
                int64_t at = ((line - k + half) * m->width + first) * m->stride;
                if (of_dy >= 0 && of_dy < m->height)
                    add_piece(sums->of[k], piece, at_as_const(m->dy, type, at), count, m->stride,
                              m->live, kernel, type);
            }
        }
}

static inline void depthwise_as(float *dw, const void *x, const void *dy,
                                const struct lj_maps *maps, bool add, int64_t kernel,
                                enum lj_type type)
{
    for (int64_t channel = 0; channel < maps->channels; channel += WIDTH) {
        int64_t live = lj_min_i64(WIDTH, maps->channels - channel);
        struct window_sums sums;
        for (int64_t i = 0; i < kernel * kernel; i++)
            sums.of[i / kernel][i % kernel] = v_set(0);
        const struct map_channels m = {at_as_const(x, type, channel),
                                       at_as_const(dy, type, channel),
                                       maps->height,
                                       maps->width,
                                       maps->images * maps->height,
                                       maps->channels,
                                       live};
        sum_windows(&sums, &m, kernel, type);
        for (int64_t i = 0; i < kernel * kernel; i++) {
            float sum[WIDTH];
            v_store(sum, sums.of[i / kernel][i % kernel]);
            for (int64_t c = 0; c < live; c++) {
                float *d = &dw[(channel + c) * kernel * kernel + i];
                *d = add ? *d + sum[c] : sum[c];
            }
        }
    }
}

static inline void depthwise_of(float *dw, const void *x, const void *dy, enum lj_type type,
                                const struct lj_maps *maps, bool add, int64_t kernel)
{
    FOR_TYPE(type, depthwise_as, dw, x, dy, maps, add, kernel);
}

static void k_depthwise_weights(float *dw, const void *x, const void *dy, enum lj_type type,
                                const struct lj_maps *maps, int64_t kernel, bool add)
{
    if (kernel == 3)
        depthwise_of(dw, x, dy, type, maps, add, 3);
    else if (kernel == 5)
        depthwise_of(dw, x, dy, type, maps, add, 5);
    else
        depthwise_of(dw, x, dy, type, maps, add, 7);
}
