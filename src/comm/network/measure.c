/* SPDX-License-Identifier: Apache-2.0 */
/* The network: links and sums timed on the ranks there are, in the ways in which a step uses them.
 *
 * One sample after the other: a barrier among the ranks that take part, the work, the time of each
 * rank; the largest over ranks counts, and of several repeats the median. All ranks are told it, so
 * that they go on alike. The ranks that do not take part wait in that. */
#include "comm/comm_mpi.h"
#include "comm/network/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUFFER_BYTES =
        16 << 20,      /* of messages that a rank sends at once, and as many that it receives */
    MESSAGES_MAX = 16, /* of a rank under way at once, in an exchange or when they are posted */
    REPEATS_MIN = 3,
    REPEATS_MAX = 101,
    INNER_MAX = 64, /* calls in a row that are timed together */
    SAMPLES_EXPECTED = 60,
    TAG = 1
};

/* Calls that are shorter are timed several in a row: clocks and barriers cost about a tenth. */
static const double inner_s = 20e-6;

static const int64_t message_bytes[] = {8, 1024, 16 << 10, 128 << 10, 1 << 20, 4 << 20};
static const int64_t sum_bytes[] = {8, 512, 8 << 10, 64 << 10, 512 << 10, 2 << 20};
enum { MESSAGES = sizeof message_bytes / sizeof *message_bytes };
enum { SUMS = sizeof sum_bytes / sizeof *sum_bytes };

struct measuring {
    struct lj_comm *comm;
    struct lj_network *network;
    MPI_Comm node;  /* the ranks of rank 0's node; MPI_COMM_NULL on others */
    MPI_Comm first; /* the first rank of each node */
    MPI_Comm two;   /* of two nodes, as many ranks of each: one node's, then the other's */
    int between;    /* ranks of each of them */
    char *send, *receive;
    MPI_Request request[2 * MESSAGES_MAX];
    double times[REPEATS_MAX];
    double sample_s, started_s, budget_s;
};

/* ---- patterns ---------------------------------------------------------------------------- */

/* What one call of the work needs to know. */
struct work {
    struct measuring *m;
    const struct lj_network_sample *sample;
    MPI_Comm group;
    int rank, size; /* in the group */
    int stride;     /* LJ_PATTERN_EXCHANGE: between a rank and those it sends to */
};

/* Rank i and rank i + size / 2 talk. Returns half the time of there and back. */
static double run_pairs(const struct work *w)
{
    int half = w->size / 2, count = (int)w->sample->bytes;
    bool first = w->rank < half;
    int other = first ? w->rank + half : w->rank - half;
    if ((first ? w->rank : other) >= w->sample->pairs || w->rank >= 2 * half)
        return 0;
    double start = lj_now_s();
    if (first)
        MPI_Send(w->m->send, count, MPI_BYTE, other, TAG, w->group);
    MPI_Recv(w->m->receive, count, MPI_BYTE, other, TAG, w->group, MPI_STATUS_IGNORE);
    if (!first)
        MPI_Send(w->m->send, count, MPI_BYTE, other, TAG, w->group);
    return (lj_now_s() - start) / 2;
}

static double run_post(const struct work *w)
{
    int half = w->size / 2, count = (int)w->sample->bytes;
    double seconds = 0;
    if (w->rank != 0 && w->rank != half)
        return 0;
    for (int i = 0; i < MESSAGES_MAX && w->rank == half; i++)
        MPI_Irecv(w->m->receive + i * count, count, MPI_BYTE, 0, TAG, w->group, &w->m->request[i]);
    double start = lj_now_s();
    for (int i = 0; i < MESSAGES_MAX && w->rank == 0; i++)
        MPI_Isend(w->m->send, count, MPI_BYTE, half, TAG, w->group, &w->m->request[i]);
    if (w->rank == 0)
        seconds = (lj_now_s() - start) / MESSAGES_MAX;
    MPI_Waitall(MESSAGES_MAX, w->m->request, MPI_STATUSES_IGNORE);
    return seconds;
}

/* The other ranks take turns. Those of one pair arrive in the order in which they are sent. */
static double run_exchange(const struct work *w)
{
    int64_t bytes = w->sample->bytes;
    int messages = w->sample->messages, others = w->size / w->stride - 1, n = 0;
    double start = lj_now_s();
    for (int i = 0; i < messages; i++)
        MPI_Irecv(w->m->receive + i * bytes, (int)bytes, MPI_BYTE,
                  (w->rank + w->size - (1 + i % others) * w->stride) % w->size, TAG, w->group,
                  &w->m->request[n++]);
    for (int i = 0; i < messages; i++)
        MPI_Isend(w->m->send + i * bytes, (int)bytes, MPI_BYTE,
                  (w->rank + (1 + i % others) * w->stride) % w->size, TAG, w->group,
                  &w->m->request[n++]);
    MPI_Waitall(n, w->m->request, MPI_STATUSES_IGNORE);
    return lj_now_s() - start;
}

static double run_sum(const struct work *w)
{
    double start = lj_now_s();
    MPI_Allreduce(MPI_IN_PLACE, w->m->send, (int)(w->sample->bytes / (int64_t)sizeof(int64_t)),
                  MPI_INT64_T, MPI_SUM, w->group);
    return lj_now_s() - start;
}

static double run_once(const struct work *w)
{
    static double (*const run[LJ_PATTERNS])(const struct work *) = {
        [LJ_PATTERN_PAIRS] = run_pairs,
        [LJ_PATTERN_POST] = run_post,
        [LJ_PATTERN_EXCHANGE] = run_exchange,
        [LJ_PATTERN_ALLREDUCE] = run_sum,
    };
    return run[w->sample->pattern](w);
}

/* ---- a sample ---------------------------------------------------------------------------- */

/* Times one repeat of `inner` calls. */
static double run_repeat(const struct work *w, int inner)
{
    double seconds = 0;
    if (w->group == MPI_COMM_NULL)
        return 0;
    lj_progress_wait(true);
    MPI_Barrier(w->group);
    for (int i = 0; i < inner; i++)
        seconds += run_once(w);
    lj_progress_wait(false);
    lj_progress();
    return seconds / inner;
}

/* The same numbers on every rank: how many calls are timed together, how often. */
static void choose_repeats(const struct work *w, int *inner, int *repeats)
{
    struct measuring *m = w->m;
    double all[3];
    run_repeat(w, 1); /* buffers are registered, connections made */
    all[0] = run_repeat(w, 1);
    all[1] = lj_now_s() - m->started_s;
    lj_all_max_f64(m->comm, all, 2);
    double once = fmax(all[0], 1e-7), left = all[1] < m->budget_s ? m->sample_s : 0;
    *inner = (int)fmin(fmax(ceil(inner_s / once), 1), INNER_MAX);
    *repeats = (int)fmin(fmax(left / (once * *inner), REPEATS_MIN), REPEATS_MAX);
}

/* Takes a sample and books it. Collective over m->comm; ranks outside the group have
 * MPI_COMM_NULL, all give the same sample and stride. */
static void take(struct measuring *m, MPI_Comm group, struct lj_network_sample sample, int stride)
{
    struct work work = {.m = m, .sample = &sample, .group = group, .stride = stride};
    int inner, repeats;
    if (m->network->count == LJ_NETWORK_SAMPLES_MAX)
        return;
    if (group != MPI_COMM_NULL) {
        MPI_Comm_rank(group, &work.rank);
        MPI_Comm_size(group, &work.size);
    }
    choose_repeats(&work, &inner, &repeats);
    for (int i = 0; i < repeats; i++)
        m->times[i] = run_repeat(&work, inner);
    lj_all_max_f64(m->comm, m->times, repeats);
    qsort(m->times, (size_t)repeats, sizeof *m->times, lj_ascending_f64);
    sample.repeats = repeats;
    sample.seconds = m->times[repeats / 2];
    sample.low = m->times[repeats / 4];
    sample.high = m->times[(3 * repeats) / 4];
    m->network->sample[m->network->count++] = sample;
}

/* ---- levels ------------------------------------------------------------------------------ */

/* Pairs in a group of `ranks`: one alone, then as many as there are; and the posting of sends. */
static void take_pairs(struct measuring *m, enum lj_level level, MPI_Comm group, int ranks,
                       int per_node)
{
    struct lj_network_sample s = {
        .pattern = LJ_PATTERN_PAIRS, .level = level, .ranks = ranks, .per_node = per_node};
    for (int i = 0; i < MESSAGES; i++) {
        s.bytes = message_bytes[i];
        s.pairs = 1;
        take(m, group, s, 0);
        s.pairs = ranks / 2;
        if (s.pairs > 1)
            take(m, group, s, 0);
    }
    s.pattern = LJ_PATTERN_POST;
    s.pairs = 1;
    s.bytes = 8;
    take(m, group, s, 0);
}

/* Every rank of the group sends one message, then several: so first messages and gaps are told
 * apart. */
static void take_exchanges(struct measuring *m, enum lj_level level, MPI_Comm group, int ranks,
                           int per_node)
{
    int stride = level == LJ_LEVEL_NODE ? 1 : per_node;
    struct lj_network_sample s = {
        .pattern = LJ_PATTERN_EXCHANGE, .level = level, .ranks = ranks, .per_node = per_node};
    for (int i = 0; i < MESSAGES; i++) {
        s.bytes = message_bytes[i];
        s.messages = 1;
        take(m, group, s, stride);
        s.messages = MESSAGES_MAX;
        if (s.messages * s.bytes <= BUFFER_BYTES)
            take(m, group, s, stride);
    }
}

static void take_sums(struct measuring *m, enum lj_level level, MPI_Comm group,
                      struct lj_placement place)
{
    struct lj_network_sample s = {.pattern = LJ_PATTERN_ALLREDUCE,
                                  .level = level,
                                  .ranks = place.ranks,
                                  .per_node = place.per_node};
    for (int i = 0; i < SUMS; i++) {
        s.bytes = sum_bytes[i];
        take(m, group, s, 0);
    }
}

/* Rank 0 knows: how many ranks its node has. */
static int told_by_root(struct lj_comm *comm, int value)
{
    lj_broadcast(comm, &value, (int64_t)sizeof value, 0);
    return value;
}

static void measure_node(struct measuring *m)
{
    int size = 0;
    if (m->node != MPI_COMM_NULL)
        MPI_Comm_size(m->node, &size);
    size = told_by_root(m->comm, size);
    if (size < 2)
        return;
    take_pairs(m, LJ_LEVEL_NODE, m->node, size, size);
    take_exchanges(m, LJ_LEVEL_NODE, m->node, size, size);
    take_sums(m, LJ_LEVEL_NODE, m->node, (struct lj_placement){size, size});
}

/* Sums of the first rank of each node know the network alone, those of all ranks both levels. The
 * exchange wants ranks in blocks, or ranks would send to their own node. */
static void measure_network(struct measuring *m)
{
    struct lj_network *n = m->network;
    const struct lj_placement all = {n->ranks, n->per_node}, first = {n->nodes, 1};
    if (n->nodes < 2)
        return;
    take_pairs(m, LJ_LEVEL_NETWORK, m->two, 2 * m->between, m->between);
    if (n->blocks)
        take_exchanges(m, LJ_LEVEL_NETWORK, m->comm->mpi->comm, n->ranks, n->per_node);
    else
        take_exchanges(m, LJ_LEVEL_NETWORK, m->first, n->nodes, 1);
    take_sums(m, LJ_LEVEL_NETWORK, m->first, first);
    if (n->per_node > 1)
        take_sums(m, LJ_LEVEL_NETWORK, m->comm->mpi->comm, all);
}

/* ---- set-up ------------------------------------------------------------------------------ */

/* Finds the nodes, and the groups that are timed. Collective. */
static void find_nodes(struct measuring *m)
{
    struct lj_comm *comm = m->comm;
    struct lj_network *n = m->network;
    int in_node = 0, node_size = 1, node = 0;
    MPI_Comm mine = lj_split_nodes(comm);
    MPI_Comm_rank(mine, &in_node);
    MPI_Comm_size(mine, &node_size);
    m->first = lj_split(comm, in_node == 0 ? 0 : MPI_UNDEFINED, comm->rank);
    if (m->first != MPI_COMM_NULL)
        MPI_Comm_rank(m->first, &node);
    LJ_WAIT_IN(MPI_Bcast(&node, 1, MPI_INT, 0, mine));
    n->ranks = comm->size;
    n->nodes = (int)lj_all_max(comm, node) + 1;
    n->per_node = (int)lj_all_max(comm, node_size);
    bool in_place = comm->rank == node * n->per_node + in_node;
    n->blocks = lj_all_min(comm, in_place && node_size == n->per_node) != 0;
    m->between = (int)lj_all_min(comm, node < 2 ? node_size : n->per_node);
    bool of_two = n->nodes > 1 && node < 2 && in_node < m->between;
    m->two = lj_split(comm, of_two ? 0 : MPI_UNDEFINED, node * m->between + in_node);
    m->node = node == 0 ? mine : MPI_COMM_NULL;
    if (node != 0)
        MPI_Comm_free(&mine);
}

static void free_groups(struct measuring *m)
{
    if (m->node != MPI_COMM_NULL)
        MPI_Comm_free(&m->node);
    if (m->first != MPI_COMM_NULL)
        MPI_Comm_free(&m->first);
    if (m->two != MPI_COMM_NULL)
        MPI_Comm_free(&m->two);
}

int lj_network_measure(struct lj_comm *comm, double budget_s, struct lj_network *network)
{
    struct measuring m = {.comm = comm,
                          .network = network,
                          .send = lj_alloc(BUFFER_BYTES, "network"),
                          .receive = lj_alloc(BUFFER_BYTES, "network"),
                          .budget_s = budget_s,
                          .sample_s = budget_s / SAMPLES_EXPECTED,
                          .started_s = lj_now_s()};
    *network = (struct lj_network){.ranks = 1, .nodes = 1, .per_node = 1, .blocks = true};
    int status = m.send && m.receive ? lj_fault("network", -1) : LJ_ERR_RESOURCE;
    status = lj_agree(comm, status);
    if (status == LJ_OK) { /* touched, or reading them would read one page */
        memset(m.send, 0, BUFFER_BYTES);
        memset(m.receive, 0, BUFFER_BYTES);
    }
    if (status == LJ_OK && comm->size > 1) {
        find_nodes(&m);
        measure_node(&m);
        measure_network(&m);
        free_groups(&m);
    }
    lj_free(m.send);
    lj_free(m.receive);
    return status;
}

const char *lj_level_word(enum lj_level level)
{
    return level == LJ_LEVEL_NODE ? "node" : "network";
}

const char *lj_pattern_word(enum lj_pattern pattern)
{
    static const char *const word[LJ_PATTERNS] = {"pairs", "post", "exchange", "allreduce"};
    return word[pattern];
}
