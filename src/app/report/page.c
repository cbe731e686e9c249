/* SPDX-License-Identifier: Apache-2.0 */
/* The page: reads the runs, writes its parts in order. It is one file without scripts that loads
 * nothing but the pictures beside it. */
#include "app/report/report.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const style =
    ":root{color-scheme:light dark;--line:#ccc;--dim:#555}\n"
    "body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;max-width:85rem;padding:0 1rem 3rem}\n"
    ".figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));"
    "gap:1.5rem}\n"
    "figure{margin:0;min-width:0}\n"
    "img{width:100%;height:auto}\n"
    "figcaption,.dim{color:var(--dim)}\n"
    "summary{cursor:pointer;padding:.4rem 0}\n"
    ".wide{overflow-x:auto;max-height:30rem;overflow-y:auto}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
    "th,td{border-bottom:1px solid var(--line);padding:.2rem .7rem .2rem 0;text-align:left;"
    "vertical-align:top}\n"
    "td{overflow-wrap:anywhere;min-width:4rem}\n"
    ".number{text-align:right;white-space:nowrap}\n"
    "@media(prefers-color-scheme:dark){:root{--line:#444;--dim:#aaa}"
    "body{background:#121212;color:#e8e8e8}img:not(.photo){filter:invert(1) hue-rotate(180deg)}}\n";

/* ---- runs ---------------------------------------------------------------------------------- */

static void free_run(struct lj_report_run *run)
{
    lj_history_free(&run->steps);
    lj_history_free(&run->evaluations);
    json_decref(run->timing);
    lj_free(run->config);
    *run = (struct lj_report_run){0};
}

/* Reads a run. Errors: LJ_ERR_DATA: it is none; LJ_ERR_RESOURCE. */
static int read_run(struct lj_report_run *run, const char *dir)
{
    char path[LJ_PATH_MAX];
    *run = (struct lj_report_run){.dir = dir, .name = dir};
    run->config = lj_alloc(sizeof *run->config, "report");
    if (!run->config)
        return LJ_ERR_RESOURCE;
    LJ_TRY(lj_history_settings(dir, run->config));
    snprintf(path, sizeof path, "%.4000s/timing.json", dir);
    run->timing = json_load_file(path, 0, NULL);
    LJ_TRY(lj_history_read(dir, &run->steps, &run->evaluations, &run->skipped));
    if (run->skipped > 0)
        lj_warn("%s/metrics.jsonl: %lld lines are no JSON object with a step, and left out", dir,
                (long long)run->skipped);
    return LJ_OK;
}

static int read_runs(struct lj_report *report, const char *const *dir, int count)
{
    report->run = lj_alloc_array(count, sizeof *report->run, "report");
    if (!report->run)
        return LJ_ERR_RESOURCE;
    for (int i = 0; i < count; i++) {
        int status = read_run(&report->run[report->runs], dir[i]);
        if (status == LJ_OK) {
            report->runs++;
            continue;
        }
        free_run(&report->run[report->runs]);
        if (status != LJ_ERR_DATA || count == 1)
            return status;
        lj_warn("left out: %s", lj_error_text());
    }
    if (report->runs == 0)
        return lj_fail(LJ_ERR_DATA, "report: none of %d directories holds a run", count);
    return LJ_OK;
}

/* What follows the last '/' that is not at the end. */
static const char *last_part(const char *path)
{
    const char *last = path;
    for (const char *at = path; *at; at++)
        if (*at == '/' && at[1] && at[1] != '/')
            last = at + 1;
    return last;
}

/* Short names where they tell the runs apart. */
static void name_runs(struct lj_report *report)
{
    for (int i = 0; i < report->runs; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(last_part(report->run[i].dir), last_part(report->run[k].dir)) == 0)
                return;
    for (int i = 0; i < report->runs; i++)
        report->run[i].name = last_part(report->run[i].dir);
}

/* ---- files --------------------------------------------------------------------------------- */

/* Decides the names of the page and of the folder beside it. */
static int choose_path(struct lj_report *report, const char *const *dir, int count, const char *out)
{
    if (!out[0] && count > 1)
        return lj_fail(LJ_ERR_CONFIG, "report: out= is missing, which several runs need; give the "
                                      "page to write, report.html");
    int length = out[0] ? snprintf(report->path, sizeof report->path, "%s", out)
                        : snprintf(report->path, sizeof report->path, "%s/report.html", dir[0]);
    if (length >= LJ_PATH_MAX - 64)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path too long; choose a shorter one", out);
    if (length < 6 || !lj_ends_with(report->path, ".html") || report->path[length - 6] == '/')
        return lj_fail(LJ_ERR_CONFIG, "out=%s: the page needs a name that ends in .html", out);
    snprintf(report->folder, sizeof report->folder, "%.*s", length - 5, report->path);
    report->folder_name = last_part(report->folder);
    return LJ_OK;
}

/* Is the folder the directory of a run, or the one that holds a run? Figures would lie among what
 * is theirs. */
static bool is_taken(const struct lj_report *report)
{
    char path[LJ_PATH_MAX + 16];
    struct stat folder, above;
    snprintf(path, sizeof path, "%s/config.yaml", report->folder);
    if (access(path, F_OK) == 0)
        return true;
    if (stat(report->folder, &folder) != 0)
        return false;
    for (int run = 0; run < report->runs; run++) {
        snprintf(path, sizeof path, "%.4090s/..", report->run[run].dir);
        if (stat(path, &above) == 0 && above.st_dev == folder.st_dev &&
            above.st_ino == folder.st_ino)
            return true;
    }
    return false;
}

static int make_folder(const struct lj_report *report)
{
    char log[LJ_PATH_MAX + 16];
    if (is_taken(report))
        return lj_fail(LJ_ERR_CONFIG,
                       "out=%s: its figures would lie in %s, among what runs have written; choose "
                       "another name",
                       report->path, report->folder);
    if (mkdir(report->folder, 0777) != 0 && errno != EEXIST)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be created: %s", report->folder,
                       strerror(errno));
    snprintf(log, sizeof log, "%s/gnuplot.log", report->folder);
    unlink(log);
    return LJ_OK;
}

void lj_page_begin(struct lj_text *page, const char *title, const char *heading)
{
    lj_text_add(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                      "<title>");
    lj_text_html(page, title);
    lj_text_add(page, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<h1>", style);
    lj_text_html(page, heading);
    lj_text_add(page, "</h1>\n");
}

int lj_page_end(struct lj_report *report)
{
    lj_text_add(&report->page, "</main>\n</body>\n</html>\n");
    return lj_text_write(&report->page, report->path);
}

static void begin_page(struct lj_report *report)
{
    struct lj_text *page = &report->page, title = {0};
    for (int run = 0; run < report->runs; run++)
        lj_text_add(&title, "%s%s", run ? ", " : "", report->run[run].name);
    lj_page_begin(page, title.length ? title.bytes : "",
                  report->runs > 1 ? "LeJEPA: runs side by side" : "LeJEPA: report of a run");
    lj_text_free(&title);
    lj_text_add(page, "<p class=\"dim\">Every figure is a table, a gnuplot script and a picture in "
                      "the directory ");
    lj_text_html(page, report->folder_name);
    lj_text_add(page, " beside this page: change the script NAME.gp, and draw it again there with "
                      "<code>gnuplot NAME.gp</code>.</p>\n");
}

int lj_report_write(struct lj_report *report)
{
    static int (*const parts[])(struct lj_report *) = {lj_report_overview, lj_report_curves,
                                                       lj_report_embeddings, lj_report_timing,
                                                       lj_report_settings};
    LJ_TRY(make_folder(report));
    begin_page(report);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        LJ_TRY(parts[i](report));
        lj_progress();
    }
    LJ_TRY(lj_page_end(report));
    lj_say("%s: %d run%s, figures: %d, drawn: %d; their tables and scripts are in %s", report->path,
           report->runs, report->runs == 1 ? "" : "s", report->figures, report->drawn,
           report->folder);
    return LJ_OK;
}

int lj_report_open(struct lj_report *report, const char *const *dir, int count, const char *out)
{
    LJ_TRY(choose_path(report, dir, count, out));
    LJ_TRY(read_runs(report, dir, count));
    name_runs(report);
    return LJ_OK;
}

void lj_report_close(struct lj_report *report)
{
    for (int run = 0; run < report->runs; run++)
        free_run(&report->run[run]);
    lj_free(report->run);
    lj_text_free(&report->page);
    *report = (struct lj_report){0};
}
