/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: memory of the ranks of a node, and what they let each other know.
 *
 * In the common memory, a rank writes its own sums, its own notices, its own parts of new weights
 * and those that it receives for its node; all of the node read them. There is no lock and no
 * barrier. Each number of a notice is written by one rank only, and only grows:
 *
 *     writer   writes sums of bucket q     releases FILLED = q
 *     reader   acquires FILLED >= q of all ranks of the node     reads them     releases SUMMED = q
 *     writer   acquires SUMMED >= q of all ranks of the node     writes sums of bucket q + 2 there
 *
 * A release orders what its rank read and wrote before it, an acquire that sees it what comes after
 * it: sums are read when they are whole, and overwritten when nobody reads them any more. New
 * weights are written and read by the same rule, with ARRIVED and COPIED. To MPI, whose receives
 * write there, too, MPI_Win_sync says the same.
 *
 * A rank that waits for a bucket goes on meanwhile with every bucket that it has started, and waits
 * for nothing that belongs to a later one: no ranks wait for each other in a circle. */
#include "comm/gradsync/gradsync.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* A cache line for each rank, as the others look at it often. */
struct lj_notices {
    _Alignas(64) _Atomic int64_t number[LJ_NOTICES];
};
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "atomic numbers work between processes");

enum { PAGE = 4096 };

/* Where the sums and the weights begin in the common memory, and where it ends. */
struct place {
    int64_t sums, weights, end;
};

static struct place lay_out(const struct lj_gradsync *s, const struct lj_gradsync_plan *plan)
{
    const struct lj_node_map *map = &s->map;
    int64_t notices = lj_node_ranks(map, map->mine) * (int64_t)sizeof(struct lj_notices);
    int64_t widest = 0, weights = plan->bounds[plan->buckets];
    struct place place = {.sums = (notices + PAGE - 1) / PAGE * PAGE};
    for (int b = 0; b < plan->buckets; b++)
        widest = lj_max_i64(widest, plan->bounds[b + 1] - plan->bounds[b]);
    place.weights = place.sums + 2 * lj_node_inputs(s, map->mine) * widest * (int64_t)sizeof(float);
    bool keeps = lj_node_keeps_weights(s, map->mine, plan->whole_everywhere);
    place.end = place.weights + (keeps ? weights * (int64_t)sizeof(float) : 0);
    return place;
}

/* All of it becomes 0, by all ranks together: memory that is not there after all is missed now, and
 * not in a step. */
static void clear(const struct lj_gradsync *s)
{
    char *memory = s->common.window.memory;
    int64_t ranks = lj_node_ranks(&s->map, s->map.mine), me = s->map.place[s->comm->rank];
    int64_t pages = s->common.bytes / PAGE, first = pages * me / ranks,
            end = pages * (me + 1) / ranks;
    memset(memory + first * PAGE, 0, (size_t)((end - first) * PAGE));
    lj_window_sync(&s->common.window);
    LJ_WAIT_IN(MPI_Barrier(s->map.comm));
    lj_window_sync(&s->common.window);
}

/* Takes the memory of this node. Collective over it; false if there is none. */
static bool take_memory(struct lj_gradsync *s, const struct lj_gradsync_plan *plan)
{
    struct place place = lay_out(s, plan);
    struct lj_common *c = &s->common;
    if (lj_node_ranks(&s->map, s->map.mine) == 1)
        return true;
    if (!lj_window_create(&c->window, s->map.comm, place.end))
        return false;
    char *memory = c->window.memory;
    c->bytes = place.end;
    c->notices = (struct lj_notices *)memory;
    c->sums = place.weights > place.sums ? (float *)(memory + place.sums) : NULL;
    c->weights = place.end > place.weights ? (float *)(memory + place.weights) : NULL;
    clear(s);
    return true;
}

bool lj_exchange_by_nodes(enum lj_comm_exchange exchange, int64_t nodes, int64_t most_ranks)
{
    bool asked =
        exchange == LJ_COMM_EXCHANGE_NODES || (exchange == LJ_COMM_EXCHANGE_AUTO && nodes > 1);
    return asked && most_ranks > 1;
}

int lj_gradsync_join_nodes(struct lj_gradsync *s, const struct lj_gradsync_plan *plan)
{
    if (plan->exchange != LJ_COMM_EXCHANGE_RANKS) {
        LJ_TRY(lj_node_map_create(&s->map, s->comm));
        bool by_nodes = lj_exchange_by_nodes(plan->exchange, s->map.nodes, s->map.most);
        if (by_nodes && lj_all_min(s->comm, take_memory(s, plan)))
            return LJ_OK;
        if (by_nodes)
            lj_warn("comm.exchange: a node has no room in /dev/shm, or MPI shares none; ranks "
                    "exchange instead of nodes, in more messages");
        lj_gradsync_leave_nodes(s);
    }
    return lj_agree(s->comm, lj_node_map_alone(&s->map, s->comm));
}

void lj_gradsync_leave_nodes(struct lj_gradsync *s)
{
    lj_window_free(&s->common.window);
    lj_node_map_free(&s->map);
    s->common = (struct lj_common){0};
}

int64_t lj_gradsync_common_bytes(const struct lj_gradsync *s)
{
    return s->common.bytes;
}

float *lj_common_sum(const struct lj_gradsync *s, int move, int i)
{
    return s->common.sums + ((int64_t)move * s->node_sums + i) * lj_widest_bucket(s);
}

void lj_node_tell(struct lj_gradsync *s, enum lj_notice notice, int64_t number)
{
    if (!s->common.notices)
        return;
    lj_window_sync(&s->common.window);
    struct lj_notices *mine = &s->common.notices[s->map.place[s->comm->rank]];
    atomic_store_explicit(&mine->number[notice], number, memory_order_release);
}

bool lj_node_told(struct lj_gradsync *s, enum lj_notice notice, int64_t number)
{
    if (!s->common.notices)
        return true;
    for (int i = 0; i < lj_node_ranks(&s->map, s->map.mine); i++)
        if (atomic_load_explicit(&s->common.notices[i].number[notice], memory_order_acquire) <
            number)
            return false;
    lj_window_sync(&s->common.window);
    return true;
}

void lj_node_pause(struct lj_gradsync *s)
{
    int there = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, LJ_TAG_GRADIENT, s->comm->mpi->comm, &there, MPI_STATUS_IGNORE);
    sched_yield();
}
