/* SPDX-License-Identifier: Apache-2.0 */
/* The page of scale around its figures. All numbers are those of the object that scale.json holds.
 */
#include "app/scale_report.h"

#include <stdio.h>
#include <string.h>

static const char *word(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text ? text : "-";
}

static long long whole(const json_t *object, const char *member)
{
    return (long long)json_integer_value(json_object_get(object, member));
}

static void add_heading(struct lj_report *page, const char *words)
{
    lj_text_add(&page->page, "<h2>%s</h2>\n", words);
}

static void add_paragraph(struct lj_report *page, const char *words)
{
    lj_text_add(&page->page, "<p>");
    lj_text_html(&page->page, words);
    lj_text_add(&page->page, "</p>\n");
}

/* ---- rungs --------------------------------------------------------------------------------- */

static void add_rung_heading(struct lj_report *page, const json_t *rung, bool measured)
{
    char words[64];
    snprintf(words, sizeof words, "%s%s", word(rung, "mode"), measured ? "" : ", prediction");
    lj_row_begin(page, words);
    lj_cell_integer(page, whole(rung, "ranks"));
}

static const char predicted[] = "predicted_";

static bool is_predicted(const char *column)
{
    return strncmp(column, predicted, sizeof predicted - 1) == 0;
}

static void add_rows(struct lj_report *page, const json_t *rungs, bool measured,
                     const char *const *column)
{
    size_t i;
    json_t *rung;
    json_array_foreach(rungs, i, rung)
    {
        const json_t *prediction = json_object_get(rung, "prediction");
        add_rung_heading(page, rung, measured);
        for (int k = 0; column[k]; k++)
            lj_cell_json(page, is_predicted(column[k])
                                   ? json_object_get(prediction, column[k] + sizeof predicted - 1)
                                   : json_object_get(rung, column[k]));
    }
}

void lj_scale_page_rungs(struct lj_report *page, const json_t *object, const char *summary,
                         bool open, const char *const *column)
{
    const char *heading[16] = {"mode", "ranks"};
    int columns = 2;
    bool predictions = false;
    for (int k = 0; column[k] && columns < 16; k++) {
        heading[columns++] = column[k];
        predictions = predictions || is_predicted(column[k]);
    }
    lj_table_begin(page, summary, open, heading, columns);
    add_rows(page, json_object_get(object, "rungs"), true, column);
    if (predictions)
        add_rows(page, json_object_get(object, "predictions"), false, column);
    lj_table_end(page);
}

/* Sentences, which a table would squeeze on a narrow page. Returns whether a row takes the network
 * between nodes for what it was not measured to be. */
static bool add_bounds(struct lj_report *page, const json_t *rungs, bool measured)
{
    bool guesses = false;
    size_t i;
    json_t *rung;
    json_array_foreach(rungs, i, rung)
    {
        const char *bound = word(json_object_get(rung, "prediction"), "bound");
        lj_text_add(&page->page, "<li>%s, ranks: %lld%s: ", word(rung, "mode"),
                    whole(rung, "ranks"), measured ? "" : ", prediction");
        lj_text_html(&page->page, bound);
        lj_text_add(&page->page, "</li>\n");
        guesses = guesses || json_is_true(json_object_get(rung, "guesses_network"));
    }
    return guesses;
}

static void add_summary(struct lj_report *page, const json_t *object)
{
    static const char *const column[] = {"batch",     "step_s", "efficiency", "predicted_step_s",
                                         "same_bits", NULL};
    add_heading(page, "Steps, and what bounds them");
    lj_scale_page_rungs(page, object, "Measured rungs, then predictions, which nobody measured",
                        true, column);
    lj_text_add(&page->page, "<ul>\n");
    add_bounds(page, json_object_get(object, "rungs"), true);
    bool guesses = add_bounds(page, json_object_get(object, "predictions"), false);
    lj_text_add(&page->page, "</ul>\n");
    if (guesses)
        add_paragraph(page, "No network between nodes was measured; predictions take it for as "
                            "fast as the memory of a node.");
}

/* ---- before the figures -------------------------------------------------------------------- */

static void add_baseline(struct lj_report *page, const json_t *object)
{
    char words[160];
    size_t i;
    json_t *base;
    json_array_foreach(json_object_get(object, "baseline"), i, base)
    {
        snprintf(words, sizeof words, "Baseline of %s scaling: ranks: %lld, batch.size=%lld.",
                 word(base, "mode"), whole(base, "ranks"), whole(base, "batch"));
        add_paragraph(page, words);
    }
}

void lj_scale_page_head(struct lj_report *page, const json_t *object)
{
    char words[1024];
    lj_page_begin(&page->page, "LeJEPA: scaling", "LeJEPA: scaling of training");
    snprintf(words, sizeof words,
             "%.300s, %.2f M parameters, on %lld ranks, nodes: %lld, threads of a rank: %lld; "
             "%.100s. A step is the median of %lld repeats of %lld steps, reading and views "
             "included.",
             word(object, "model"), (double)whole(object, "parameters") * 1e-6,
             whole(object, "ranks"), whole(object, "nodes"), whole(object, "threads"),
             word(object, "processor"), whole(object, "repeats"), whole(object, "steps"));
    add_paragraph(page, words);
    add_baseline(page, object);
    add_summary(page, object);
    add_heading(page, "Figures");
    lj_text_add(&page->page,
                "<p class=\"dim\">Each figure is a picture and a gnuplot script beside this page: "
                "change the script NAME.gp, and draw it again there with <code>gnuplot NAME.gp"
                "</code>. All read scale.csv.</p>\n");
}

/* ---- after them ---------------------------------------------------------------------------- */

/* A table of the objects of a list; the first column is a heading. */
static void add_list(struct lj_report *page, const json_t *list, const char *summary, bool open,
                     const char *const *column, int columns)
{
    size_t i;
    json_t *row;
    lj_table_begin(page, summary, open, column, columns);
    json_array_foreach(list, i, row)
    {
        char first[32];
        const json_t *value = json_object_get(row, column[0]);
        snprintf(first, sizeof first, "%lld", (long long)json_integer_value(value));
        lj_row_begin(page, json_is_string(value) ? json_string_value(value) : first);
        for (int k = 1; k < columns; k++)
            lj_cell_json(page, json_object_get(row, column[k]));
    }
    lj_table_end(page);
}

static void add_targets(struct lj_report *page, const json_t *object)
{
    static const char *const column[] = {"ranks", "batch",   "target_knn_top1", "reached",
                                         "steps", "seconds", "knn_top1"};
    const json_t *targets = json_object_get(object, "targets");
    if (json_array_size(targets) == 0)
        return;
    add_heading(page, "Time to an accuracy");
    add_list(page, targets, "With reading the index, set-up and evaluations", true, column, 7);
}

/* ---- objectives ---------------------------------------------------------------------------- */

/* Rows of a member of each objective, which is a list. */
static void add_messages(struct lj_report *page, const json_t *objectives)
{
    static const char *const column[] = {"objective", "name",          "collective", "calls",
                                         "bytes",     "formula_bytes", "formula"};
    size_t i, k;
    json_t *objective, *message;
    lj_table_begin(page, "Messages of a step, measured and by formula", false, column, 7);
    json_array_foreach(objectives, i, objective)
    {
        json_array_foreach(json_object_get(objective, "traffic"), k, message)
        {
            lj_row_begin(page, word(objective, "objective"));
            for (int at = 1; at < 7; at++)
                lj_cell_json(page, json_object_get(message, column[at]));
        }
    }
    lj_table_end(page);
}

/* "2.00 (1.98 to 2.02)"; a dash where nothing was fitted. */
static void add_power(struct lj_report *page, const json_t *power)
{
    const json_t *low = json_object_get(power, "low"), *at = json_object_get(power, "exponent");
    char words[64] = "-";
    if (json_is_number(low))
        snprintf(words, sizeof words, "%.2f (%.2f to %.2f)", json_number_value(at),
                 json_number_value(low), json_number_value(json_object_get(power, "high")));
    else if (json_is_number(at))
        snprintf(words, sizeof words, "%.2f", json_number_value(at));
    lj_cell_text(page, words);
}

static void add_powers_row(struct lj_report *page, const char *name, const char *of,
                           const json_t *powers, const char *const *growth)
{
    lj_row_begin(page, name);
    lj_cell_text(page, of);
    for (int k = 0; k < 4; k++)
        add_power(page, json_object_get(powers, growth[k]));
}

static void add_exponents(struct lj_report *page, const json_t *objectives, const json_t *sigreg)
{
    static const char *const heading[] = {"objective",    "of",           "in N (samples)",
                                          "in D (width)", "in P (ranks)", "in M (slices)"};
    static const char *const growth[] = {"N", "D", "P", "M"};
    size_t i;
    json_t *row;
    lj_table_begin(page, "Exponents, and 95 % intervals", false, heading, 6);
    json_array_foreach(objectives, i, row)
    {
        const char *name = word(row, "objective");
        add_powers_row(page, name, "bytes, by formula", json_object_get(row, "exponents_formula"),
                       growth);
        add_powers_row(page, name, "bytes, measured", json_object_get(row, "exponents_measured"),
                       growth);
    }
    if (json_is_object(sigreg))
        add_powers_row(page, "SIGReg", "seconds, one core", json_object_get(sigreg, "exponents"),
                       growth);
    lj_table_end(page);
}

static void add_training(struct lj_report *page, const json_t *objectives)
{
    static const char *const column[] = {"objective", "steps",    "knn_top1",
                                         "seconds",   "within_s", "knn_top1_within"};
    size_t i;
    json_t *row;
    if (!json_is_object(json_object_get(json_array_get(objectives, 0), "training")))
        return;
    lj_table_begin(page, "kNN after as many steps, and within the seconds of the fastest", true,
                   column, 6);
    json_array_foreach(objectives, i, row)
    {
        const json_t *training = json_object_get(row, "training");
        lj_row_begin(page, word(row, "objective"));
        for (int k = 1; k < 6; k++)
            lj_cell_json(page, json_object_get(training, column[k]));
    }
    lj_table_end(page);
}

/* What `scale objectives=` has left in the same directory. */
static void add_objectives(struct lj_report *page)
{
    static const char *const column[] = {"objective",  "step_s",       "step_s_low", "step_s_high",
                                         "loss_share", "memory_bytes", "flops",      "collectives",
                                         "messages",   "bytes",        "heuristics"};
    char path[LJ_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/objectives.json", page->folder);
    json_t *object = json_load_file(path, 0, NULL);
    const json_t *objectives = json_object_get(object, "objectives");
    if (json_array_size(objectives) > 0) {
        add_heading(page, "Objectives");
        add_paragraph(page, "The same training with each objective, from objectives.json beside "
                            "this page.");
        add_list(page, objectives, "A step of each", true, column, 11);
        add_messages(page, objectives);
        add_exponents(page, objectives, json_object_get(object, "sigreg"));
        add_training(page, objectives);
    }
    json_decref(object);
}

/* ---- network and machine ------------------------------------------------------------------- */

static void add_network(struct lj_report *page, const json_t *object)
{
    static const char *const level[] = {"level",
                                        "measured",
                                        "L_s",
                                        "o_s",
                                        "g_s",
                                        "G_s_per_byte",
                                        "G_pairs_s_per_byte",
                                        "G_exchange_s_per_byte",
                                        "sum_round_s",
                                        "sum_s_per_byte"};
    static const char *const sample[] = {"pattern", "level", "ranks",  "ranks_per_node", "bytes",
                                         "seconds", "low_s", "high_s", "model_s"};
    const json_t *network = json_object_get(object, "network");
    char words[160];
    if (!json_is_object(network))
        return;
    add_heading(page, "Network");
    snprintf(words, sizeof words,
             "The model differs from the samples by %.1f %% (median), %.1f %% at most.",
             100 * json_number_value(json_object_get(network, "model_error")),
             100 * json_number_value(json_object_get(network, "model_error_most")));
    add_paragraph(page, words);
    add_list(page, json_object_get(network, "levels"), "LogGP model of each level", true, level,
             10);
    add_list(page, json_object_get(network, "samples"), "Samples", false, sample, 9);
}

static void add_pairs(struct lj_report *page, const json_t *object, const char *summary)
{
    static const char *const heading[] = {"name", "value"};
    const char *name;
    json_t *value;
    lj_table_begin(page, summary, true, heading, 2);
    json_object_foreach((json_t *)object, name, value)
    {
        if (json_is_object(value) || json_is_array(value) || json_is_null(value))
            continue;
        lj_row_begin(page, name);
        lj_cell_json(page, value);
    }
    lj_table_end(page);
}

static void add_definitions(struct lj_report *page)
{
    static const struct {
        const char *name, *text;
    } rows[] = {
        {"strong", "batch.size is the same on every rung"},
        {"weak", "a rank has as many lanes as on the largest rung; the batch grows with the ranks"},
        {"step_s", "seconds of a step: median over the repeats, each a mean over its steps on the "
                   "slowest rank; _low and _high: the least and the largest repeat"},
        {"efficiency", "samples a second and rank, as a share of the baseline's, the smallest rung "
                       "of the mode; _low and _high: from the extremes of both rungs"},
        {"exposed_s", "seconds of a step in which a rank only communicates or waits for it, mean "
                      "over ranks; exposed_share: of step_s"},
        {"bytes, messages, collectives",
         "of a step, on the rank that has most: bytes sent or put into reductions, messages to one "
         "other rank each, calls in which MPI decides who sends what"},
        {"imbalance", "seconds of computing of the busiest rank over the mean, less 1"},
        {"same_bits", "losses, gradient norms and weights of the first two steps are those of the "
                      "smallest number of ranks with the same batch"},
        {"predicted_", "what the model of machine and network says: LogGP links, phases of a "
                       "measured rung"},
    };
    static const char *const heading[] = {"name", "is"};
    add_heading(page, "How the numbers are defined");
    lj_table_begin(page, "Columns", true, heading, 2);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lj_row_begin(page, rows[i].name);
        lj_cell_text(page, rows[i].text);
    }
    lj_table_end(page);
}

void lj_scale_page_rest(struct lj_report *page, const json_t *object)
{
    add_targets(page, object);
    add_objectives(page);
    add_network(page, object);
    add_heading(page, "Machine and settings");
    add_pairs(page, object, "Machine, work and study");
    add_pairs(page, json_object_get(object, "settings"), "Settings other than the defaults");
    add_definitions(page);
}
