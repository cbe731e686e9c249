/* SPDX-License-Identifier: Apache-2.0 */
/* The model of the network: a fit finds the parameters that samples were made of; what ranks send
 * is what others receive; time grows with size, and one rank does not communicate. */
#include "comm/comm.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { UNIT = LJ_SHARD_ALIGN };

/* Microseconds and gigabytes a second as of a node and of a network. */
static const struct lj_network_model truth = {
    .link = {{true, 0.4e-6, 0.2e-6, 0.3e-6, 1e-10, 1.5e-10, 2.5e-10},
             {true, 1.1e-6, 0.3e-6, 0.5e-6, 4e-10, 9e-10, 12e-10}},
    .sum = {{1.1e-6, 3e-10, 2.5e-6, 2.2e-10}, {2.9e-6, 9e-10, 4.1e-6, 8.8e-10}},
};

static void add(struct lj_network *n, struct lj_network_sample sample)
{
    sample.seconds = lj_network_predict(&truth, &sample);
    n->sample[n->count++] = sample;
}

/* What the truth says that a sweep on 4 nodes of 8 ranks, or on one node, would measure. */
static struct lj_network make_samples(int nodes)
{
    struct lj_network n = {.ranks = 8 * nodes, .nodes = nodes, .per_node = 8, .blocks = true};
    for (enum lj_level level = 0; level < (nodes > 1 ? LJ_LEVELS : LJ_LEVEL_NETWORK); level++) {
        bool node = level == LJ_LEVEL_NODE;
        struct lj_network_sample s = {
            .level = level, .ranks = node ? 8 : 8 * nodes, .per_node = 8, .pairs = 1, .bytes = 8};
        s.pattern = LJ_PATTERN_POST;
        add(&n, s);
        for (s.bytes = 8; s.bytes <= 4 << 20; s.bytes *= 8) {
            s.pattern = LJ_PATTERN_PAIRS;
            for (s.pairs = 1; s.pairs <= 4; s.pairs += 3)
                add(&n, s);
            s.pattern = LJ_PATTERN_EXCHANGE;
            for (s.messages = 1; s.messages <= 16; s.messages += 15)
                add(&n, s);
            s.pattern = LJ_PATTERN_ALLREDUCE;
            add(&n, s);
        }
    }
    return n;
}

static void assert_near(double x, double expected, const char *what)
{
    cr_assert(fabs(x - expected) <= 1e-6 * fabs(expected), "%s: %g, not %g", what, x, expected);
}

static void assert_level(const struct lj_network_model *m, const struct lj_network_model *expected,
                         enum lj_level level)
{
    const struct lj_link *link = &m->link[level], *e = &expected->link[level];
    const struct lj_sum_cost *sum = &m->sum[level], *s = &expected->sum[level];
    assert_near(link->L, e->L, "L");
    assert_near(link->o, e->o, "o");
    assert_near(link->g, e->g, "g");
    assert_near(link->G, e->G, "G");
    assert_near(link->busy_G, e->busy_G, "G of busy pairs");
    assert_near(link->full_G, e->full_G, "G of exchanges");
    assert_near(sum->round_s, s->round_s, "round");
    assert_near(sum->byte_s, s->byte_s, "byte");
    assert_near(sum->long_round_s, s->long_round_s, "round of long sums");
    assert_near(sum->long_byte_s, s->long_byte_s, "byte of long sums");
}

Test(network, a_fit_recovers_what_samples_were_made_of)
{
    struct lj_network n = make_samples(4);
    struct lj_network_model m;
    lj_network_fit(&n, &m);
    cr_assert(m.link[LJ_LEVEL_NODE].measured && m.link[LJ_LEVEL_NETWORK].measured);
    assert_level(&m, &truth, LJ_LEVEL_NODE);
    assert_level(&m, &truth, LJ_LEVEL_NETWORK);
    cr_assert_eq(m.samples, n.count);
    cr_assert_lt(m.error_most, 1e-6);
}

/* One node: the network is taken for as fast, and said not to be measured. */
Test(network, a_level_that_was_not_measured_is_the_other_one)
{
    struct lj_network n = make_samples(1);
    struct lj_network_model m;
    lj_network_fit(&n, &m);
    cr_assert(m.link[LJ_LEVEL_NODE].measured && !m.link[LJ_LEVEL_NETWORK].measured);
    assert_level(&m, &truth, LJ_LEVEL_NODE);
    cr_assert_eq(m.link[LJ_LEVEL_NETWORK].full_G, m.link[LJ_LEVEL_NODE].full_G);
    cr_assert_eq(m.sum[LJ_LEVEL_NETWORK].long_byte_s, m.sum[LJ_LEVEL_NODE].long_byte_s);
    lj_network_fit(&(struct lj_network){.ranks = 1}, &m);
    cr_assert(m.samples == 0 && m.link[LJ_LEVEL_NODE].G == 0);
}

/* Times that fall with size, as noise makes them, give no parameter below 0; samples that are off
 * by up to a tenth move the parameters by about as much. */
Test(network, noise_makes_no_negative_parameter)
{
    struct lj_network n = make_samples(4);
    struct lj_network_model m;
    for (int i = 0; i < n.count; i++)
        n.sample[i].seconds *= 1 + 0.1 * sin(37.0 * i);
    lj_network_fit(&n, &m);
    cr_assert_lt(m.error, 0.12);
    cr_assert_lt(fabs(m.link[LJ_LEVEL_NETWORK].full_G / truth.link[LJ_LEVEL_NETWORK].full_G - 1),
                 0.2);
    for (int i = 0; i < n.count; i++)
        n.sample[i].seconds = 1.0 / (double)(n.sample[i].bytes + 1);
    lj_network_fit(&n, &m);
    for (int level = 0; level < LJ_LEVELS; level++) {
        const struct lj_link *link = &m.link[level];
        cr_assert(link->L >= 0 && link->o >= 0 && link->g >= 0 && link->G >= 0 &&
                  link->busy_G >= 0 && link->full_G >= 0);
        cr_assert(m.sum[level].byte_s >= 0 && m.sum[level].long_round_s >= 0);
    }
}

/* The network let one message through at once: the others still say what a byte takes. */
Test(network, one_fast_sample_does_not_rule)
{
    struct lj_network n = make_samples(4);
    struct lj_network_model m;
    const struct lj_link *network = &m.link[LJ_LEVEL_NETWORK];
    struct lj_network_sample *fast = NULL;
    for (int i = 0; i < n.count; i++)
        if (n.sample[i].pattern == LJ_PATTERN_PAIRS && n.sample[i].level == LJ_LEVEL_NETWORK &&
            n.sample[i].pairs == 1 && n.sample[i].bytes == 262144)
            fast = &n.sample[i];
    cr_assert_not_null(fast);
    fast->seconds /= 30;
    lj_network_fit(&n, &m);
    cr_assert_gt(network->G, 0.5 * truth.link[LJ_LEVEL_NETWORK].G);
    cr_assert_lt(network->G, 1.5 * truth.link[LJ_LEVEL_NETWORK].G);
}

/* ---- messages ---------------------------------------------------------------------------- */

struct total {
    int64_t sent, received, sent_bytes, received_bytes;
};

static void add_total(struct total *sum, const struct lj_traffic *t, enum lj_level level)
{
    sum->sent += t->sent[level];
    sum->received += t->received[level];
    sum->sent_bytes += t->sent_bytes[level];
    sum->received_bytes += t->received_bytes[level];
}

static void assert_balanced(const struct lj_gradsync_plan *plan, struct lj_placement place)
{
    struct lj_traffic_table *table = NULL;
    cr_assert_eq(lj_traffic_create(&table, plan, place), LJ_OK);
    for (int b = 0; b < plan->buckets; b++)
        for (int level = 0; level < LJ_LEVELS; level++) {
            struct total gradient = {0}, weights = {0};
            for (int r = 0; r < place.ranks; r++) {
                struct lj_traffic g = lj_traffic_gradient(table, b, r);
                struct lj_traffic w = lj_traffic_weights(table, b, r);
                add_total(&gradient, &g, (enum lj_level)level);
                add_total(&weights, &w, (enum lj_level)level);
            }
            cr_assert(gradient.sent == gradient.received && weights.sent == weights.received,
                      "%d ranks, bucket %d: messages", place.ranks, b);
            cr_assert(gradient.sent_bytes == gradient.received_bytes &&
                          weights.sent_bytes == weights.received_bytes,
                      "%d ranks, bucket %d: bytes", place.ranks, b);
            bool alone = level == LJ_LEVEL_NETWORK && place.ranks <= place.per_node;
            cr_assert(!alone || (gradient.sent == 0 && weights.sent_bytes == 0));
        }
    lj_traffic_destroy(table);
}

static const int64_t bounds[] = {0, 3 * UNIT, 20 * UNIT, 21 * UNIT, 300 * UNIT};
static const bool rounded[300] = {[0] = true, [5] = true, [6] = true, [20] = true, [299] = true};
static const struct lj_gradsync_plan plans[] = {
    {.lanes = 64, .buckets = 4, .bounds = bounds, .exchange = LJ_COMM_EXCHANGE_RANKS},
    {.lanes = 37, .buckets = 4, .bounds = bounds, .exchange = LJ_COMM_EXCHANGE_RANKS},
    {.lanes = 96,
     .buckets = 2,
     .bounds = bounds,
     .whole_everywhere = true,
     .exchange = LJ_COMM_EXCHANGE_RANKS},
    {.lanes = 64, .buckets = 4, .bounds = bounds, .exchange = LJ_COMM_EXCHANGE_NODES},
    {.lanes = 37, .buckets = 4, .bounds = bounds, .exchange = LJ_COMM_EXCHANGE_NODES},
    {.lanes = 96,
     .buckets = 2,
     .bounds = bounds,
     .whole_everywhere = true,
     .exchange = LJ_COMM_EXCHANGE_NODES},
    {.lanes = 37,
     .buckets = 4,
     .bounds = bounds,
     .rounded = rounded,
     .exchange = LJ_COMM_EXCHANGE_RANKS},
    {.lanes = 37,
     .buckets = 4,
     .bounds = bounds,
     .rounded = rounded,
     .exchange = LJ_COMM_EXCHANGE_NODES},
};
enum { PLANS = sizeof plans / sizeof *plans };

Test(network, what_is_sent_is_received)
{
    const int ranks[] = {1, 2, 3, 5, 32, 48, 200};
    const int per_node[] = {1, 3, 8, 64};
    for (size_t i = 0; i < PLANS; i++)
        for (size_t j = 0; j < sizeof ranks / sizeof *ranks; j++)
            for (size_t k = 0; k < 4; k++)
                assert_balanced(&plans[i], (struct lj_placement){ranks[j], per_node[k]});
}

/* With a power of two lanes on each rank the traffic is that of an ideal reduce-scatter: all but a
 * rank's own share. */
Test(network, powers_of_two_send_no_more_than_a_reduce_scatter)
{
    const int64_t even[] = {0, 64 * UNIT, 192 * UNIT};
    struct lj_gradsync_plan plan = {
        .lanes = 64, .buckets = 2, .bounds = even, .exchange = LJ_COMM_EXCHANGE_RANKS};
    struct lj_traffic_table *table = NULL;
    cr_assert_eq(lj_traffic_create(&table, &plan, (struct lj_placement){32, 8}), LJ_OK);
    struct lj_traffic t = lj_traffic_gradient(table, 0, 5);
    cr_assert_eq(t.sent_bytes[0] + t.sent_bytes[1], 62 * UNIT * (int64_t)sizeof(float));
    cr_assert_eq(t.sent[LJ_LEVEL_NODE], 7);
    cr_assert_eq(t.sent[LJ_LEVEL_NETWORK], 24);
    lj_traffic_destroy(table);
    plan.exchange =
        LJ_COMM_EXCHANGE_NODES; /* an eighth of it, to one rank of each of three nodes */
    cr_assert_eq(lj_traffic_create(&table, &plan, (struct lj_placement){32, 8}), LJ_OK);
    t = lj_traffic_gradient(table, 0, 5);
    cr_assert(t.sent[LJ_LEVEL_NODE] == 0 && t.sent[LJ_LEVEL_NETWORK] == 3);
    cr_assert_eq(t.sent_bytes[LJ_LEVEL_NETWORK], 6 * UNIT * (int64_t)sizeof(float));
    cr_assert_eq(t.common_bytes, 64 * UNIT * (int64_t)sizeof(float));
    t = lj_traffic_weights(table, 0, 5);
    cr_assert(t.sent[LJ_LEVEL_NODE] == 0 && t.sent[LJ_LEVEL_NETWORK] == 3);
    cr_assert_eq(t.common_bytes, 62 * UNIT * (int64_t)sizeof(float));
    lj_traffic_destroy(table);
}

/* ---- cost of a step ---------------------------------------------------------------------- */

static struct lj_step_cost cost_of_plan(const struct lj_gradsync_plan *plan,
                                        const struct lj_network_model *model,
                                        struct lj_placement place, double backward_s,
                                        int64_t message)
{
    struct lj_ledger ledger = {0};
    struct lj_ledger_entry *sigreg = lj_ledger_entry(&ledger, "sigreg", "MPI_Allreduce");
    sigreg->predicted_bytes_per_call = message;
    sigreg->calls = 10;
    struct lj_network_step step = {.plan = plan,
                                   .place = place,
                                   .ledger = &ledger,
                                   .steps = 10,
                                   .backward_s = backward_s,
                                   .between_s = 1e-3};
    struct lj_step_cost cost;
    cr_assert_eq(lj_network_cost(model, &step, &cost), LJ_OK);
    return cost;
}

static struct lj_step_cost cost_with(const struct lj_network_model *model,
                                     struct lj_placement place, double backward_s, int64_t message)
{
    return cost_of_plan(&plans[0], model, place, backward_s, message);
}

static struct lj_step_cost cost_of(struct lj_placement place, double backward_s, int64_t message)
{
    return cost_with(&truth, place, backward_s, message);
}

static const struct lj_cost *entry_of(const struct lj_step_cost *cost, const char *name)
{
    for (int i = 0; i < cost->count; i++)
        if (strcmp(cost->entry[i].name, name) == 0)
            return &cost->entry[i];
    cr_assert(false, "no line %s", name);
    return NULL;
}

Test(network, one_rank_does_not_communicate)
{
    struct lj_step_cost cost = cost_of((struct lj_placement){1, 8}, 0.1, 1 << 20);
    cr_assert(cost.count == 0 && cost.exposed_s == 0);
    cr_assert_eq(lj_network_sum_s(&truth, (struct lj_placement){1, 1}, 1 << 20), 0);
}

static void assert_grows(const struct lj_network_model *model, struct lj_placement place)
{
    double before = 0;
    for (int64_t bytes = 8; bytes < 1 << 28; bytes = bytes * 3 / 2) {
        double s = lj_network_sum_s(model, place, bytes);
        cr_assert_geq(s, before, "%d ranks, %lld bytes", place.ranks, (long long)bytes);
        before = s;
    }
}

/* Also where long vectors are summed in another way, and faster. */
Test(network, time_grows_with_size)
{
    struct lj_network_model fast_long = truth;
    fast_long.sum[0].long_byte_s = fast_long.sum[1].long_byte_s = 1e-13;
    for (int ranks = 2; ranks <= 4096; ranks *= 4)
        for (int per_node = 1; per_node <= 64; per_node *= 8) {
            assert_grows(&truth, (struct lj_placement){ranks, per_node});
            assert_grows(&fast_long, (struct lj_placement){ranks, per_node});
        }
    struct lj_placement place = {32, 8};
    struct lj_step_cost small = cost_of(place, 0, 1 << 10), large = cost_of(place, 0, 1 << 22);
    cr_assert_lt(small.exposed_s, large.exposed_s);
    cr_assert_eq(entry_of(&large, "sigreg")->bytes, 1 << 22);
    assert_near(entry_of(&large, "sigreg")->seconds, lj_network_sum_s(&truth, place, 1 << 22),
                "the step's message");
}

/* Without backward everything shows. A long backward hides the network but for the last bucket, and
 * nothing of what processors copy inside a node. */
Test(network, backward_hides_buckets)
{
    struct lj_placement place = {32, 8};
    struct lj_step_cost bare = cost_of(place, 0, 1 << 10), hidden = cost_of(place, 10, 1 << 10);
    const struct lj_cost *shown = entry_of(&bare, "gradient"), *g = entry_of(&hidden, "gradient");
    cr_assert_gt(g->network_s, 0);
    cr_assert(shown->exposed_s <= shown->seconds * (1 + 1e-9) &&
              shown->exposed_s > 0.8 * shown->seconds);
    cr_assert_gt(g->exposed_s, g->node_s);
    cr_assert_lt(g->exposed_s, g->node_s + 0.5 * g->network_s);
    struct lj_network_model no_network = truth;
    no_network.link[LJ_LEVEL_NETWORK] = (struct lj_link){.measured = true};
    struct lj_step_cost copied = cost_with(&no_network, place, 10, 1 << 10);
    double node_s = entry_of(&copied, "gradient")->node_s;
    cr_assert_gt(node_s, 0);
    double first_s = truth.link[0].L + 2 * truth.link[0].o;
    assert_near(entry_of(&copied, "gradient")->exposed_s, node_s - 3 * first_s,
                "what is copied, and the last of four first messages");
    assert_near(g->seconds, shown->seconds, "what moves");
    cr_assert_geq(entry_of(&bare, "weights")->exposed_s, entry_of(&bare, "weights")->node_s);
    assert_near(bare.exposed_s,
                entry_of(&bare, "sigreg")->exposed_s + entry_of(&bare, "nonfinite")->exposed_s +
                    shown->exposed_s + entry_of(&bare, "weights")->exposed_s,
                "the sum of all lines");
}

/* Nodes of eight ranks that exchange move an eighth as much between them, in fewer messages. */
Test(network, nodes_move_less_than_their_ranks)
{
    struct lj_placement place = {32, 8};
    struct lj_step_cost ranks = cost_of_plan(&plans[0], &truth, place, 0.1, 1 << 10);
    struct lj_step_cost nodes = cost_of_plan(&plans[3], &truth, place, 0.1, 1 << 10);
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? "gradient" : "weights";
        const struct lj_cost *by_ranks = entry_of(&ranks, name), *by_nodes = entry_of(&nodes, name);
        cr_assert_lt(by_nodes->messages, by_ranks->messages / 8 + 1, "%s", name);
        cr_assert_lt(by_nodes->network_s, by_ranks->network_s / 4, "%s", name);
        cr_assert(by_nodes->node_s > 0, "%s", name);
    }
}
