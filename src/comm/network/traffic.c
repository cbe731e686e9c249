/* SPDX-License-Identifier: Apache-2.0 */
/* The network: which messages the gradient reduction sends in a step, on any number of ranks. The
 * rules are those of gradsync (layout.c deals buckets out, move.c and gather.c send); here they are
 * counted, without communicator or buffers. Sums over consecutive ranks come from running totals,
 * so that thousands of ranks are counted in a moment. */
#include "comm/gradsync/gradsync.h"

/* Of the ranks below one: subtrees they send of a bucket, those that send any, and those that keep
 * all weights. */
struct running {
    int64_t sums;
    int senders, whole;
};

struct lj_traffic_table {
    const struct lj_gradsync_plan *plan;
    struct lj_placement place;
    struct lj_wire wire;
    struct running *below; /* (ranks + 1) owned */
};

int lj_traffic_create(struct lj_traffic_table **table, const struct lj_gradsync_plan *plan,
                      struct lj_placement place)
{
    struct lj_traffic_table *t = lj_alloc(sizeof *t, "network");
    struct running *below = lj_alloc_array(place.ranks + 1, sizeof *below, "network");
    *table = NULL;
    if (!t || !below) {
        lj_free(below);
        lj_free(t);
        return LJ_ERR_RESOURCE;
    }
    *t = (struct lj_traffic_table){.plan = plan, .place = place, .below = below};
    if (lj_wire_create(&t->wire, plan) != LJ_OK) {
        lj_traffic_destroy(t);
        return LJ_ERR_RESOURCE;
    }
    for (int r = 0; r < place.ranks; r++) {
        struct lj_forest forest;
        int64_t first, end;
        lj_lanes_of_rank(plan->lanes, place.ranks, r, &first, &end);
        lj_forest_plan(&forest, plan->lanes, first, end);
        below[r + 1].sums = below[r].sums + forest.count;
        below[r + 1].senders = below[r].senders + (forest.count > 0);
        below[r + 1].whole = below[r].whole + (plan->whole_everywhere || r == 0 || end > first);
    }
    *table = t;
    return LJ_OK;
}

void lj_traffic_destroy(struct lj_traffic_table *table)
{
    if (!table)
        return;
    lj_wire_free(&table->wire);
    lj_free(table->below);
    lj_free(table);
}

/* Ranks [first, end) of the node of a rank. */
static void node_of(const struct lj_traffic_table *t, int rank, int *first, int *end)
{
    *first = rank - rank % t->place.per_node;
    *end = (int)lj_min_i64(*first + t->place.per_node, t->place.ranks);
}

/* Of a bucket: parts of other ranks, their elements, and the bytes of these in a sum, by level. */
struct others {
    int64_t mine, my_bytes; /* of this rank's part */
    int64_t parts[LJ_LEVELS], elements[LJ_LEVELS], bytes[LJ_LEVELS];
};

/* What the first turns of a deal get, in what a sum of it travels, and how many of them get
 * anything. */
static int64_t elements_before(const struct lj_wire *wire, const struct lj_deal *deal, int turn)
{
    (void)wire;
    return (turn * deal->each + lj_min_i64(turn, deal->more)) * LJ_SHARD_ALIGN;
}

static int64_t bytes_before(const struct lj_wire *wire, const struct lj_deal *deal, int turn)
{
    return lj_wire_bytes(wire, deal->first, elements_before(wire, deal, turn));
}

static int64_t parts_before(const struct lj_wire *wire, const struct lj_deal *deal, int turn)
{
    (void)wire;
    return lj_min_i64(turn, deal->parts);
}

/* The same of ranks [first, end), whose turns follow each other, and 0 the last. */
static int64_t of_ranks(const struct lj_wire *w, const struct lj_deal *deal, int first, int end,
                        int64_t (*before)(const struct lj_wire *wire, const struct lj_deal *deal,
                                          int turn))
{
    int from = lj_deal_turn(deal, first), to = from + end - first;
    if (to <= deal->size)
        return before(w, deal, to) - before(w, deal, from);
    return before(w, deal, deal->size) - before(w, deal, from) + before(w, deal, to - deal->size);
}

static struct others others_of(const struct lj_traffic_table *t, int bucket, int rank)
{
    struct lj_deal deal = lj_deal_among(t->place.ranks, t->plan->bounds, bucket);
    struct lj_part mine = lj_deal_part(&deal, lj_deal_turn(&deal, rank));
    const struct lj_wire *w = &t->wire;
    struct others o = {.mine = mine.count, .my_bytes = lj_wire_bytes(w, mine.first, mine.count)};
    int first, end;
    node_of(t, rank, &first, &end);
    o.parts[LJ_LEVEL_NODE] = of_ranks(w, &deal, first, end, parts_before) - (o.mine > 0);
    o.elements[LJ_LEVEL_NODE] = of_ranks(w, &deal, first, end, elements_before) - o.mine;
    o.bytes[LJ_LEVEL_NODE] = of_ranks(w, &deal, first, end, bytes_before) - o.my_bytes;
    int64_t all = t->plan->bounds[bucket + 1] - t->plan->bounds[bucket];
    o.parts[LJ_LEVEL_NETWORK] = deal.parts - (o.mine > 0) - o.parts[LJ_LEVEL_NODE];
    o.elements[LJ_LEVEL_NETWORK] = all - o.mine - o.elements[LJ_LEVEL_NODE];
    o.bytes[LJ_LEVEL_NETWORK] =
        lj_wire_bytes(w, deal.first, all) - o.my_bytes - o.bytes[LJ_LEVEL_NODE];
    return o;
}

/* What ranks [first, end) count. */
static struct running within(const struct lj_traffic_table *t, int first, int end)
{
    const struct running *b = t->below;
    return (struct running){.sums = b[end].sums - b[first].sums,
                            .senders = b[end].senders - b[first].senders,
                            .whole = b[end].whole - b[first].whole};
}

/* Of the other ranks, by level. */
static void count_others(const struct lj_traffic_table *t, int rank, struct running by[LJ_LEVELS])
{
    int first, end;
    node_of(t, rank, &first, &end);
    struct running mine = within(t, rank, rank + 1), node = within(t, first, end),
                   all = within(t, 0, t->place.ranks);
    by[LJ_LEVEL_NODE] = (struct running){.sums = node.sums - mine.sums,
                                         .senders = node.senders - mine.senders,
                                         .whole = node.whole - mine.whole};
    by[LJ_LEVEL_NETWORK] = (struct running){.sums = all.sums - node.sums,
                                            .senders = all.senders - node.senders,
                                            .whole = all.whole - node.whole};
}

struct lj_traffic lj_traffic_gradient(const struct lj_traffic_table *t, int bucket, int rank)
{
    struct others o = others_of(t, bucket, rank);
    struct running mine = within(t, rank, rank + 1), others[LJ_LEVELS];
    struct lj_traffic traffic = {0};
    count_others(t, rank, others);
    for (int level = 0; level < LJ_LEVELS; level++) {
        traffic.sent[level] = mine.sums > 0 ? o.parts[level] : 0;
        traffic.sent_bytes[level] = mine.sums * o.bytes[level];
        traffic.received[level] = o.mine > 0 ? others[level].senders : 0;
        traffic.received_bytes[level] = o.my_bytes * others[level].sums;
    }
    return traffic;
}

struct lj_traffic lj_traffic_weights(const struct lj_traffic_table *t, int bucket, int rank)
{
    const int64_t width = (int64_t)sizeof(float);
    struct others o = others_of(t, bucket, rank);
    bool whole = within(t, rank, rank + 1).whole > 0;
    struct running others[LJ_LEVELS];
    struct lj_traffic traffic = {0};
    count_others(t, rank, others);
    for (int level = 0; level < LJ_LEVELS; level++) {
        traffic.sent[level] = o.mine > 0 ? others[level].whole : 0;
        traffic.sent_bytes[level] = o.mine * others[level].whole * width;
        traffic.received[level] = whole ? o.parts[level] : 0;
        traffic.received_bytes[level] = whole ? o.elements[level] * width : 0;
    }
    return traffic;
}
