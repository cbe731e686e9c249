/* SPDX-License-Identifier: Apache-2.0 */
/* What opening an archive costs: seconds, and the megabytes that all ranks together, and the one
 * with the most, had allocated at once. Windows of a node are not among them; the growth of the
 * ranks' resident memory, shared pages counted once, has all that stays.
 *
 *     bench_index ARCHIVE LABELS WHERE        as data.archive, data.labels, data.where */
#include "bench.h"

#include "data/data.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Kilobytes of the line that begins so, over all ranks; pages that several have are shared out. */
static int64_t resident_kb(struct lj_comm *comm)
{
    char line[256];
    int64_t kb = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "Pss:", 4) == 0)
            sscanf(line + 4, "%" SCNd64, &kb);
    if (file)
        fclose(file);
    return lj_all_sum(comm, kb);
}

/* Megabytes, against columns of doubles. */
static void print(const struct lj_comm *comm, const char *name, const char *shape, int64_t rows,
                  int64_t bytes)
{
    const struct bench_line line = {.name = name,
                                    .shape = shape,
                                    .unit = "MB",
                                    .against = "8 bytes a row",
                                    .reference = 8e-6 * (double)rows,
                                    .ranks = comm->size};
    double mb = 1e-6 * (double)bytes;
    if (lj_comm_is_root(comm))
        bench_print(&line, (struct bench_result){mb, mb, mb, 1});
}

int main(int count, char **argument)
{
    struct lj_comm *comm = NULL;
    struct lj_archive *archive = NULL;
    char shape[512];
    if (count != 4)
        return 2;
    struct lj_archive_options options = {.files = argument[1],
                                         .images = "",
                                         .labels = argument[2],
                                         .where = argument[3],
                                         .axes = LJ_DATA_AXES_NHW};
    bench_expect(lj_comm_start(&comm));
    int64_t resident = resident_kb(comm);
    double begun_s = lj_now_s();
    bench_expect(lj_archive_open(&archive, comm, &options));
    double seconds = lj_now_s() - begun_s;
    int64_t peak = (int64_t)lj_memory_peak(), all = lj_all_sum(comm, peak);
    int64_t most = lj_all_max(comm, peak);
    resident = resident_kb(comm) - resident;
    const struct lj_archive_info *info = lj_archive_info(archive);
    snprintf(shape, sizeof shape, "%lld rows, %d datasets, labels %.99s, where %.99s, in %.3g s",
             (long long)info->rows, info->parts, argument[2], argument[3], seconds);
    print(comm, "index, at once on all ranks", shape, info->rows, all);
    print(comm, "index, at once on one rank", shape, info->rows, most);
    print(comm, "index, stays", shape, info->rows, 1024 * resident);
    lj_archive_close(archive);
    lj_comm_finish(comm);
    return 0;
}
