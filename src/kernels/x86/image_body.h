/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. The vector kernels of images, included after kernels_body.h.
 * Contracts: kernels/kernels.h. Every element is computed by the same operations as in the
 * scalar form, fused where that one is, so that it has the same bits at every level; only
 * luma_sum adds in another order. */

/* ---- conversion -------------------------------------------------------------------------- */

enum { ELEMENT_BYTES_MAX = 8 };

/* An address at which `room` bytes can be read: x itself, or, if only the first `bytes` of them may
 * be read there, a copy of these with zeros behind. */
static inline const char *readable(char *copy, const char *x, size_t bytes, size_t room)
{
    if (bytes >= room)
        return x;
    __builtin_memset(copy, 0, room);
    return __builtin_memcpy(copy, x, bytes);
}

/* x / divisor, correctly rounded for integers |x| < 256: x times the rounded inverse, corrected by
 * one Newton step, which is faster than a division. */
static inline vec quotient(vec x, float divisor)
{
    vec inverse = v_set(1 / divisor), q = v_mul(x, inverse);
    return v_fma(v_nfma(q, v_set(divisor), x), inverse, q);
}

/* One vector of elements. Callers pass `element` as a constant, so that no test
 * is left in a loop. */
static inline vec load_element(const char *x, enum lj_element element)
{
    switch (element) {
    case LJ_ELEMENT_U8:
        return quotient(v_load_u8(x), 255);
    case LJ_ELEMENT_I8:
        return quotient(v_load_i8(x), 127);
    case LJ_ELEMENT_U16:
        return v_load_u16(x);
    case LJ_ELEMENT_I16:
        return v_load_i16(x);
    case LJ_ELEMENT_U32:
        return v_load_u32(x);
    case LJ_ELEMENT_F32:
        return v_load((const float *)(const void *)x);
    default:
        return v_load_f64(x);
    }
}

/* Converts elements in the order in which they are stored. */
static inline void convert_in_order(float *y, const char *x, int64_t count, enum lj_element element)
{
    size_t bytes = lj_element_bytes(element);
    char tail[WIDTH * ELEMENT_BYTES_MAX];
    FOR_VECTORS(count)
    {
        const char *at = readable(tail, x + (size_t)i * bytes, (size_t)live * bytes, WIDTH * bytes);
        store(y + i, load_element(at, element), live);
    }
}

/* Converts pixels of three channels and sorts them into planes. */
static inline void convert_three(float *y, const char *x, int64_t pixels, enum lj_element element)
{
    size_t bytes = lj_element_bytes(element), vector = WIDTH * bytes;
    char tail[3 * WIDTH * ELEMENT_BYTES_MAX];
    FOR_VECTORS(pixels)
    {
        const char *at =
            readable(tail, x + (size_t)(3 * i) * bytes, (size_t)(3 * live) * bytes, 3 * vector);
        vec stored[3], channel[3];
        for (size_t k = 0; k < 3; k++)
            stored[k] = load_element(at + k * vector, element);
        v_split3(channel, stored);
        for (int c = 0; c < 3; c++)
            store(y + c * pixels + i, channel[c], live);
    }
}

/* Sorts up to four channels of pixels that are `step` floats apart into planes; reads four floats
 * of each pixel. */
static inline void deal_four(float *y, int64_t pixels, const float *x, int64_t step, int64_t count,
                             int64_t channels)
{
    FOR_VECTORS(count)
    {
        vec channel[4];
        v_split4(channel, x + i * step, step);
        for (int64_t c = 0; c < channels; c++)
            store(y + c * pixels + i, channel[c], live);
    }
}

/* Any other number of channels: some pixels are converted in order, then sorted into planes. There
 * are enough of them at a time that the first have left the processor's store buffer when they are
 * loaded again; the buffer cannot serve a load that needs two of its stores. */
static inline void convert_dealt(float *y, const char *x, int64_t channels, int64_t pixels,
                                 enum lj_element element)
{
    enum { STAGED = 16 * LJ_CONVERT_CHANNELS_MAX }; /* a vector of pixels at least */
    float staged[STAGED + 3]; /* deal_four reads up to three floats behind the last pixel */
    size_t bytes = (size_t)channels * lj_element_bytes(element);
    int64_t most = STAGED / channels / WIDTH * WIDTH;
    for (int64_t p = 0; p < pixels; p += most) {
        int64_t n = lj_min_i64(most, pixels - p);
        convert_in_order(staged, x + (size_t)p * bytes, n * channels, element);
        for (int64_t c = 0; c < channels; c += 4)
            deal_four(y + c * pixels + p, pixels, staged + c, channels, n,
                      lj_min_i64(4, channels - c));
    }
}

static inline void convert_as(float *y, const char *x, int64_t channels, int64_t pixels,
                              bool channels_last, enum lj_element element)
{
    if (channels == 1 || !channels_last)
        convert_in_order(y, x, channels * pixels, element);
    else if (channels == 3)
        convert_three(y, x, pixels, element);
    else
        convert_dealt(y, x, channels, pixels, element);
}

static void k_convert(float *y, const void *x, enum lj_element element, int64_t channels,
                      int64_t pixels, bool channels_last)
{
    switch (element) {
    case LJ_ELEMENT_U8:
        convert_as(y, x, channels, pixels, channels_last, LJ_ELEMENT_U8);
        break;
    case LJ_ELEMENT_I8:
        convert_as(y, x, channels, pixels, channels_last, LJ_ELEMENT_I8);
        break;
    case LJ_ELEMENT_U16:
        convert_as(y, x, channels, pixels, channels_last, LJ_ELEMENT_U16);
        break;
    case LJ_ELEMENT_I16:
        convert_as(y, x, channels, pixels, channels_last, LJ_ELEMENT_I16);
        break;
    case LJ_ELEMENT_U32:
        convert_as(y, x, channels, pixels, channels_last, LJ_ELEMENT_U32);
        break;
    case LJ_ELEMENT_F32:
        convert_as(y, x, channels, pixels, channels_last, LJ_ELEMENT_F32);
        break;
    case LJ_ELEMENT_F64:
        convert_as(y, x, channels, pixels, channels_last, LJ_ELEMENT_F64);
        break;
    }
}

/* ---- weighted sums ----------------------------------------------------------------------- */

/* `vectors` vectors of the result, so that each weight is loaded once for all; the last vector has
 * `live` elements. */
static inline void weighted_vectors(float *y, const float *x, int64_t stride, const float *weight,
                                    int64_t taps, int vectors, int64_t live)
{
    vec sum[4], w = v_set(weight[0]);
    for (int v = 0; v < vectors; v++)
        sum[v] = v_mul(w, load(x + v * WIDTH, live));
    for (int64_t j = 1; j < taps; j++) {
        w = v_set(weight[j]);
        for (int v = 0; v < vectors; v++)
            sum[v] = v_fma(w, load(x + j * stride + v * WIDTH, live), sum[v]);
    }
    for (int v = 0; v < vectors; v++)
        store(y + v * WIDTH, sum[v], live);
}

static void k_weighted_sum(float *y, const float *x, int64_t stride, const float *weight,
                           int64_t taps, int64_t count)
{
    int64_t i = 0;
    for (; i + 4 * WIDTH <= count; i += 4 * WIDTH)
        weighted_vectors(y + i, x + i, stride, weight, taps, 4, WIDTH);
    for (; i < count; i += WIDTH)
        weighted_vectors(y + i, x + i, stride, weight, taps, 1, lj_min_i64(WIDTH, count - i));
}

/* How far the inputs for one vector of outputs lie apart: within one vector of x, within two, or
 * further. The first two can be loaded and permuted, which is several times as fast as a gather. */
enum reach { ONE_VECTOR, TWO_VECTORS, FURTHER };

static inline vec pick(const float *x, ivec at, enum reach reach)
{
    if (reach == ONE_VECTOR)
        return v_pick(v_load(x), at);
    if (reach == TWO_VECTORS)
        return v_pick2(v_load(x), v_load(x + WIDTH), at);
    return v_gather(x, at);
}

/* One vector of outputs, in all rows.
 *   x   the first tap of the vector's first output
 *   at  where the first tap of each output is, counted from x */
static inline void resample_vector(float *y, int64_t count, const float *x, int64_t ldx,
                                   int64_t rows, ivec at, const float *weight, int64_t taps,
                                   enum reach reach, int64_t live)
{
    vec w0 = load(weight, live), w1 = taps > 1 ? load(weight + count, live) : v_set(0);
    for (int64_t r = 0; r < rows; r++, x += ldx) {
        vec sum = v_mul(w0, pick(x, at, reach));
        if (taps > 1)
            sum = v_fma(w1, pick(x + 1, at, reach), sum);
        for (int64_t j = 2; j < taps; j++)
            sum = v_fma(load(weight + j * count, live), pick(x + j, at, reach), sum);
        store(y + r * count, sum, live);
    }
}

static void k_resample(float *y, const float *x, int64_t ldx, int64_t rows, const int32_t *first,
                       const float *weight, int64_t taps, int64_t count)
{
    FOR_VECTORS(count)
    {
        int64_t begin = first[i], apart = first[i + live - 1] - begin;
        ivec at = v_index_from(first + i, live, (int32_t)begin);
        if (apart < WIDTH && taps == 2)
            resample_vector(y + i, count, x + begin, ldx, rows, at, weight + i, 2, ONE_VECTOR,
                            live);
        else if (apart < WIDTH)
            resample_vector(y + i, count, x + begin, ldx, rows, at, weight + i, taps, ONE_VECTOR,
                            live);
        else if (apart < 2 * WIDTH)
            resample_vector(y + i, count, x + begin, ldx, rows, at, weight + i, taps, TWO_VECTORS,
                            live);
        else
            resample_vector(y + i, count, x + begin, ldx, rows, at, weight + i, taps, FURTHER,
                            live);
    }
}

/* ---- rotation ---------------------------------------------------------------------------- */

/* |a - b| */
static inline vec distance(vec a, vec b)
{
    return v_max(v_sub(a, b), v_sub(b, a));
}

/* Positions along an axis of n pixels, reflected into it: the pixels before them and the weights of
 * the next ones. */
static inline vec reflect(vec position, int64_t n, vec *weight)
{
    vec pixels = v_set((float)n), edge = distance(v_add(position, v_set(0.5f)), v_set(0));
    edge = v_sub(pixels, distance(pixels, edge));
    vec inside = v_min(v_max(v_sub(edge, v_set(0.5f)), v_set(0)), v_set((float)(n - 1)));
    vec before = v_truncate(v_min(inside, v_set((float)lj_max_i64(n - 2, 0))));
    *weight = v_sub(inside, before);
    return before;
}

static void k_rotate(float *y, const float *x, const struct lj_rotation *rotation, int64_t rows,
                     int64_t count)
{
    static const float numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const struct lj_rotation *m = rotation;
    int64_t down = m->height > 1 ? m->width : 0, right = m->width > 1 ? 1 : 0;
    for (int64_t r = 0; r < rows; r++, y += count) {
        vec row = v_set(__builtin_fmaf(m->row[2], (float)r, m->row[0]));
        vec column = v_set(__builtin_fmaf(m->column[2], (float)r, m->column[0]));
        FOR_VECTORS(count)
        {
            vec number = v_add(v_set((float)i), v_load(numbers)), lower, later;
            vec above = reflect(v_fma(v_set(m->row[1]), number, row), m->height, &lower);
            vec before = reflect(v_fma(v_set(m->column[1]), number, column), m->width, &later);
            ivec at = v_index_of(above, (int32_t)m->width, before);
            vec top = v_gather(x, at), bottom = v_gather(x + down, at);
            top = v_fma(later, v_sub(v_gather(x + right, at), top), top);
            bottom = v_fma(later, v_sub(v_gather(x + down + right, at), bottom), bottom);
            store(y + i, v_fma(lower, v_sub(bottom, top), top), live);
        }
    }
}

/* ---- pixels ------------------------------------------------------------------------------ */

static void k_affine(float *x, int64_t count, float centre, float gain, float shift)
{
    FOR_VECTORS(count)
    store(x + i, v_fma(v_sub(load(x + i, live), v_set(centre)), v_set(gain), v_set(shift)), live);
}

static inline vec clamp01(vec x)
{
    return v_min(v_max(x, v_set(0)), v_set(1));
}

static void k_blend(float *x, int64_t count, float factor, float constant)
{
    FOR_VECTORS(count)
    store(x + i, clamp01(v_fma(v_set(factor), load(x + i, live), v_set(constant))), live);
}

static void k_solarize(float *x, int64_t count, float threshold)
{
    FOR_VECTORS(count)
    {
        vec value = load(x + i, live);
        store(x + i, v_if_less(value, v_set(threshold), value, v_sub(v_set(1), value)), live);
    }
}

struct colour {
    vec red, green, blue;
};

static inline struct colour load_colour(const float *rgb, int64_t pixels, int64_t i, int64_t live)
{
    return (struct colour){load(rgb + i, live), load(rgb + pixels + i, live),
                           load(rgb + 2 * pixels + i, live)};
}

static inline void store_colour(float *rgb, int64_t pixels, int64_t i, struct colour a,
                                int64_t live)
{
    store(rgb + i, a.red, live);
    store(rgb + pixels + i, a.green, live);
    store(rgb + 2 * pixels + i, a.blue, live);
}

static inline vec luma(struct colour a)
{
    vec sum = v_fma(v_set(0.587f), a.green, v_mul(v_set(0.2989f), a.red));
    return v_fma(v_set(0.114f), a.blue, sum);
}

static double k_luma_sum(const float *rgb, int64_t pixels)
{
    double total = 0;
    for (int64_t first = 0; first < pixels; first += 4096) {
        vec sum = v_set(0);
        FOR_VECTORS(lj_min_i64(4096, pixels - first))
        sum = v_add(sum, luma(load_colour(rgb + first, pixels, i, live)));
        total += (double)v_sum(sum);
    }
    return total;
}

static void k_grey(float *rgb, int64_t pixels)
{
    FOR_VECTORS(pixels)
    {
        vec grey = luma(load_colour(rgb, pixels, i, live));
        store_colour(rgb, pixels, i, (struct colour){grey, grey, grey}, live);
    }
}

static void k_saturate(float *rgb, int64_t pixels, float factor)
{
    vec own = v_set(factor), share = v_set(1 - factor);
    FOR_VECTORS(pixels)
    {
        struct colour a = load_colour(rgb, pixels, i, live);
        vec rest = v_mul(share, luma(a));
        a.red = clamp01(v_fma(own, a.red, rest));
        a.green = clamp01(v_fma(own, a.green, rest));
        a.blue = clamp01(v_fma(own, a.blue, rest));
        store_colour(rgb, pixels, i, a, live);
    }
}

/* x in -6 .. 12, brought into 0 <= x < 6 by adding or subtracting 6. */
static inline vec within_circle(vec x)
{
    x = v_if_less(x, v_set(0), v_add(x, v_set(6)), x);
    return v_if_less(x, v_set(6), x, v_sub(x, v_set(6)));
}

/* Hue in sixths of a circle: base + numerator / chroma, both chosen by which channel
 * is the largest. Grey has chroma 0 and no hue; channel_of then multiplies it by 0, so
 * any number will do. */
static inline vec hue_of(struct colour a, vec value, vec chroma)
{
    vec is_green = v_sub(a.blue, a.red), is_blue = v_sub(a.red, a.green);
    vec numerator = v_if_less(a.green, value, is_blue, is_green);
    vec base = v_if_less(a.green, value, v_set(4), v_set(2));
    numerator = v_if_less(a.red, value, numerator, v_sub(a.green, a.blue));
    base = v_if_less(a.red, value, base, v_set(0));
    return v_add(base, v_div(numerator, v_if_less(v_set(0), chroma, chroma, v_set(1))));
}

/* value - chroma clamp(min(k, 4 - k)), k = hue + shift around the circle. */
static inline vec channel_of(vec hue, float shift, vec value, vec chroma)
{
    vec k = within_circle(v_add(hue, v_set(shift)));
    return v_nfma(chroma, clamp01(v_min(k, v_sub(v_set(4), k))), value);
}

static void k_hue(float *rgb, int64_t pixels, float turn)
{
    FOR_VECTORS(pixels)
    {
        struct colour a = load_colour(rgb, pixels, i, live);
        vec value = v_max(a.red, v_max(a.green, a.blue));
        vec chroma = v_sub(value, v_min(a.red, v_min(a.green, a.blue)));
        vec hue = within_circle(v_add(hue_of(a, value, chroma), v_set(turn)));
        a.red = channel_of(hue, 5, value, chroma);
        a.green = channel_of(hue, 3, value, chroma);
        a.blue = channel_of(hue, 1, value, chroma);
        store_colour(rgb, pixels, i, a, live);
    }
}
