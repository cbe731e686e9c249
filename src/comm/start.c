/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending MPI, communicators, and what happens when an MPI call fails. */
#include "comm/comm_mpi.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static MPI_Errhandler handler = MPI_ERRHANDLER_NULL;

/* What ends one rank often ends all of them at the same moment, and Open MPI's mpirun may crash
 * when several call MPI_Abort at once. So one does: each rank waits longer than the one before it,
 * up to STAGGERED of them, and is ended meanwhile if that one aborts. */
static const double stagger_s = 0.5;
enum { STAGGERED = 4 };

static void wait_for_lower_ranks(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    double seconds = stagger_s * (rank < STAGGERED ? rank : STAGGERED);
    struct timespec left = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

void lj_comm_abort(int exit_code)
{
    static atomic_flag aborting = ATOMIC_FLAG_INIT;
    while (atomic_flag_test_and_set(&aborting)) /* another thread does it */
        pause();
    int started = 0, ended = 0;
    MPI_Initialized(&started);
    MPI_Finalized(&ended);
    if (started && !ended) {
        wait_for_lower_ranks();
        MPI_Abort(MPI_COMM_WORLD, exit_code);
    }
    _Exit(exit_code);
}

/* mpirun would return the MPI error class; this handler ends the job with our code. */
static void on_mpi_error(MPI_Comm *comm, int *code, ...)
{
    (void)comm;
    char text[MPI_MAX_ERROR_STRING];
    int length = 0, rank = 0;
    MPI_Error_string(*code, text, &length);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fprintf(stderr, "lejepa_mpi: error: rank %d: an MPI call failed while in phase '%s': %s\n",
            rank, lj_phase_name(lj_phase_current()), text);
    lj_comm_abort(-LJ_ERR_COMM);
}

/* Wraps on every rank or on none; owned: mpi is freed with the wrapper, or here if there is none.
 * Collective over mpi. */
static int wrap(struct lj_comm **comm, MPI_Comm mpi, bool owned)
{
    if (handler == MPI_ERRHANDLER_NULL)
        MPI_Comm_create_errhandler(on_mpi_error, &handler);
    MPI_Comm_set_errhandler(mpi, handler);
    struct lj_comm *c = lj_alloc(sizeof *c, "communicators");
    struct lj_comm_mpi *m = lj_alloc(sizeof *m, "communicators");
    int mine = c && m, everybody = 0;
    LJ_WAIT_IN(MPI_Allreduce(&mine, &everybody, 1, MPI_INT, MPI_MIN, mpi));
    if (!everybody) {
        lj_free(c);
        lj_free(m);
        if (owned)
            MPI_Comm_free(&mpi);
        return mine ? lj_fail(LJ_ERR_RESOURCE, "another rank has no memory for a communicator")
                    : LJ_ERR_RESOURCE;
    }
    *m = (struct lj_comm_mpi){.comm = mpi, .owned = owned};
    c->mpi = m;
    MPI_Comm_rank(mpi, &c->rank);
    MPI_Comm_size(mpi, &c->size);
    *comm = c;
    return LJ_OK;
}

/* What base has to know about the ranks. */
static void introduce(MPI_Comm mpi)
{
    int rank = 0;
    MPI_Comm_rank(mpi, &rank);
    lj_log_set_speaker(rank == 0);
    lj_fault_set_rank(rank);
    lj_set_abort_hook(lj_comm_abort);
}

int lj_comm_start(struct lj_comm **world)
{
    int provided = 0;
    *world = NULL;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    introduce(MPI_COMM_WORLD);
    if (provided < MPI_THREAD_FUNNELED)
        return lj_fail(LJ_ERR_COMM, "this MPI gives no threads (MPI_THREAD_FUNNELED is needed); "
                                    "use an MPI built with thread support");
    return wrap(world, MPI_COMM_WORLD, false);
}

void lj_comm_finish(struct lj_comm *world)
{
    lj_comm_destroy(world);
    if (handler != MPI_ERRHANDLER_NULL)
        MPI_Errhandler_free(&handler);
    lj_set_abort_hook(NULL);
    MPI_Finalize();
}

int lj_comm_create(struct lj_comm **comm, const void *mpi_comm)
{
    MPI_Comm duplicate;
    *comm = NULL;
    LJ_WAIT_IN(MPI_Comm_dup(*(const MPI_Comm *)mpi_comm, &duplicate));
    introduce(duplicate);
    return wrap(comm, duplicate, true);
}

void lj_comm_destroy(struct lj_comm *comm)
{
    if (!comm)
        return;
    if (comm->mpi->owned)
        MPI_Comm_free(&comm->mpi->comm);
    lj_free(comm->mpi);
    lj_free(comm);
}

int lj_comm_first(struct lj_comm *comm, int size, struct lj_comm **sub)
{
    return lj_comm_groups(comm, 1, size, sub);
}

int lj_comm_groups(struct lj_comm *comm, int groups, int each, struct lj_comm **sub)
{
    *sub = NULL;
    MPI_Comm part = MPI_COMM_NULL;
    int group = comm->rank / each;
    LJ_WAIT_IN(
        MPI_Comm_split(comm->mpi->comm, group < groups ? group : MPI_UNDEFINED, comm->rank, &part));
    int status = part == MPI_COMM_NULL ? LJ_OK : wrap(sub, part, true);
    return lj_agree(comm, status);
}

static MPI_Comm with_handler_of(MPI_Comm whole, MPI_Comm part)
{
    MPI_Errhandler of_whole;
    if (part == MPI_COMM_NULL)
        return part;
    MPI_Comm_get_errhandler(whole, &of_whole);
    MPI_Comm_set_errhandler(part, of_whole);
    MPI_Errhandler_free(&of_whole);
    return part;
}

/* LJ_NODES="0 0 1" takes ranks of one machine for those of several nodes, for tests: rank r of the
 * launch is on the node that the r-th of these numbers names, beginning again after the last one.
 * -1: it is not set. */
static int pretended_node(void)
{
    enum { MOST = 64 };
    int node[MOST], count = 0, rank = 0;
    const char *at = getenv("LJ_NODES");
    char *end = NULL;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    for (; at && count < MOST; at = end) {
        node[count] = (int)strtol(at, &end, 10);
        if (end == at || node[count++] < 0)
            break;
    }
    return count > 0 ? node[rank % count] : -1;
}

MPI_Comm lj_split_nodes(struct lj_comm *comm)
{
    MPI_Comm part = MPI_COMM_NULL, whole = comm->mpi->comm;
    LJ_WAIT_IN(MPI_Comm_split_type(whole, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &part));
    int node = pretended_node();
    if (node >= 0) {
        MPI_Comm real = part;
        LJ_WAIT_IN(MPI_Comm_split(real, node, comm->rank, &part));
        MPI_Comm_free(&real);
    }
    return with_handler_of(whole, part);
}

MPI_Comm lj_split(struct lj_comm *comm, int colour, int key)
{
    MPI_Comm part = MPI_COMM_NULL, whole = comm->mpi->comm;
    LJ_WAIT_IN(MPI_Comm_split(whole, colour, key, &part));
    return with_handler_of(whole, part);
}

/* What the library says of itself goes on for lines; blanks in it may be many. */
void lj_comm_library(char *text, size_t capacity)
{
    char all[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    size_t at = 0;
    MPI_Get_library_version(all, &length);
    for (int i = 0; i < length && !strchr(",\n", all[i]) && at + 1 < capacity; i++) {
        bool blank = all[i] == ' ' || all[i] == '\t';
        if (!blank || (at > 0 && text[at - 1] != ' '))
            text[at++] = blank ? ' ' : all[i];
    }
    text[at] = 0;
}

bool lj_comm_is_root(const struct lj_comm *comm)
{
    return comm->rank == 0;
}
