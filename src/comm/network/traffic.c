/* SPDX-License-Identifier: Apache-2.0 */
/* The network: which messages the gradient reduction sends in a step, on any number of ranks. The
 * rules are those of gradsync (layout.c deals buckets out, move.c and gather.c send); here they are
 * counted, without communicator or buffers. Sums over consecutive ranks or nodes come from running
 * totals, so that thousands of ranks are counted in a moment. */
#include "comm/gradsync/gradsync.h"

/* Of the ranks below one: subtrees they send of a bucket, those that send any, and those that keep
 * all weights. */
struct running {
    int64_t sums;
    int senders, whole;
};

/* Parts of a bucket whose owners are at one place of their nodes, their elements, and the bytes of
 * these in a sum. */
struct at_place {
    int64_t parts, elements, bytes;
};

struct lj_traffic_table {
    const struct lj_gradsync_plan *plan;
    struct lj_placement place;
    struct lj_wire wire;
    struct running *below; /* (ranks + 1) owned */
    /* Where nodes exchange; NULL where ranks do. */
    struct running *nodes_below; /* (nodes + 1) owned; sums are those that a node sends */
    struct at_place *at_place;   /* (buckets, per_node) owned */
};

static int node_count(struct lj_placement place)
{
    return (place.ranks + place.per_node - 1) / place.per_node;
}

static int allocate(struct lj_traffic_table *t)
{
    t->below = lj_alloc_array(t->place.ranks + 1, sizeof *t->below, "traffic");
    if (!t->below)
        return LJ_ERR_RESOURCE;
    LJ_TRY(lj_wire_create(&t->wire, t->plan));
    if (!lj_exchange_by_nodes(t->plan->exchange, node_count(t->place),
                              lj_min_i64(t->place.per_node, t->place.ranks)))
        return LJ_OK;
    t->nodes_below = lj_alloc_array(node_count(t->place) + 1, sizeof *t->nodes_below, "traffic");
    t->at_place = lj_alloc_array(t->plan->buckets * (int64_t)t->place.per_node, sizeof *t->at_place,
                                 "traffic");
    return t->nodes_below && t->at_place ? LJ_OK : LJ_ERR_RESOURCE;
}

/* Adds what ranks [first, end) send together, whose lanes follow each other. */
static struct running add_ranks(const struct lj_traffic_table *t, struct running sum, int first,
                                int end)
{
    const struct lj_gradsync_plan *plan = t->plan;
    struct lj_forest forest;
    int64_t first_lane, end_lane, none;
    lj_lanes_of_rank(plan->lanes, t->place.ranks, first, &first_lane, &none);
    lj_lanes_of_rank(plan->lanes, t->place.ranks, end - 1, &none, &end_lane);
    lj_forest_plan(&forest, plan->lanes, first_lane, end_lane);
    sum.sums += forest.count;
    sum.senders += forest.count > 0;
    sum.whole += plan->whole_everywhere || first == 0 || end_lane > first_lane;
    return sum;
}

static void count_places(struct lj_traffic_table *t, int bucket)
{
    struct lj_deal deal = lj_deal_among(t->place.ranks, t->plan->bounds, bucket);
    for (int turn = 0; turn < deal.parts; turn++) {
        struct lj_part part = lj_deal_part(&deal, turn);
        int place = part.rank % t->place.per_node;
        struct at_place *at = &t->at_place[bucket * t->place.per_node + place];
        at->parts++;
        at->elements += part.count;
        at->bytes += lj_wire_bytes(&t->wire, part.first, part.count);
    }
}

static void fill(struct lj_traffic_table *t)
{
    struct lj_placement place = t->place;
    for (int r = 0; r < place.ranks; r++)
        t->below[r + 1] = add_ranks(t, t->below[r], r, r + 1);
    for (int n = 0; n < node_count(place) && t->nodes_below; n++)
        t->nodes_below[n + 1] = add_ranks(t, t->nodes_below[n], n * place.per_node,
                                          (int)lj_min_i64((n + 1) * place.per_node, place.ranks));
    for (int b = 0; b < t->plan->buckets && t->at_place; b++)
        count_places(t, b);
}

int lj_traffic_create(struct lj_traffic_table **table, const struct lj_gradsync_plan *plan,
                      struct lj_placement place)
{
    struct lj_traffic_table *t = lj_alloc(sizeof *t, "traffic");
    *table = NULL;
    if (!t)
        return LJ_ERR_RESOURCE;
    *t = (struct lj_traffic_table){.plan = plan, .place = place};
    int status = allocate(t);
    if (status == LJ_OK) {
        fill(t);
        *table = t;
    } else {
        lj_traffic_destroy(t);
    }
    return status;
}

void lj_traffic_destroy(struct lj_traffic_table *table)
{
    if (!table)
        return;
    lj_wire_free(&table->wire);
    lj_free(table->below);
    lj_free(table->nodes_below);
    lj_free(table->at_place);
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

static struct running difference(struct running a, struct running b)
{
    return (struct running){
        .sums = a.sums - b.sums, .senders = a.senders - b.senders, .whole = a.whole - b.whole};
}

/* What ranks [first, end) count, each for itself. */
static struct running within(const struct lj_traffic_table *t, int first, int end)
{
    return difference(t->below[end], t->below[first]);
}

/* Of the other ranks, by level. */
static void count_others(const struct lj_traffic_table *t, int rank, struct running by[LJ_LEVELS])
{
    int first, end;
    node_of(t, rank, &first, &end);
    struct running node = within(t, first, end);
    by[LJ_LEVEL_NODE] = difference(node, within(t, rank, rank + 1));
    by[LJ_LEVEL_NETWORK] = difference(within(t, 0, t->place.ranks), node);
}

/* ---- nodes exchange ---------------------------------------------------------------------- */

/* Of a bucket: the parts of other nodes' ranks to which a rank speaks, those at its place and, on
 * the last node if that has fewer ranks, at what is left of other places. */
static struct at_place spoken_to(const struct lj_traffic_table *t, int bucket, int rank,
                                 const struct others *o)
{
    struct at_place sum = {.parts = -(o->mine > 0), .elements = -o->mine, .bytes = -o->my_bytes};
    int first, end;
    node_of(t, rank, &first, &end);
    for (int place = rank - first; place < t->place.per_node; place += end - first) {
        const struct at_place *at = &t->at_place[bucket * t->place.per_node + place];
        sum.parts += at->parts;
        sum.elements += at->elements;
        sum.bytes += at->bytes;
    }
    return sum;
}

/* A bucket as a rank sees it that exchanges with other nodes' ranks. */
struct seen {
    struct others own;
    struct at_place parts;       /* of those to which it speaks */
    struct running node, others; /* what its node counts, and all others together */
    int64_t elements;            /* of the bucket */
    int64_t inputs;              /* sums of its node's ranks, which it reads */
    bool alone;                  /* on its node, without common memory */
};

static struct seen seen_by(const struct lj_traffic_table *t, int bucket, int rank)
{
    const struct running *below = t->nodes_below;
    int node = rank / t->place.per_node, first, end;
    struct seen seen = {.own = others_of(t, bucket, rank),
                        .elements = t->plan->bounds[bucket + 1] - t->plan->bounds[bucket]};
    node_of(t, rank, &first, &end);
    seen.parts = spoken_to(t, bucket, rank, &seen.own);
    seen.node = difference(below[node + 1], below[node]);
    seen.others = difference(below[node_count(t->place)], seen.node);
    seen.inputs = within(t, first, end).sums;
    seen.alone = end - first == 1;
    return seen;
}

/* Bytes that hold a rank up in the common memory: those that it writes or reads, whichever are
 * more. */
static int64_t floats_in_common(const struct seen *seen, int64_t written, int64_t read)
{
    return seen->alone ? 0 : lj_max_i64(written, read) * (int64_t)sizeof(float);
}

/* In the common memory a rank writes its sums, and reads those of all its node's ranks of the parts
 * that it sums: its own and those that it sends. */
static struct lj_traffic gradient_by_nodes(const struct lj_traffic_table *t, int bucket, int rank)
{
    struct seen s = seen_by(t, bucket, rank);
    int64_t written = within(t, rank, rank + 1).sums * s.elements;
    int64_t read = s.inputs * (s.own.mine + s.parts.elements);
    struct lj_traffic traffic = {.common_bytes = floats_in_common(&s, written, read)};
    traffic.sent[LJ_LEVEL_NETWORK] = s.node.sums > 0 ? s.parts.parts : 0;
    traffic.sent_bytes[LJ_LEVEL_NETWORK] = s.node.sums * s.parts.bytes;
    traffic.received[LJ_LEVEL_NETWORK] = s.own.mine > 0 ? s.others.senders : 0;
    traffic.received_bytes[LJ_LEVEL_NETWORK] = s.own.my_bytes * s.others.sums;
    return traffic;
}

/* In the common memory a rank writes its part, and reads what it does not have. */
static struct lj_traffic weights_by_nodes(const struct lj_traffic_table *t, int bucket, int rank)
{
    const int64_t width = (int64_t)sizeof(float);
    struct seen s = seen_by(t, bucket, rank);
    int64_t written = s.node.whole > 0 ? s.own.mine : 0;
    int64_t read = within(t, rank, rank + 1).whole > 0 ? s.elements - s.own.mine : 0;
    struct lj_traffic traffic = {.common_bytes = floats_in_common(&s, written, read)};
    traffic.sent[LJ_LEVEL_NETWORK] = s.own.mine > 0 ? s.others.whole : 0;
    traffic.sent_bytes[LJ_LEVEL_NETWORK] = s.own.mine * s.others.whole * width;
    traffic.received[LJ_LEVEL_NETWORK] = s.node.whole > 0 ? s.parts.parts : 0;
    traffic.received_bytes[LJ_LEVEL_NETWORK] = s.node.whole > 0 ? s.parts.elements * width : 0;
    return traffic;
}

/* ---- either ------------------------------------------------------------------------------ */

struct lj_traffic lj_traffic_gradient(const struct lj_traffic_table *t, int bucket, int rank)
{
    struct others o = others_of(t, bucket, rank);
    struct running mine = within(t, rank, rank + 1), others[LJ_LEVELS];
    struct lj_traffic traffic = {0};
    if (t->nodes_below)
        return gradient_by_nodes(t, bucket, rank);
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
    if (t->nodes_below)
        return weights_by_nodes(t, bucket, rank);
    count_others(t, rank, others);
    for (int level = 0; level < LJ_LEVELS; level++) {
        traffic.sent[level] = o.mine > 0 ? others[level].whole : 0;
        traffic.sent_bytes[level] = o.mine * others[level].whole * width;
        traffic.received[level] = whole ? o.parts[level] : 0;
        traffic.received_bytes[level] = whole ? o.elements[level] * width : 0;
    }
    return traffic;
}
