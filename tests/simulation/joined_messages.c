/* SPDX-License-Identifier: Apache-2.0 */
/* For smpicc, in place of some of MPI's functions (build.sh renames them), without which hundreds
 * of ranks would take days: SMPI looks at all requests of a rank whenever one of them is done, and
 * thousands are under way while weights are gathered.
 *
 * What one rank sends another of its weights, a message for each bucket, all under way at once,
 * travels as one message of as many bytes. It is posted when the rank tests or waits next, which
 * step.c does at once. Requests are waited for one after the other: all are done when the last is.
 * A test finds those done that have been waited for: messages go on without tests here, and SimGrid
 * 3.32 goes on looking at those that a test has found done. So `seconds` of the ledger end where a
 * message is waited for.
 *
 * SMPI's non-blocking sum over ranks is a message from each of them to every other one, of which
 * 256 ranks need minutes. The one of a step, a number, is a blocking sum where it is waited for.
 *
 * For a sum in place SMPI copies what is summed, on every rank, which for half a GB takes all the
 * memory there is. Long sums lie in folded memory, where numbers mean nothing, but for that of the
 * norm from 134 million parameters on, which nobody reads: they are not added, and not copied. */
#include "comm/gradsync/gradsync.h"

#include <stdlib.h>

#undef MPI_Isend
#undef MPI_Irecv
#undef MPI_Testall
#undef MPI_Waitall
#undef MPI_Iallreduce
#undef MPI_Allreduce
#undef MPI_Wait

/* Messages from one rank, or to it. */
struct joined {
    void *first; /* of the first of them; behind it, all have room in the array of weights */
    int count;   /* of all; 0: none */
    MPI_Request *request; /* of the first; the others' are none */
};
static struct joined *sent, *received; /* (size) of this rank; NULL: none so far */
static int size;
static MPI_Comm of;

static void join(struct joined **list, int rank, void *data, int count, MPI_Comm comm,
                 MPI_Request *request)
{
    MPI_Comm_size(comm, &size);
    of = comm;
    if (!*list)
        *list = calloc((size_t)size, sizeof **list);
    struct joined *j = &(*list)[rank];
    *request = MPI_REQUEST_NULL;
    if (j->count == 0)
        *j = (struct joined){.first = data, .request = request};
    j->count += count;
}

static void post(void)
{
    for (int r = 0; received && r < size; r++)
        if (received[r].count > 0)
            MPI_Irecv(received[r].first, received[r].count, MPI_FLOAT, r, LJ_TAG_WEIGHTS, of,
                      received[r].request);
    for (int r = 0; sent && r < size; r++)
        if (sent[r].count > 0)
            MPI_Isend(sent[r].first, sent[r].count, MPI_FLOAT, r, LJ_TAG_WEIGHTS, of,
                      sent[r].request);
    free(received);
    free(sent);
    received = sent = NULL;
}

int simulation_isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
                     MPI_Request *request)
{
    if (tag != LJ_TAG_WEIGHTS)
        return MPI_Isend(data, count, type, to, tag, comm, request);
    join(&sent, to, (void *)data, count, comm, request);
    return MPI_SUCCESS;
}

int simulation_irecv(void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm,
                     MPI_Request *request)
{
    if (tag != LJ_TAG_WEIGHTS)
        return MPI_Irecv(data, count, type, from, tag, comm, request);
    join(&received, from, data, count, comm, request);
    return MPI_SUCCESS;
}

/* The sum that has been started and not been waited for; request NULL: none. */
static struct {
    const void *data;
    void *sum;
    int count;
    MPI_Datatype type;
    MPI_Op op;
    MPI_Comm comm;
    MPI_Request *request;
} started;

int simulation_iallreduce(const void *data, void *sum, int count, MPI_Datatype type, MPI_Op op,
                          MPI_Comm comm, MPI_Request *request)
{
    *request = MPI_REQUEST_NULL;
    started.data = data;
    started.sum = sum;
    started.count = count;
    started.type = type;
    started.op = op;
    started.comm = comm;
    started.request = request;
    return MPI_SUCCESS;
}

static void add_nothing(void *a, void *b, int *count, MPI_Datatype *type)
{
    (void)a, (void)b, (void)count, (void)type;
}

int simulation_allreduce(const void *data, void *sum, int count, MPI_Datatype type, MPI_Op op,
                         MPI_Comm comm)
{
    static MPI_Op none = MPI_OP_NULL;
    int bytes = 0;
    MPI_Type_size(type, &bytes);
    if (data != MPI_IN_PLACE || (int64_t)bytes * count < SIM_FOLDED_BYTES)
        return MPI_Allreduce(data, sum, count, type, op, comm);
    if (none == MPI_OP_NULL)
        MPI_Op_create(add_nothing, true, &none);
    return MPI_Allreduce(sum, sum, count, type, none, comm);
}

int simulation_wait(MPI_Request *request, MPI_Status *status)
{
    if (started.request != request)
        return MPI_Wait(request, status);
    started.request = NULL;
    return MPI_Allreduce(started.data, started.sum, started.count, started.type, started.op,
                         started.comm);
}

int simulation_testall(int count, MPI_Request request[], int *done, MPI_Status status[])
{
    (void)status;
    post();
    *done = 1;
    for (int i = 0; i < count; i++)
        *done = *done && request[i] == MPI_REQUEST_NULL;
    return MPI_SUCCESS;
}

int simulation_waitall(int count, MPI_Request request[], MPI_Status status[])
{
    int code = MPI_SUCCESS;
    (void)status; /* nobody asks for one */
    post();
    for (int i = 0; i < count && code == MPI_SUCCESS; i++)
        code = MPI_Wait(&request[i], MPI_STATUS_IGNORE);
    return code;
}
