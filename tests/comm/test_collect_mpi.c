/* SPDX-License-Identifier: Apache-2.0 */
/* Agreement, small collectives and communicators on several ranks. How messages are split is seen
 * by standing in for two of MPI's functions, with the limit lowered. */
#include "comm/comm_mpi.h"
#include "mpi_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct lj_comm *world;

/* ---- what MPI is asked to move ----------------------------------------------------------- */

static int64_t shards, largest_bytes;

static void record(int count, MPI_Datatype type)
{
    int size = 0;
    MPI_Type_size(type, &size);
    shards++;
    largest_bytes = lj_max_i64(largest_bytes, (int64_t)count * size);
}

LJ_API int MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm)
{
    record(count, type);
    return PMPI_Bcast(data, count, type, root, comm);
}

LJ_API int MPI_Allreduce(const void *mine, void *all, int count, MPI_Datatype type, MPI_Op op,
                         MPI_Comm comm)
{
    record(count, type);
    return PMPI_Allreduce(mine, all, count, type, op, comm);
}

static void assert_shards(int64_t bytes, int64_t found_shards, int64_t found_largest)
{
    int64_t expected = (bytes + lj_comm_bytes_max - 1) / lj_comm_bytes_max;
    lj_all_assert(world,
                  found_shards == expected && found_largest == lj_min_i64(bytes, lj_comm_bytes_max),
                  "%lld bytes went in %lld shards of at most %lld bytes", (long long)bytes,
                  (long long)found_shards, (long long)found_largest);
}

/* ---- agreement --------------------------------------------------------------------------- */

static const int some_status[] = {LJ_ERR_DATA, LJ_ERR_NUMERIC, LJ_STOPPED, LJ_ERR_CONFIG};

/* Ranks from `first` on fail, each with its own status and text; what is agreed on is first's. */
static void check_agreement(int first)
{
    char expected[256];
    int mine = LJ_OK, rank = world->rank;
    lj_error_set("stale");
    if (rank >= first)
        mine = lj_fail(some_status[rank % 4], "row %d", 100 + rank);
    int status = lj_agree(world, mine);
    int wanted = first < world->size ? some_status[first % 4] : LJ_OK;
    if (first == world->size)
        snprintf(expected, sizeof expected, "stale");
    else if (world->size == 1)
        snprintf(expected, sizeof expected, "row 100");
    else
        snprintf(expected, sizeof expected, "rank %d: row %d", first, 100 + first);
    bool same_text = strcmp(lj_error_text(), expected) == 0;
    lj_all_assert(world, status == wanted && same_text, "from rank %d: status %d, text '%s'", first,
                  status, lj_error_text());
}

/* The text that arrives when the last rank fails with this one. */
static const char *agreed_text(const char *text)
{
    bool last = world->rank == world->size - 1;
    int status = lj_agree(world, last ? lj_fail(LJ_ERR_DATA, "%s", text) : LJ_OK);
    lj_all_assert(world, status == LJ_ERR_DATA, "status %d", status);
    return lj_error_text();
}

Test(collect_mpi, the_lowest_failing_rank_speaks, .timeout = 60)
{
    world = lj_case_begin();
    for (int first = 0; first <= world->size; first++)
        check_agreement(first);

    char prefix[32] = "", long_text[4000], expected[64];
    if (world->size > 1)
        snprintf(prefix, sizeof prefix, "rank %d: ", world->size - 1);
    const char *found = agreed_text("rank 0: agreed before");
    lj_all_assert(world, strcmp(found, "rank 0: agreed before") == 0, "text '%s'", found);
    found = agreed_text("rank deficient");
    snprintf(expected, sizeof expected, "%srank deficient", prefix);
    lj_all_assert(world, strcmp(found, expected) == 0, "text '%s'", found);
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = 0;
    found = agreed_text(long_text);
    lj_all_assert(world, strlen(found) == 2047 && strncmp(found, prefix, strlen(prefix)) == 0,
                  "%zu characters", strlen(found));
    lj_case_end(world);
}

/* ---- moving data ------------------------------------------------------------------------- */

static unsigned char pattern(int64_t i, int salt)
{
    return (unsigned char)(7 * i + 31 * salt + 1);
}

static void check_broadcast(int64_t bytes, int root)
{
    unsigned char data[300] = {0};
    int64_t wrong = 0;
    for (int64_t i = 0; world->rank == root && i < bytes; i++)
        data[i] = pattern(i, root);
    shards = largest_bytes = 0;
    lj_broadcast(world, data, bytes, root);
    int64_t found_shards = shards, found_largest = largest_bytes;
    for (int64_t i = 0; i < (int64_t)sizeof data; i++)
        wrong += data[i] != (i < bytes ? pattern(i, root) : 0);
    lj_all_assert(world, wrong == 0, "%lld of %lld bytes from rank %d are wrong", (long long)wrong,
                  (long long)bytes, root);
    assert_shards(bytes, found_shards, found_largest);
}

static void check_pass(int from, int64_t bytes)
{
    unsigned char data[300] = {0};
    int64_t wrong = 0;
    bool there = world->rank == from || (world->rank == 0 && from > 0);
    for (int64_t i = 0; world->rank == from && i < bytes; i++)
        data[i] = pattern(i, from);
    lj_pass_to_root(world, from, data, bytes);
    for (int64_t i = 0; i < (int64_t)sizeof data; i++)
        wrong += data[i] != (there && i < bytes ? pattern(i, from) : 0);
    lj_all_assert(world, wrong == 0, "%lld of %lld bytes from rank %d are wrong", (long long)wrong,
                  (long long)bytes, from);
}

static void check_sum(int64_t count)
{
    struct lj_ledger_entry entry = {.calls = 4, .bytes = 1000};
    int64_t values[40], size = world->size, wrong = 0;
    for (int64_t i = 0; i < 40; i++)
        values[i] = world->rank + i * (INT64_C(1) << 40);
    shards = largest_bytes = 0;
    lj_sum_exact(world, &entry, values, count);
    int64_t found_shards = shards, found_largest = largest_bytes;
    for (int64_t i = 0; i < 40; i++)
        wrong += values[i] != (i < count ? size * (size - 1) / 2 + size * i * (INT64_C(1) << 40)
                                         : world->rank + i * (INT64_C(1) << 40));
    lj_all_assert(world, wrong == 0, "%lld of %lld sums are wrong", (long long)wrong,
                  (long long)count);
    lj_all_assert(world, entry.calls == 5 && entry.bytes == 1000 + 8 * count,
                  "%lld calls, %lld bytes", (long long)entry.calls, (long long)entry.bytes);
    assert_shards(8 * count, found_shards, found_largest);
    lj_sum_exact(world, NULL, values, count);
}

Test(collect_mpi, large_messages_are_split, .timeout = 60)
{
    world = lj_case_begin();
    lj_all_assert(world, lj_comm_bytes_max == INT64_C(1) << 30, "the limit is an int, and even");
    lj_comm_bytes_max = 64;
    const int64_t bytes[] = {0, 1, 63, 64, 65, 128, 299}, counts[] = {0, 1, 7, 8, 9, 16, 39};
    for (int i = 0; i < 7; i++) {
        for (int root = 0; root < world->size; root++) {
            check_broadcast(bytes[i], root);
            check_pass(root, bytes[i]);
        }
        check_sum(counts[i]);
    }
    lj_case_end(world);
}

/* Rank r gives 3 r bytes, so rank 0 none; in place or from elsewhere. */
static void check_gather_bytes(bool in_place)
{
    unsigned char all[512] = {0}, mine[32];
    int64_t bytes_of_rank[8], start = 0, total = 0, wrong = 0;
    for (int r = 0; r < world->size; r++) {
        bytes_of_rank[r] = 3 * r;
        start += r < world->rank ? bytes_of_rank[r] : 0;
    }
    unsigned char *from = in_place ? all + start : mine;
    for (int64_t i = 0; i < bytes_of_rank[world->rank]; i++)
        from[i] = pattern(i, world->rank);
    lj_all_gather_bytes(world, world->rank == 0 && !in_place ? NULL : from, all, bytes_of_rank);
    for (int r = 0; r < world->size; r++)
        for (int64_t i = 0; i < bytes_of_rank[r]; i++)
            wrong += all[total++] != pattern(i, r);
    lj_all_assert(world, wrong == 0 && all[total] == 0, "%lld bytes are wrong", (long long)wrong);
}

/* Pieces of 7 bytes of some lanes, in one call or split. */
static void check_gather_lanes(int64_t lanes, int64_t most)
{
    enum { PIECE = 7 };
    unsigned char all[128] = {0};
    int64_t first, end, wrong = 0, usual = lj_comm_bytes_max;
    struct lj_lane_gather *gather = NULL;
    struct lj_ledger_entry entry = {0};
    lj_comm_bytes_max = most;
    int status = lj_lane_gather_create(&gather, world, lanes, PIECE, &entry);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_lanes_of_rank(lanes, world->size, world->rank, &first, &end);
    for (int64_t i = first * PIECE; i < end * PIECE; i++)
        all[i] = pattern(i, 3);
    lj_lane_gather(gather, all);
    for (int64_t i = 0; i < (int64_t)sizeof all; i++)
        wrong += all[i] != (i < lanes * PIECE ? pattern(i, 3) : 0);
    lj_all_assert(world, wrong == 0, "%lld of %lld bytes are wrong", (long long)wrong,
                  (long long)lanes * PIECE);
    int64_t mine = (end - first) * PIECE;
    lj_all_assert(world,
                  entry.calls == 1 && entry.bytes == mine && entry.predicted_bytes_per_call == mine,
                  "%lld bytes, predicted %lld", (long long)entry.bytes,
                  (long long)entry.predicted_bytes_per_call);
    lj_lane_gather_destroy(gather);
    lj_comm_bytes_max = usual;
}

/* Fewer lanes than ranks, as many, more; at the limit of a call's bytes, and above it. */
Test(collect_mpi, pieces_of_lanes_reach_every_rank, .timeout = 60)
{
    world = lj_case_begin();
    for (int64_t lanes = 1; lanes <= 11; lanes++) {
        check_gather_lanes(lanes, lj_comm_bytes_max);
        check_gather_lanes(lanes, 56);
    }
    lj_case_end(world);
}

Test(collect_mpi, values_reach_every_rank, .timeout = 60)
{
    world = lj_case_begin();
    int64_t rank = world->rank, size = world->size, huge = INT64_C(1) << 40;
    int64_t low = lj_all_min(world, huge - rank), high = lj_all_max(world, huge + rank);
    int64_t sum = lj_all_sum(world, huge + rank);
    lj_all_assert(world, low == huge - size + 1 && high == huge + size - 1, "%lld .. %lld",
                  (long long)low, (long long)high);
    lj_all_assert(world, sum == size * huge + size * (size - 1) / 2, "sum %lld", (long long)sum);

    lj_all_assert(world, lj_all_alike(world, "one model"), "equal texts are not alike");
    bool alike = lj_all_alike(world, rank == size - 1 ? "another" : "one model");
    lj_all_assert(world, alike == (size == 1), "another text is alike");

    double mine[2] = {0.1 * (double)rank, -(double)rank}, all[16];
    bool right = true;
    lj_all_gather_f64(world, mine, 2, all);
    for (int r = 0; r < size; r++)
        right = right && all[2 * r] == 0.1 * (double)r && all[2 * r + 1] == -(double)r;
    lj_all_assert(world, right, "gathered values are wrong");
    check_gather_bytes(false);
    check_gather_bytes(true);
    lj_case_end(world);
}

/* ---- communicators ----------------------------------------------------------------------- */

static void check_first(int size)
{
    struct lj_comm *sub = world;
    int status = lj_comm_first(world, size, &sub);
    bool inside = world->rank < size;
    lj_all_assert(world, status == LJ_OK && (sub != NULL) == inside, "status %d", status);
    bool right =
        !inside || (sub->size == lj_min_i64(size, world->size) && sub->rank == world->rank);
    lj_all_assert(world, right, "rank and size among the first %d", size);
    if (inside)
        right = lj_agree(sub, sub->rank == size - 1 ? lj_fail(LJ_ERR_DATA, "here") : LJ_OK) ==
                (size <= world->size ? LJ_ERR_DATA : LJ_OK);
    lj_all_assert(world, right, "agreement among the first %d", size);
    lj_comm_destroy(sub);
}

/* A program of its own runs MPI; its ranks are numbered backwards here. */
static void check_created(void)
{
    MPI_Comm backwards;
    struct lj_comm *comm = NULL;
    int last = world->size - 1;
    MPI_Comm_split(MPI_COMM_WORLD, 0, -world->rank, &backwards);
    int status = lj_comm_create(&comm, &backwards);
    lj_all_assert(world, status == LJ_OK && comm->rank == last - world->rank, "status %d", status);
    MPI_Comm_free(&backwards); /* ours is a duplicate */
    int64_t value = world->rank;
    lj_broadcast(comm, &value, sizeof value, 0);
    lj_all_assert(world, value == last, "rank 0 was %lld", (long long)value);
    lj_all_assert(world, lj_comm_is_root(comm) == (world->rank == last), "who is root");
    setenv("LJ_FAULT", "point:0:3", 1);
    bool hit = lj_fault("point", 3) != LJ_OK;
    lj_all_assert(world, hit == (comm->rank == 0), "faults go by ranks of the communicator");
    lj_comm_destroy(comm);
}

/* Ranks that are left over have none; groups that end sooner wait for the others, and say so. */
static void check_groups(int groups, int each)
{
    struct lj_comm *group = NULL;
    lj_all_assert(world, lj_comm_groups(world, groups, each, &group) == LJ_OK, "%s",
                  lj_error_text());
    bool in_one = world->rank < groups * each;
    lj_all_assert(world, (group != NULL) == in_one, "groups of %d: rank %d", each, world->rank);
    int64_t first = group ? lj_all_min(group, world->rank) : 0;
    bool right = !group || (group->size == each && group->rank == world->rank % each &&
                            first == world->rank - world->rank % each);
    lj_all_assert(world, right, "groups of %d: rank %d", each, world->rank);
    lj_comm_destroy(group);
    double before_s = lj_now_s();
    if (world->rank == 0)
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    lj_wait_for_all(world, NULL, NULL);
    bool heard = world->rank == 0 || lj_progress_s() > before_s;
    lj_all_assert(world, heard, "rank %d made no progress while it waited", world->rank);
}

Test(collect_mpi, communicators_come_and_go, .timeout = 60)
{
    world = lj_case_begin();
    int64_t before = lj_open_blocks();
    for (int size = 1; size <= world->size + 1; size++)
        check_first(size);
    check_groups(world->size, 1);
    check_groups(1, world->size);
    check_groups(world->size / 2, 2);
    check_created();
    lj_comm_destroy(NULL);
    lj_all_assert(world, lj_open_blocks() == before, "%lld blocks of memory are not freed",
                  (long long)(lj_open_blocks() - before));
    lj_case_end(world);
}
