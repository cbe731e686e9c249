/* SPDX-License-Identifier: Apache-2.0 */
/* Where time and memory went: seconds by kind of layer, bytes against those planned. Nothing here
 * feeds back into training. */
#include "run/summary/summary.h"

#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

/* ---- layers ------------------------------------------------------------------------------ */

enum { FIELDS = 3 }; /* of each kind: forward_s, backward_s, flops */

/* Adds up the clocks of this rank's threads: mine (kinds, FIELDS). */
static void sum_threads(const struct lj_trainer_info *t, int kinds, double *mine)
{
    for (int w = 0; w < t->workers; w++)
        for (int k = 0; k < kinds; k++) {
            mine[k * FIELDS] += t->clock[w][k].forward_s;
            mine[k * FIELDS + 1] += t->clock[w][k].backward_s;
            mine[k * FIELDS + 2] += t->clock[w][k].flops;
        }
}

static void add_rank(struct lj_layer_row *row, const double *of_rank, double threads, int size)
{
    row->forward_s += of_rank[0] / threads / size;
    row->backward_s += of_rank[1] / threads / size;
    row->thread_s += of_rank[0] + of_rank[1];
    row->flops += of_rank[2];
}

/* Makes the table of all ranks.
 *   all  in  (size, kinds FIELDS + 1) of each rank: its sums by sum_threads, then its threads */
static void make_table(struct lj_layer_table *table, const double *all, int size)
{
    int kinds, width;
    const struct lj_layer_kind *const *kind = lj_layer_kinds(&kinds);
    double flops = 0, thread_s = 0;
    width = kinds * FIELDS + 1;
    for (int k = 0; k < kinds; k++) {
        struct lj_layer_row row = {.name = kind[k]->name};
        for (int r = 0; r < size; r++)
            add_rank(&row, all + r * width + k * FIELDS, all[r * width + width - 1], size);
        if (row.thread_s <= 0)
            continue;
        table->row[table->count++] = row;
        if (row.flops <= 0)
            continue;
        flops += row.flops;
        thread_s += row.thread_s;
        table->matmul_s += row.forward_s + row.backward_s;
    }
    table->matmul_gflops = thread_s > 0 ? 1e-9 * flops / thread_s : 0;
}

int lj_run_gather_layers(struct lj_run_state *run, struct lj_layer_table *table)
{
    double mine[LJ_KINDS_MAX * FIELDS + 1] = {0};
    int kinds, size = run->comm->size;
    lj_layer_kinds(&kinds);
    LJ_CHECK(kinds <= LJ_KINDS_MAX, "%d kinds of layers", kinds);
    int width = kinds * FIELDS + 1;
    double *all = lj_alloc_array((int64_t)size * width, sizeof *all, "summary");
    int status = lj_agree(run->comm, all ? LJ_OK : LJ_ERR_RESOURCE);
    *table = (struct lj_layer_table){0};
    if (status == LJ_OK) {
        sum_threads(&run->info, kinds, mine);
        mine[width - 1] = run->info.workers;
        lj_all_gather_f64(run->comm, mine, width, all);
        make_table(table, all, size);
        table->peak = run->peak_gflops / (double)lj_all_sum(run->comm, (int64_t)run->info.workers);
    }
    lj_free(all);
    return status;
}

static double gflops_of(const struct lj_layer_row *row)
{
    return 1e-9 * row->flops / row->thread_s;
}

void lj_run_say_layers(const struct lj_layer_table *table, double total)
{
    lj_say("%-24s %10s %10s  %5s  %14s%s", "kind of layer", "forward s", "backward s", "share",
           "GFLOP/s/thread", table->peak > 0 ? "  of peak" : "");
    for (int i = 0; i < table->count; i++) {
        const struct lj_layer_row *row = &table->row[i];
        char rate[32] = "", share[32] = "";
        if (row->flops > 0)
            snprintf(rate, sizeof rate, "%.1f", gflops_of(row));
        if (row->flops > 0 && table->peak > 0)
            snprintf(share, sizeof share, "%9.2f", gflops_of(row) / table->peak);
        lj_say("%-24s %10.3f %10.3f  %4.0f%%  %14s%s", row->name, row->forward_s, row->backward_s,
               100 * (row->forward_s + row->backward_s) / total, rate, share);
    }
}

static json_t *real_or_null(bool known, double value)
{
    return known ? json_real(value) : json_null();
}

json_t *lj_run_layers_json(const struct lj_layer_table *table)
{
    json_t *list = json_array();
    for (int i = 0; i < table->count; i++) {
        const struct lj_layer_row *row = &table->row[i];
        bool counted = row->flops > 0;
        json_array_append_new(
            list, json_pack("{s:s, s:f, s:f, s:o, s:o}", "kind", row->name, "forward_s",
                            row->forward_s, "backward_s", row->backward_s, "gflops",
                            real_or_null(counted, gflops_of(row)), "share_of_peak",
                            real_or_null(counted && table->peak > 0,
                                         gflops_of(row) / (table->peak > 0 ? table->peak : 1))));
    }
    return list;
}

/* ---- memory ------------------------------------------------------------------------------ */

int64_t lj_run_open_bytes(void)
{
    struct lj_memory_use use[64];
    int labels = lj_memory_report(use, 64);
    size_t sum = 0;
    for (int i = 0; i < labels && i < 64; i++)
        sum += use[i].bytes;
    return (int64_t)sum;
}

/* Largest resident size of the process so far; 0 where the system does not tell. */
static int64_t resident_peak(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    long long kib = 0;
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %lld kB", &kib) == 1)
            break;
    if (status)
        fclose(status);
    return kib * 1024;
}

struct lj_memory_row lj_run_gather_memory(struct lj_run_state *run)
{
    struct lj_memory_row row;
    row.planned = lj_all_max(run->comm, run->planned_bytes);
    row.peak = lj_all_max(run->comm, (int64_t)lj_memory_peak());
    row.resident = lj_all_max(run->comm, resident_peak());
    return row;
}

void lj_run_say_memory(const struct lj_memory_row *memory)
{
    const double mib = 1048576;
    lj_say("memory, most of a rank: %.0f MiB after set-up, %.0f MiB at the peak; the whole process "
           "%.0f MiB",
           (double)memory->planned / mib, (double)memory->peak / mib,
           (double)memory->resident / mib);
}

json_t *lj_run_memory_json(const struct lj_memory_row *memory)
{
    return json_pack("{s:I, s:I, s:o}", "planned_bytes", (json_int_t)memory->planned, "peak_bytes",
                     (json_int_t)memory->peak, "resident_peak_bytes",
                     memory->resident > 0 ? json_integer(memory->resident) : json_null());
}
