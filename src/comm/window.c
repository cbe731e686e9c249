/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of MPI in the memory of a node, which the node's lowest rank allocates. */
#include "comm/nodes.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Room that is left besides; what the memory is aligned to. */
enum { BYTES_SPARE = 4 << 20, PAGE = 4096 };

/* Do all ranks of the node say yes? Collective over it. */
static bool all_of_node(MPI_Comm node, bool yes)
{
    int mine = yes, everybody = 0;
    LJ_WAIT_IN(MPI_Allreduce(&mine, &everybody, 1, MPI_INT, MPI_MIN, node));
    return everybody != 0;
}

/* Can this rank map so much? */
static bool has_addresses(int64_t bytes)
{
    void *probe =
        mmap(NULL, (size_t)bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return probe != MAP_FAILED && munmap(probe, (size_t)bytes) == 0;
}

/* Is there room for a window: for the file behind it, in /dev/shm, and for its addresses? Asked
 * before, because where it cannot grow, or be mapped, Open MPI 4 fails on one rank and lets the
 * others of the node wait for it; and without /dev/shm it looks elsewhere. */
static bool has_room(int64_t bytes)
{
    struct rlimit file;
    struct statvfs shm;
    int64_t wanted = bytes + BYTES_SPARE;
    if (getrlimit(RLIMIT_FSIZE, &file) == 0 && file.rlim_cur < (rlim_t)wanted)
        return false;
    return access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &shm) == 0 &&
           (__int128)shm.f_bavail * (__int128)shm.f_frsize >= wanted && has_addresses(wanted);
}

static sigjmp_buf without_page;

static void leave_page(int number)
{
    (void)number;
    siglongjmp(without_page, 1);
}

bool lj_pages_take(void *memory, int64_t bytes)
{
    const struct sigaction leave = {.sa_handler = leave_page};
    struct sigaction before;
    volatile bool good = false;
    if (sigaction(SIGBUS, &leave, &before) != 0)
        return false;
    if (sigsetjmp(without_page, 1) == 0) {
        for (int64_t at = 0; at < bytes; at += PAGE)
            ((volatile char *)memory)[at] = 0;
        good = true;
    }
    sigaction(SIGBUS, &before, NULL);
    return good;
}

/* The window's pages, each rank of the node an equal part. */
static bool take_pages(const struct lj_window *window, MPI_Comm node, int64_t bytes)
{
    int rank, ranks;
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, &ranks);
    int64_t pages = (bytes + PAGE - 1) / PAGE;
    int64_t first = pages * rank / ranks * PAGE;
    int64_t end = lj_min_i64(pages * (rank + 1) / ranks * PAGE, bytes);
    return lj_pages_take((char *)window->memory + first, end - first);
}

/* Returns MPI's error code. */
static int allocate(struct lj_window *window, MPI_Comm node, int64_t bytes)
{
    MPI_Errhandler handler;
    void *mine = NULL;
    int rank = 0;
    MPI_Comm_rank(node, &rank);
    MPI_Comm_get_errhandler(node, &handler);
    MPI_Comm_set_errhandler(node, MPI_ERRORS_RETURN);
    lj_progress_wait(true);
    int code = MPI_Win_allocate_shared(rank == 0 ? (MPI_Aint)bytes : 0, 1, MPI_INFO_NULL, node,
                                       &mine, &window->handle);
    lj_progress_wait(false);
    MPI_Comm_set_errhandler(node, handler);
    MPI_Errhandler_free(&handler);
    return code;
}

/* Where the memory begins on this rank: at a page's boundary, as Open MPI puts a few words of its
 * own before it. The lowest rank says where that is, as others may see the window elsewhere. */
static void *find_memory(const struct lj_window *window, MPI_Comm node)
{
    MPI_Aint size = 0;
    int unit = 1;
    char *memory = NULL;
    MPI_Win_shared_query(window->handle, 0, &size, &unit, &memory);
    int64_t skipped = (int64_t)(-(uintptr_t)memory % PAGE);
    LJ_WAIT_IN(MPI_Bcast(&skipped, 1, MPI_INT64_T, 0, node));
    return memory + skipped;
}

bool lj_window_create(struct lj_window *window, MPI_Comm node, int64_t bytes)
{
    *window = (struct lj_window){.handle = MPI_WIN_NULL};
    if (!all_of_node(node, lj_fault("shared", -1) == LJ_OK && has_room(bytes)))
        return false;
    bool good = allocate(window, node, bytes + PAGE) == MPI_SUCCESS;
    if (!all_of_node(node, good)) {
        if (good)
            LJ_WAIT_IN(MPI_Win_free(&window->handle));
        return false;
    }
    window->memory = find_memory(window, node);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, window->handle);
    if (all_of_node(node, take_pages(window, node, bytes)))
        return true;
    lj_window_free(window);
    return false;
}

void lj_window_sync(const struct lj_window *window)
{
    MPI_Win_sync(window->handle);
}

void lj_window_free(struct lj_window *window)
{
    if (!window->memory)
        return;
    MPI_Win_unlock_all(window->handle);
    LJ_WAIT_IN(MPI_Win_free(&window->handle));
    window->memory = NULL;
}
