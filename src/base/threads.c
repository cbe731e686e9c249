/* SPDX-License-Identifier: Apache-2.0 */
/* How many threads this process runs, and where it may run them. */
#include "base/base.h"

#include <hwloc.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

int lj_threads_binding(char *text, size_t capacity)
{
    int count = 0;
    hwloc_topology_t topology;
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    snprintf(text, capacity, "?");
    if (set && hwloc_topology_init(&topology) == 0) {
        if (hwloc_topology_load(topology) == 0 &&
            hwloc_get_cpubind(topology, set, HWLOC_CPUBIND_PROCESS) == 0) {
            hwloc_bitmap_list_snprintf(text, capacity, set);
            count = hwloc_bitmap_weight(set);
        }
        hwloc_topology_destroy(topology);
    }
    hwloc_bitmap_free(set);
    return count;
}

/* What threads=0 stands for. OpenMP's number is the one set last, so it is read before any is. */
static int default_threads(void)
{
    static int openmp;
    if (openmp == 0)
        openmp = omp_get_max_threads();
    const char *environment = getenv("OMP_NUM_THREADS");
    return environment && *environment ? openmp : 1;
}

int lj_threads_use(int64_t wanted, int *threads)
{
    int by_default = default_threads();
    if (wanted == 0)
        wanted = by_default;
    char units[256];
    bool checks = wanted > 1 && !getenv("LJ_OVERSUBSCRIBE");
    int bound = checks ? lj_threads_binding(units, sizeof units) : 0;
    const char *places = omp_get_proc_bind() == omp_proc_bind_false
                             ? ""
                             : "; OMP_PLACES and OMP_PROC_BIND bind its main thread: unset them";
    if (bound > 0 && bound < wanted)
        return lj_fail(
            LJ_ERR_CONFIG,
            "threads: %lld wanted, but this process is bound to %d processing unit%s (%s); "
            "use mpirun --map-by ppr:1:numa:PE=%lld --bind-to core, or --bind-to none, or "
            "threads=%d%s",
            (long long)wanted, bound, bound == 1 ? "" : "s", units, (long long)wanted, bound,
            places);
    omp_set_dynamic(0); /* a thread that OpenMP ends takes its cached matmuls with it */
    omp_set_num_threads((int)wanted);
    *threads = (int)wanted;
    return LJ_OK;
}
