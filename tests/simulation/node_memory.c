/* SPDX-License-Identifier: Apache-2.0 */
/* For smpicc, in place of the memory of a node (build.sh wraps these functions), by which nodes
 * exchange instead of ranks (src/comm/gradsync/node.c, which is as it is). SMPI's ranks are in one
 * process, so that memory of one is memory of all. Its own windows are not folded, and would need
 * as much as the nodes that are simulated. Here a window's first bytes are real, as ranks go on by
 * the notices there, and the rest is folded (folded_memory.c).
 *
 * Copies and sums through that memory are no messages, and take no time by themselves. Here they
 * occupy the link of the node's memory: a copy as a message of as many bytes does, a sum half of
 * that, as it reads many bytes and writes few. All ranks of the node share the link.
 *
 * Tests find nothing done that nobody waited for (joined_messages.c). So a pause, in which a rank
 * would test again and again, waits: for messages if only these are missing, else for a moment,
 * until another rank of the node may have told something. A moment is a hundredth of the wait so
 * far. While a bucket is waited for, the next one's sums are not sent: they would share the same
 * links. */
#include "comm/gradsync/gradsync.h"

#include <math.h>
#include <simgrid/host.h>
#include <smpi/smpi.h>
#include <time.h>

/* Before the memory of a window lies how many ranks have it. */
enum { PAGE = 4096, REAL_BYTES = 1 << 20 };

static const double shortest_s = 1e-6, share_of_wait = 0.01;

bool __wrap_lj_window_create(struct lj_window *window, MPI_Comm node, int64_t bytes);
void __wrap_lj_window_sync(const struct lj_window *window);
void __wrap_lj_window_free(struct lj_window *window);
void __wrap_lj_copy_in_parallel(float *y, const float *x, int64_t count);
void __wrap_lj_sum_node(const struct lj_gradsync *s, const float *const *input, int bucket,
                        int64_t first, int64_t count, float *out);
void __wrap_lj_node_pause(struct lj_gradsync *s);

/* ---- windows ----------------------------------------------------------------------------- */

static char *take_block(int64_t bytes, int ranks)
{
    const size_t folded[2] = {PAGE + REAL_BYTES, PAGE + REAL_BYTES + (size_t)bytes};
    char *block = SMPI_PARTIAL_SHARED_MALLOC(folded[1], folded, 1);
    if (block)
        *(int *)block = ranks;
    return block;
}

bool __wrap_lj_window_create(struct lj_window *window, MPI_Comm node, int64_t bytes)
{
    int rank = 0, ranks = 0;
    char *block = NULL;
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, &ranks);
    if (rank == 0)
        block = take_block(bytes, ranks);
    MPI_Bcast(&block, sizeof block, MPI_BYTE, 0, node);
    *window = (struct lj_window){.handle = MPI_WIN_NULL, .memory = block ? block + PAGE : NULL};
    return block != NULL;
}

/* Ranks take turns on one thread. */
void __wrap_lj_window_sync(const struct lj_window *window)
{
    (void)window;
}

void __wrap_lj_window_free(struct lj_window *window)
{
    char *block = (char *)window->memory - PAGE;
    if (window->memory && --*(int *)block == 0)
        SMPI_SHARED_FREE(block);
    window->memory = NULL;
}

/* ---- what goes through them -------------------------------------------------------------- */

static void occupy_memory(double bytes)
{
    if (bytes > 0)
        sg_host_sendto(sg_host_self(), sg_host_self(), bytes);
}

void __wrap_lj_copy_in_parallel(float *y, const float *x, int64_t count)
{
    (void)y, (void)x;
    occupy_memory((double)count * sizeof(float));
}

/* A rank that is alone on its node has nothing to read. */
void __wrap_lj_sum_node(const struct lj_gradsync *s, const float *const *input, int bucket,
                        int64_t first, int64_t count, float *out)
{
    (void)input, (void)bucket, (void)first, (void)out;
    int64_t sums = s->node_sums + lj_node_outputs(s, s->map.mine);
    if (s->common.sums)
        occupy_memory((double)(sums * count) * sizeof(float) / 2);
}

/* ---- waiting ----------------------------------------------------------------------------- */

static void wait_a_moment(void)
{
    static double begun_s, ended_s; /* of the wait that goes on if no time has passed */
    double now_s = lj_now_s();
    if (now_s > ended_s)
        begun_s = now_s;
    double moment_s = fmax(shortest_s, share_of_wait * (now_s - begun_s));
    struct timespec moment = {.tv_sec = (time_t)moment_s};
    moment.tv_nsec = (long)((moment_s - (double)moment.tv_sec) * 1e9);
    nanosleep(&moment, NULL);
    ended_s = lj_now_s();
}

/* New weights: what arrives, the node's other ranks, then what is sent. */
static void wait_for_weights(struct lj_gathering *g, int buckets)
{
    int first = g->arriving[g->arrived], end = g->requests;
    if (g->arrived == buckets && g->copied < buckets) {
        wait_a_moment();
        return;
    }
    if (g->arrived < buckets)
        end = g->arriving[g->arrived + 1];
    MPI_Waitall(end - first, g->request + first, MPI_STATUSES_IGNORE);
}

/* The bucket whose end is waited for; NULL: none is, but room for the next one. When the last of a
 * step has started, it is the next. */
static struct lj_move *awaited(struct lj_gradsync *s)
{
    struct lj_move *first = &s->move[s->turn ^ 1], *second = &s->move[s->turn];
    if (first->bucket >= 0)
        return first;
    return second->bucket == 0 ? second : NULL;
}

void __wrap_lj_node_pause(struct lj_gradsync *s)
{
    struct lj_move *move = awaited(s);
    if (lj_gradsync_gathering(s))
        wait_for_weights(&s->gathering, s->buckets);
    else if (move && move->sent)
        MPI_Waitall(move->requests, move->request, MPI_STATUSES_IGNORE);
    else
        wait_a_moment();
}
