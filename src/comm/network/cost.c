/* SPDX-License-Identifier: Apache-2.0 */
/* The network: what each line of the ledger takes in a step.
 *
 * Buckets of gradients start while backward goes on, from the last to the first, each when its
 * share of backward (that of its parameters) is done. They move one after the other, and the second
 * after a bucket starts only when that has arrived, as two of them have buffers. The busiest rank
 * counts: its messages and bytes, the larger of those it sends and those it receives. What goes
 * through the memory of a node without messages takes the time of as many bytes in messages there,
 * before the bucket leaves the node. */
#include "comm/network/network.h"

#include <math.h>
#include <string.h>

struct costing {
    const struct lj_network_model *model;
    const struct lj_network_step *step;
    struct lj_traffic_table *table;
    struct lj_step_cost *cost;
};

static struct lj_cost *add_entry(struct costing *c, const char *name)
{
    LJ_CHECK(c->cost->count < LJ_LEDGER_MAX, "no line left for the cost of %s", name);
    struct lj_cost *entry = &c->cost->entry[c->cost->count++];
    *entry = (struct lj_cost){.name = name};
    return entry;
}

/* ---- sums -------------------------------------------------------------------------------- */

/* All of a sum is exposed: nobody goes on without it. */
static void cost_sum(struct costing *c, const char *name, int64_t bytes, double calls)
{
    struct lj_placement place = c->step->place;
    struct lj_placement node = {(int)lj_min_i64(place.ranks, place.per_node), place.per_node};
    struct lj_cost *entry = add_entry(c, name);
    entry->bytes = (int64_t)llround((double)bytes * calls);
    c->cost->bytes += entry->bytes;
    entry->seconds = calls * lj_network_sum_s(c->model, place, bytes);
    entry->node_s = fmin(calls * lj_network_sum_s(c->model, node, bytes), entry->seconds);
    entry->network_s = entry->seconds - entry->node_s;
    entry->exposed_s = entry->seconds;
}

static bool is_of_plan(const char *name)
{
    return strcmp(name, "gradient") == 0 || strcmp(name, "weights") == 0 ||
           strcmp(name, "nonfinite") == 0 || strcmp(name, "norm") == 0;
}

/* How often a step calls it. */
static double calls_of(const struct lj_network_step *step, const struct lj_ledger_entry *e)
{
    return step->steps > 0 ? (double)e->calls / (double)step->steps : 1;
}

/* The sums of the ledger. Those of the reduction itself are planned for one rank as none. */
static void cost_sums(struct costing *c)
{
    const struct lj_gradsync_plan *plan = c->step->plan;
    const struct lj_ledger *ledger = c->step->ledger;
    for (int i = 0; i < ledger->count; i++) {
        const struct lj_ledger_entry *e = &ledger->entry[i];
        if (!is_of_plan(e->name) && calls_of(c->step, e) > 0)
            cost_sum(c, e->name, e->predicted_bytes_per_call, calls_of(c->step, e));
        if (strcmp(e->name, "norm") == 0 && c->step->steps > 0 && e->calls > 0)
            cost_sum(c, e->name,
                     plan->bounds[plan->buckets] / LJ_SHARD_ALIGN * (int64_t)sizeof(double),
                     calls_of(c->step, e));
    }
    cost_sum(c, "nonfinite", (int64_t)sizeof(int64_t), 1);
}

/* ---- messages between two ranks ---------------------------------------------------------- */

/* What a rank's messages take at each level. */
struct moving {
    double first_s; /* until the first message arrives; 0: there is none */
    enum lj_level first_level;
    double level_s[LJ_LEVELS];
};

static struct moving time_of(const struct lj_network_model *model, const struct lj_traffic *t)
{
    struct moving moving = {0};
    for (int level = 0; level < LJ_LEVELS; level++) {
        const struct lj_link *link = &model->link[level];
        int64_t messages = lj_max_i64(t->sent[level], t->received[level]);
        int64_t bytes = lj_max_i64(t->sent_bytes[level], t->received_bytes[level]);
        moving.level_s[level] = lj_network_exchange_s(link, messages, bytes);
        if (messages > 0 && link->L + 2 * link->o >= moving.first_s) {
            moving.first_s = link->L + 2 * link->o;
            moving.first_level = (enum lj_level)level;
        }
    }
    moving.level_s[LJ_LEVEL_NODE] += (double)t->common_bytes * model->link[LJ_LEVEL_NODE].full_G;
    return moving;
}

static void add_traffic(struct lj_traffic *sum, const struct lj_traffic *t)
{
    for (int level = 0; level < LJ_LEVELS; level++) {
        sum->sent[level] += t->sent[level];
        sum->sent_bytes[level] += t->sent_bytes[level];
        sum->received[level] += t->received[level];
        sum->received_bytes[level] += t->received_bytes[level];
    }
    sum->common_bytes += t->common_bytes;
}

static void keep_slowest(struct moving *slowest, const struct moving *m)
{
    if (m->first_s >= slowest->first_s) {
        slowest->first_s = m->first_s;
        slowest->first_level = m->first_level;
    }
    for (int level = 0; level < LJ_LEVELS; level++)
        slowest->level_s[level] = fmax(slowest->level_s[level], m->level_s[level]);
}

/* Time of messages, by level. */
static void book(struct lj_cost *entry, const struct moving *m)
{
    bool node = m->first_level == LJ_LEVEL_NODE;
    entry->node_s += m->level_s[LJ_LEVEL_NODE] + (node ? m->first_s : 0);
    entry->network_s += m->level_s[LJ_LEVEL_NETWORK] + (node ? 0 : m->first_s);
    entry->seconds = entry->node_s + entry->network_s;
}

/* One bucket on its way to the owners of its parts, on the rank for which that takes longest. */
static struct moving bucket_time(struct costing *c, int bucket)
{
    const struct lj_gradsync_plan *plan = c->step->plan;
    struct moving slowest = {0};
    for (int rank = 0; rank < c->step->place.ranks && !plan->fast; rank++) {
        struct lj_traffic t = lj_traffic_gradient(c->table, bucket, rank);
        struct moving m = time_of(c->model, &t);
        keep_slowest(&slowest, &m);
    }
    lj_progress();
    if (plan->fast) { /* MPI's own: the first half of a long sum */
        int64_t bytes = (plan->bounds[bucket + 1] - plan->bounds[bucket]) * (int64_t)sizeof(float);
        slowest.level_s[LJ_LEVEL_NETWORK] = lj_network_sum_s(c->model, c->step->place, bytes) / 2;
    }
    return slowest;
}

static void time_gradient(struct costing *c, struct lj_cost *entry)
{
    const struct lj_gradsync_plan *plan = c->step->plan;
    const double all = (double)plan->bounds[plan->buckets];
    double now = 0, arrived = 0, before = 0; /* when buckets b + 1 and b + 2 had arrived */
    for (int b = plan->buckets - 1; b >= 0; b--) {
        struct moving m = bucket_time(c, b);
        now += c->step->backward_s * (double)(plan->bounds[b + 1] - plan->bounds[b]) / all;
        now = fmax(now, before) + m.level_s[LJ_LEVEL_NODE];
        double arrives = fmax(now, arrived) + m.first_s + m.level_s[LJ_LEVEL_NETWORK];
        book(entry, &m);
        before = arrived;
        arrived = arrives;
    }
    entry->exposed_s = fmax(now, arrived) - c->step->backward_s;
}

/* All buckets are under way at once. */
static void time_weights(struct costing *c, struct lj_cost *entry, const struct moving *slowest)
{
    double hidden_s = slowest->first_s + slowest->level_s[LJ_LEVEL_NETWORK];
    book(entry, slowest);
    entry->exposed_s = slowest->level_s[LJ_LEVEL_NODE] + fmax(hidden_s - c->step->between_s, 0);
}

typedef struct lj_traffic (*traffic_of)(const struct lj_traffic_table *table, int bucket, int rank);

/* Of all buckets. */
static struct lj_traffic traffic_of_step(const struct costing *c, traffic_of of, int rank)
{
    struct lj_traffic sum = {0};
    for (int b = 0; b < c->step->plan->buckets; b++) {
        struct lj_traffic t = of(c->table, b, rank);
        add_traffic(&sum, &t);
    }
    return sum;
}

static void keep_busiest(int64_t *messages, int64_t *bytes, const struct lj_traffic *t)
{
    int64_t sent_bytes = 0, sent = 0;
    for (int level = 0; level < LJ_LEVELS; level++) {
        sent += t->sent[level];
        sent_bytes += t->sent_bytes[level];
    }
    *messages = lj_max_i64(*messages, sent);
    *bytes = lj_max_i64(*bytes, sent_bytes);
}

static void cost_messages(struct costing *c)
{
    const struct lj_gradsync_plan *plan = c->step->plan;
    struct lj_cost *gradient = add_entry(c, "gradient"), *weights = add_entry(c, "weights");
    struct moving slowest = {0};
    for (int rank = 0; rank < c->step->place.ranks; rank++) {
        struct lj_traffic g = {0}, w = traffic_of_step(c, lj_traffic_weights, rank);
        struct moving m = time_of(c->model, &w);
        if (!plan->fast)
            g = traffic_of_step(c, lj_traffic_gradient, rank);
        keep_slowest(&slowest, &m);
        keep_busiest(&gradient->messages, &gradient->bytes, &g);
        keep_busiest(&weights->messages, &weights->bytes, &w);
        add_traffic(&g, &w);
        keep_busiest(&c->cost->messages, &c->cost->bytes, &g);
    }
    if (plan->fast) { /* the ledger counts what a rank puts in */
        gradient->bytes = plan->bounds[plan->buckets] * (int64_t)sizeof(float);
        c->cost->bytes += gradient->bytes;
    }
    time_gradient(c, gradient);
    time_weights(c, weights, &slowest);
}

int lj_network_cost(const struct lj_network_model *model, const struct lj_network_step *step,
                    struct lj_step_cost *cost)
{
    struct costing c = {.model = model, .step = step, .cost = cost};
    *cost = (struct lj_step_cost){0};
    LJ_TRY(lj_traffic_create(&c.table, step->plan, step->place));
    if (step->place.ranks > 1) {
        cost_messages(&c);
        cost_sums(&c);
    }
    lj_traffic_destroy(c.table);
    for (int i = 0; i < cost->count; i++)
        cost->exposed_s += cost->entry[i].exposed_s;
    return LJ_OK;
}
