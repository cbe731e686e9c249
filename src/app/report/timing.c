/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time went: phases and communication, from timing.json, which a run writes at its end.
 */
#include "app/report/report.h"

#include <math.h>
#include <string.h>

enum { ROWS = 64 };

/* What timing.json has as a list of objects with names. */
struct list {
    const char *member; /* of timing.json; of the files, too */
    const char *value;  /* that is drawn: seconds */
    const char *title, *caption;
    const char *column[8]; /* members of the table, NULL at the end */
};
static const struct list lists[] = {
    {"phases",
     "mean_s",
     "seconds by phase",
     "Seconds of a rank's main thread, mean over ranks. Least and most beside it, where they "
     "differ, "
     "show ranks that wait.",
     {"min_s", "mean_s", "max_s", NULL}},
    {"ledger",
     "seconds",
     "seconds by message",
     "Seconds from the start of each message to its end; exposed are those in which nothing else "
     "was "
     "done.",
     {"calls", "bytes_per_call", "predicted_bytes_per_call", "seconds", "exposed_seconds", NULL}},
};

/* The names in the lists of all runs, each once. Borrowed from the runs. */
struct names {
    const char *name[ROWS];
    int count;
};

static const json_t *list_of(const struct lj_report *report, int run, const struct list *list)
{
    return json_object_get(report->run[run].timing, list->member);
}

static const json_t *find(const json_t *rows, const char *name)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        const char *other = json_string_value(json_object_get(row, "name"));
        if (other && strcmp(name, other) == 0)
            return row;
    }
    return NULL;
}

static double number(const json_t *row, const char *member)
{
    const json_t *value = json_object_get(row, member);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void collect(const struct lj_report *report, const struct list *list, struct names *names)
{
    names->count = 0;
    for (int run = 0; run < report->runs; run++) {
        size_t i;
        json_t *row;
        json_array_foreach(list_of(report, run, list), i, row)
        {
            const char *name = json_string_value(json_object_get(row, "name"));
            bool new = name && names->count < ROWS;
            for (int k = 0; new &&k < names->count; k++)
                new = strcmp(name, names->name[k]) != 0;
            if (new)
                names->name[names->count++] = name;
        }
    }
}

/* A column for each run, a row for each name. */
static int write_values(const struct lj_report *report, const struct list *list,
                        const struct names *names)
{
    struct lj_text table = {0};
    lj_text_add(&table, "name");
    for (int run = 0; run < report->runs; run++) {
        lj_text_add(&table, "\t");
        lj_text_field(&table, report->run[run].name);
    }
    for (int k = 0; k < names->count; k++) {
        lj_text_add(&table, "\n");
        lj_text_field(&table, names->name[k]);
        for (int run = 0; run < report->runs; run++)
            lj_text_add(&table, "\t%.17g",
                        number(find(list_of(report, run, list), names->name[k]), list->value));
    }
    lj_text_add(&table, "\n");
    int status = lj_report_write_file(report, list->member, ".tsv", &table);
    lj_text_free(&table);
    return status;
}

static void list_rows(struct lj_report *report, const struct list *list, const struct names *names)
{
    const char *heading[10] = {"name", "run"};
    char summary[128];
    int columns = 2;
    for (int i = 0; list->column[i]; i++)
        heading[columns++] = list->column[i];
    snprintf(summary, sizeof summary, "Table: %s", list->title);
    lj_table_begin(report, summary, false, heading, columns);
    for (int k = 0; k < names->count; k++)
        for (int run = 0; run < report->runs; run++) {
            const json_t *row = find(list_of(report, run, list), names->name[k]);
            if (!row)
                continue;
            lj_row_begin(report, names->name[k]);
            lj_cell_text(report, report->run[run].name);
            for (int i = 0; list->column[i]; i++)
                lj_cell_number(report, number(row, list->column[i]));
        }
    lj_table_end(report);
}

static int draw_list(struct lj_report *report, const struct list *list)
{
    struct names names;
    struct lj_figure figure;
    collect(report, list, &names);
    if (names.count == 0)
        return LJ_OK;
    LJ_TRY(write_values(report, list, &names));
    lj_figure_begin(&figure, list->member, list->title);
    lj_text_add(&figure.script, "set style data histogram\nset style histogram clustered gap 1\n"
                                "set style fill solid 0.8\nset xtics rotate by -35 noenhanced\n"
                                "set yrange [0:*]\nset rmargin 6\n");
    for (int run = 0; run < report->runs; run++) {
        lj_text_add(&figure.script, "%s'%s.tsv' skip 1 using %d:xtic(1) title ",
                    run ? ", \\\n     " : "plot ", list->member, run + 2);
        lj_text_quoted(&figure.script, report->run[run].name);
    }
    lj_text_add(&figure.script, "\n");
    LJ_TRY(lj_figure_draw(report, &figure, list->caption));
    list_rows(report, list, &names);
    lj_figure_end(report);
    return LJ_OK;
}

int lj_report_timing(struct lj_report *report)
{
    struct lj_text *page = &report->page;
    lj_text_add(page, "<h2>Time</h2>\n");
    for (int run = 0; run < report->runs; run++) {
        const json_t *timing = report->run[run].timing;
        const char *verdict = json_string_value(json_object_get(timing, "verdict"));
        lj_text_add(page, "<p><strong>");
        lj_text_html(page, report->run[run].name);
        lj_text_add(page, "</strong>: ");
        lj_text_html(page, verdict  ? verdict
                           : timing ? "timing.json has no verdict"
                                    : "no timing.json, which a run writes when it ends well");
        lj_text_add(page, "</p>\n");
    }
    lj_text_add(page, "<div class=\"figures\">\n");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        LJ_TRY(draw_list(report, &lists[i]));
    lj_text_add(page, "</div>\n");
    return LJ_OK;
}
