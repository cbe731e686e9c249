/* SPDX-License-Identifier: Apache-2.0 */
/* Figures by gnuplot, and the tables of the same numbers. Scripts name files without a directory
 * and gnuplot runs in theirs, so that no path of the user's has a meaning in a script. */
#include "app/report/report.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_STARTED = 127 }; /* exit code of the child, as of a shell */

int lj_report_write_file(const struct lj_report *report, const char *name, const char *suffix,
                         const struct lj_text *text)
{
    char path[LJ_PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s%s", report->folder, name, suffix) >= LJ_PATH_MAX)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path too long", report->folder);
    return lj_text_write(text, path);
}

const char *lj_report_name(char name[64], const char *part, int run)
{
    snprintf(name, 64, "%s-%d", part, run + 1);
    return name;
}

int lj_report_write_table(const struct lj_report *report, const char *name, struct lj_text *table)
{
    int status = lj_report_write_file(report, name, ".tsv", table);
    lj_text_free(table);
    return status;
}

/* The page turns lightness over where the reader prefers dark pages: black lines on nothing. */
void lj_figure_begin(struct lj_figure *figure, const char *name, const char *title)
{
    *figure = (struct lj_figure){.name = name, .title = title};
    lj_text_add(&figure->script,
                "# gnuplot %s.gp\n"
                "set terminal svg size 600,360 dynamic font 'sans-serif,15' noenhanced\n"
                "set output '%s.svg'\n"
                "set datafile separator tab\n"
                "set datafile missing 'nan'\n"
                "set linetype 1 linewidth 2 linecolor '#0072b2'\n"
                "set linetype 2 linewidth 2 linecolor '#d55e00' dashtype '-'\n"
                "set linetype 3 linewidth 2 linecolor '#009e73' dashtype '-.'\n"
                "set linetype 4 linewidth 2 linecolor '#b0508a' dashtype '.'\n"
                "set linetype 5 linewidth 2 linecolor '#8c6d1f'\n"
                "set linetype 6 linewidth 2 linecolor '#3d8fc4' dashtype '-'\n"
                "set linetype 7 linewidth 2 linecolor '#7a52b3' dashtype '-.'\n"
                "set linetype 8 linewidth 2 linecolor '#c23b3b' dashtype '.'\n"
                "set linetype 9 linewidth 2 linecolor '#5a7d2a'\n"
                "set linetype 10 linewidth 2 linecolor '#6b6b6b' dashtype '-'\n"
                "set linetype cycle 10\n"
                "set border 3\n"
                "set tics nomirror\n"
                "set grid ytics linecolor '#d0d0d0'\n"
                "set key outside bottom center horizontal\n"
                "set title ",
                name, name);
    lj_text_quoted(&figure->script, title);
    lj_text_add(&figure->script, "\n");
}

/* ---- gnuplot ------------------------------------------------------------------------------- */

/* In the child: never returns. Its messages go to a file of the folder. Only calls that are safe
 * beside the threads of MPI. */
_Noreturn static void become_gnuplot(const char *folder, char *const *words)
{
    if (chdir(folder) != 0)
        _exit(NOT_STARTED);
    int nothing = open("/dev/null", O_RDONLY);
    int messages = open("gnuplot.log", O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (dup2(nothing, STDIN_FILENO) < 0 || dup2(messages, STDOUT_FILENO) < 0 ||
        dup2(messages, STDERR_FILENO) < 0)
        _exit(NOT_STARTED);
    execvp(words[0], words);
    _exit(NOT_STARTED);
}

/* Exit code of gnuplot; NOT_STARTED: there is none. */
static int run_gnuplot(const char *folder, char *script)
{
    char name[] = "gnuplot", defaults[] = "-d"; /* -d: nothing of the user's ~/.gnuplot */
    char *const words[] = {name, defaults, script, NULL};
    int ended = 0;
    pid_t child = fork();
    if (child == 0)
        become_gnuplot(folder, words);
    if (child < 0)
        return NOT_STARTED;
    while (waitpid(child, &ended, 0) < 0)
        if (errno != EINTR)
            return 1;
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : 1;
}

/* Returns whether there is a picture. An older one is removed first. */
static bool draw(struct lj_report *report, const char *name)
{
    char script[256], picture[LJ_PATH_MAX];
    snprintf(script, sizeof script, "%s.gp", name);
    if (snprintf(picture, sizeof picture, "%s/%s.svg", report->folder, name) >= LJ_PATH_MAX)
        return false;
    unlink(picture);
    if (report->without_gnuplot)
        return false;
    int code = run_gnuplot(report->folder, script);
    report->without_gnuplot = code == NOT_STARTED;
    if (code == NOT_STARTED)
        lj_warn("gnuplot cannot be started: there are tables only; with gnuplot installed, run "
                "gnuplot *.gp in %s, or give the command again",
                report->folder);
    else if (code != 0 || access(picture, R_OK) != 0)
        lj_warn("gnuplot failed with %s/%s; its messages are in gnuplot.log there", report->folder,
                script);
    return code == 0 && access(picture, R_OK) == 0;
}

/* ---- the page's side ----------------------------------------------------------------------- */

int lj_figure_make(struct lj_report *report, struct lj_figure *figure, bool *drawn)
{
    int status = lj_report_write_file(report, figure->name, ".gp", &figure->script);
    lj_text_free(&figure->script);
    LJ_TRY(status);
    *drawn = draw(report, figure->name);
    report->figures++;
    report->drawn += *drawn;
    return LJ_OK;
}

/* The figures are in no folder of their own. */
static bool beside_page(const struct lj_report *report)
{
    return strcmp(report->folder_name, ".") == 0;
}

int lj_figure_draw(struct lj_report *report, struct lj_figure *figure, const char *caption)
{
    struct lj_text *page = &report->page;
    bool drawn;
    LJ_TRY(lj_figure_make(report, figure, &drawn));
    lj_text_add(page, "<figure>\n");
    if (drawn) {
        lj_text_add(page, "<img width=\"600\" height=\"360\" src=\"");
        lj_text_url(page, report->folder_name);
        lj_text_add(page, "/%s.svg\" alt=\"", figure->name);
        lj_text_html(page, figure->title);
        lj_text_add(page, ". The numbers are in the table below.\">\n");
    } else {
        lj_text_add(page, "<p>Not drawn. With gnuplot, in the directory ");
        lj_text_html(page, beside_page(report) ? "of this page" : report->folder_name);
        lj_text_add(page, "%s: <code>gnuplot %s.gp</code></p>\n",
                    beside_page(report) ? "" : " beside this page", figure->name);
    }
    lj_text_add(page, "<figcaption>");
    lj_text_html(page, caption);
    lj_text_add(page, "</figcaption>\n");
    return LJ_OK;
}

void lj_figure_end(struct lj_report *report)
{
    lj_text_add(&report->page, "</figure>\n");
}

void lj_table_begin(struct lj_report *report, const char *summary, bool open,
                    const char *const *column, int columns)
{
    struct lj_text *page = &report->page;
    lj_text_add(page, open ? "<details open>\n<summary>" : "<details>\n<summary>");
    lj_text_html(page, summary);
    lj_text_add(page, "</summary>\n<div class=\"wide\">\n<table>\n<thead><tr>");
    for (int i = 0; i < columns; i++) {
        lj_text_add(page, "<th scope=\"col\">");
        lj_text_html(page, column[i]);
        lj_text_add(page, "</th>");
    }
    lj_text_add(page, "</tr></thead>\n<tbody>\n");
}

void lj_table_end(struct lj_report *report)
{
    lj_text_add(&report->page, "</tbody>\n</table>\n</div>\n</details>\n");
}

void lj_row_begin(struct lj_report *report, const char *heading)
{
    lj_text_add(&report->page, "<tr><th scope=\"row\">");
    lj_text_html(&report->page, heading);
    lj_text_add(&report->page, "</th>");
}

void lj_cell_text(struct lj_report *report, const char *words)
{
    lj_text_add(&report->page, "<td>");
    lj_text_html(&report->page, words);
    lj_text_add(&report->page, "</td>");
}

void lj_cell_number(struct lj_report *report, double value)
{
    if (isfinite(value))
        lj_text_add(&report->page, "<td class=\"number\">%.6g</td>", value);
    else
        lj_text_add(&report->page, "<td class=\"number\">-</td>");
}

void lj_cell_integer(struct lj_report *report, int64_t value)
{
    lj_text_add(&report->page, "<td class=\"number\">%lld</td>", (long long)value);
}

void lj_cell_json(struct lj_report *report, const json_t *value)
{
    if (json_is_string(value))
        lj_cell_text(report, json_string_value(value));
    else if (json_is_boolean(value))
        lj_cell_text(report, json_is_true(value) ? "yes" : "no");
    else if (json_is_integer(value))
        lj_cell_integer(report, json_integer_value(value));
    else
        lj_cell_number(report, json_is_real(value) ? json_real_value(value) : NAN);
}
