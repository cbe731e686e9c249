/* SPDX-License-Identifier: Apache-2.0 */
/* The endless stream of samples of each lane.
 *
 * N samples, G lanes; groups are rows that are read together (lj_archive_groups). In epoch e they
 * are put into a random order (lj_permute), which makes one sequence of all N samples. The share of
 * lane g is
 *
 *     n(g, e) = floor(((e+1) N + g) / G) - floor((e N + g) / G)
 *
 * consecutive samples, which follow those of lane g - 1. Over the lanes these numbers sum to N
 * (Hermite's identity), they differ by at most one, and summed over epochs 0 .. e-1 they telescope
 * to floor((e N + g) / G); so no lane ever gets ahead of another by more than one sample.
 *
 * A share is cut into windows of at most `window` samples, and inside a window the samples are
 * mixed by another random order. The first window of a share is shorter, by a different amount for
 * each lane (multiples of the golden ratio), so that the lanes of a rank do not all need a new
 * window in the same step, and reading is spread evenly over the steps.
 *
 * A place is an index into the sequence of an epoch, a position an index into a lane's endless
 * stream. Products like e N are formed in 128 bits. */
#include "data/sampler.h"

#include <string.h>

enum { TABLES = 2 }; /* a batch may cross from one epoch into the next */
/* An epoch's order is kept as the places where stretches of consecutive groups begin: many groups
 * make long stretches, not a long table. Some stretches are kept as lists of their groups. */
enum { STRETCHES_MAX = 16384, SLOTS = 16 };

/* The stretches of one epoch. */
struct table {
    int64_t epoch;  /* -1: empty */
    int64_t *start; /* (stretches) place of its first sample */
};

/* A group in an epoch's order. */
struct placed {
    int64_t place; /* of its first sample */
    int64_t index; /* selected index of that sample */
};

struct stretch {
    int64_t epoch;        /* -1: empty */
    int64_t number;       /* in the epoch */
    int64_t groups;       /* it consists of */
    struct placed *group; /* (groups + 1) the last one begins behind the stretch, without index */
};

struct lj_sampler {
    int64_t seed;                  /* of the run */
    int64_t lanes;                 /* G */
    struct lj_groups groups;       /* of the archive */
    int64_t window;                /* most samples of a window */
    int64_t samples;               /* N */
    int64_t stride;                /* groups of a stretch, but for the last one */
    int64_t stretches;             /* of an epoch */
    struct table table[TABLES];    /* of two epochs, at epoch modulo 2 */
    struct stretch stretch[SLOTS]; /* used last, at number modulo SLOTS */
    int64_t *indices;              /* (window) of the window asked for last */
};

/* A window of a lane. */
struct window {
    int64_t epoch;    /* it lies in */
    int64_t place;    /* of its first sample in the epoch's sequence */
    int64_t length;   /* samples */
    int64_t position; /* of its first sample in the lane's stream */
};

static int64_t floor_div(__int128 a, int64_t b)
{
    return (int64_t)(a / b); /* a >= 0 */
}

/* Samples of the lane in all epochs before `epoch`. */
static int64_t served_before(const struct lj_sampler *s, int64_t lane, int64_t epoch)
{
    return floor_div((__int128)epoch * s->samples + lane, s->lanes);
}

/* Samples of all lanes below `lane` in all epochs before `epoch`: with e N = q G + r this is the
 * sum over lanes h < lane of q + (1 if h >= G - r). */
static __int128 served_below(const struct lj_sampler *s, int64_t lane, int64_t epoch)
{
    __int128 all = (__int128)epoch * s->samples;
    __int128 quotient = all / s->lanes;
    int64_t rest = (int64_t)(all % s->lanes);
    return quotient * lane + lj_max_i64(0, lane - (s->lanes - rest));
}

/* The last epoch that begins at or before the position: the largest e with
 * floor((e N + g) / G) <= position. */
static int64_t epoch_of(const struct lj_sampler *s, int64_t lane, int64_t position)
{
    return floor_div(((__int128)position + 1) * s->lanes - lane - 1, s->samples);
}

/* By how many samples the first window of a lane's share is shorter: the window times the
 * fractional part of lane * golden ratio, which is spread evenly over any number of
 * neighbouring lanes. */
static int64_t shortened_by(const struct lj_sampler *s, int64_t lane)
{
    uint64_t fraction = (uint64_t)lane * UINT64_C(0x9E3779B97F4A7C15);
    return (int64_t)(((unsigned __int128)fraction * (uint64_t)s->window) >> 64);
}

static struct window window_of(const struct lj_sampler *s, int64_t lane, int64_t position)
{
    int64_t epoch = epoch_of(s, lane, position);
    int64_t before = served_before(s, lane, epoch);
    int64_t share = served_before(s, lane, epoch + 1) - before;
    int64_t shift = shortened_by(s, lane);
    int64_t from = (position - before + shift) / s->window * s->window - shift;
    int64_t start = lj_max_i64(from, 0);
    int64_t end = lj_min_i64(from + s->window, share);
    int64_t share_place =
        (int64_t)(served_below(s, lane, epoch + 1) - served_below(s, lane, epoch));
    return (struct window){.epoch = epoch,
                           .place = share_place + start,
                           .length = end - start,
                           .position = before + start};
}

/* The group that comes i-th in an epoch. */
static int64_t group_in_order(const struct lj_sampler *s, int64_t epoch, int64_t i)
{
    return lj_permute(s->seed, LJ_DRAW_ORDER, (uint64_t)epoch, 0, s->groups.count, i);
}

static void table_fill(const struct lj_sampler *s, struct table *table, int64_t epoch)
{
    int64_t place = 0;
    for (int64_t i = 0; i < s->groups.count; i++) {
        int64_t group = group_in_order(s, epoch, i);
        if (i % s->stride == 0)
            table->start[i / s->stride] = place;
        place +=
            s->groups.first(s->groups.data, group + 1) - s->groups.first(s->groups.data, group);
    }
    table->epoch = epoch;
}

static const struct table *table_of(struct lj_sampler *s, int64_t epoch)
{
    struct table *table = &s->table[epoch % TABLES];
    if (table->epoch != epoch)
        table_fill(s, table, epoch);
    return table;
}

/* Number of the stretch that the place lies in. */
static int64_t stretch_at(const struct lj_sampler *s, const struct table *table, int64_t place)
{
    int64_t low = 0, high = s->stretches; /* start[low] <= place < start[high] */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (table->start[middle] <= place)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* A stretch of an epoch's order, listed anew unless it is the one that its slot holds. */
static const struct stretch *stretch_of(struct lj_sampler *s, const struct table *table,
                                        int64_t number)
{
    struct stretch *stretch = &s->stretch[number % SLOTS];
    if (stretch->epoch == table->epoch && stretch->number == number)
        return stretch;
    int64_t first = number * s->stride, place = table->start[number];
    stretch->epoch = table->epoch;
    stretch->number = number;
    stretch->groups = lj_min_i64(s->stride, s->groups.count - first);
    for (int64_t i = 0; i < stretch->groups; i++) {
        int64_t group = group_in_order(s, table->epoch, first + i);
        int64_t index = s->groups.first(s->groups.data, group);
        stretch->group[i] = (struct placed){place, index};
        place += s->groups.first(s->groups.data, group + 1) - index;
    }
    stretch->group[stretch->groups].place = place;
    return stretch;
}

/* The group that a place of an epoch lies in; the next element begins behind it. Valid until the
 * next call. */
static const struct placed *group_at(struct lj_sampler *s, int64_t epoch, int64_t place)
{
    const struct table *table = table_of(s, epoch);
    const struct stretch *stretch = stretch_of(s, table, stretch_at(s, table, place));
    int64_t low = 0, high = stretch->groups; /* group[low].place <= place < group[high].place */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (stretch->group[middle].place <= place)
            low = middle;
        else
            high = middle;
    }
    return &stretch->group[low];
}

/* Where in its window the sample at a position lies before mixing. */
static int64_t place_in_window(const struct lj_sampler *s, const struct window *w, int64_t position)
{
    return lj_permute(s->seed, LJ_DRAW_ORDER, (uint64_t)w->epoch, 1 + (uint64_t)w->place, w->length,
                      position - w->position);
}

static int tables_create(struct lj_sampler *s)
{
    s->indices = lj_alloc_array(s->window, sizeof *s->indices, "sampler");
    bool good = s->indices != NULL;
    for (int i = 0; i < TABLES; i++) {
        s->table[i].epoch = -1;
        s->table[i].start = lj_alloc_array(s->stretches, sizeof *s->table[i].start, "sampler");
        good = good && s->table[i].start;
    }
    for (int i = 0; i < SLOTS; i++) {
        s->stretch[i].epoch = -1;
        s->stretch[i].group = lj_alloc_array(s->stride + 1, sizeof *s->stretch[i].group, "sampler");
        good = good && s->stretch[i].group;
    }
    return good ? LJ_OK : LJ_ERR_RESOURCE;
}

int lj_sampler_create(struct lj_sampler **sampler, int64_t seed, int64_t lanes,
                      const struct lj_groups *groups, int64_t window)
{
    *sampler = NULL;
    int64_t samples = groups->first(groups->data, groups->count);
    LJ_CHECK(lanes > 0 && groups->count > 0 && window > 0 && samples > 0,
             "lj_sampler_create: %lld lanes, %lld groups, window %lld", (long long)lanes,
             (long long)groups->count, (long long)window);
    struct lj_sampler *s = lj_alloc(sizeof *s, "sampler");
    if (!s)
        return LJ_ERR_RESOURCE;
    *s = (struct lj_sampler){
        .seed = seed, .lanes = lanes, .groups = *groups, .window = window, .samples = samples};
    s->stride = (groups->count + STRETCHES_MAX - 1) / STRETCHES_MAX;
    s->stretches = (groups->count + s->stride - 1) / s->stride;
    int status = tables_create(s);
    if (status == LJ_OK)
        *sampler = s;
    else
        lj_sampler_destroy(s);
    return status;
}

void lj_sampler_destroy(struct lj_sampler *sampler)
{
    if (!sampler)
        return;
    for (int i = 0; i < TABLES; i++)
        lj_free(sampler->table[i].start);
    for (int i = 0; i < SLOTS; i++)
        lj_free(sampler->stretch[i].group);
    lj_free(sampler->indices);
    lj_free(sampler);
}

void lj_sampler_at(struct lj_sampler *sampler, int64_t lane, int64_t position, struct lj_draw *draw)
{
    struct window w = window_of(sampler, lane, position);
    int64_t place = w.place + place_in_window(sampler, &w, position);
    const struct placed *group = group_at(sampler, w.epoch, place);
    *draw = (struct lj_draw){.epoch = w.epoch, .index = group->index + place - group->place};
}

void lj_sampler_window(struct lj_sampler *sampler, int64_t lane, int64_t position, int64_t *first,
                       int64_t *length, const int64_t **indices)
{
    struct window w = window_of(sampler, lane, position);
    const struct placed *group = NULL;
    for (int64_t i = 0; i < w.length; i++) {
        int64_t place = w.place + i;
        if (!group || place >= group[1].place)
            group = group_at(sampler, w.epoch, place);
        sampler->indices[i] = group->index + place - group->place;
    }
    *first = w.position;
    *length = w.length;
    *indices = sampler->indices;
}

int64_t lj_sampler_place(struct lj_sampler *sampler, int64_t lane, int64_t position)
{
    struct window w = window_of(sampler, lane, position);
    return place_in_window(sampler, &w, position);
}
