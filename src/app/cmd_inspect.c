/* SPDX-License-Identifier: Apache-2.0 */
/* inspect: what an archive holds, and a configuration for it. */
#include "app/app.h"

#include "data/data.h"
#include "lejepa/runtime.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Names of datasets that are listed, and classes in the table. */
enum { NAMES_MAX = 256, CLASSES_SHOWN = 20 };

static json_t *list_datasets(const struct lj_archive_dataset *set, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "name", set[i].name, "rows",
                                              (json_int_t)set[i].rows, "files",
                                              (json_int_t)set[i].files));
    return list;
}

/* What is printed. */
struct inspection {
    const struct lj_archive *archive;
    const struct lj_archive_info *info;
    struct lj_pixel_sample sample;
    struct lj_archive_dataset set[NAMES_MAX];
    int sets;
    int64_t *class_rows; /* (classes) owned */
    int64_t unlabelled;
};

/* Selected rows of each class. */
static int count_classes(struct inspection *n)
{
    n->class_rows = lj_alloc_array(n->info->classes, sizeof *n->class_rows, "inspect");
    if (!n->class_rows)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; n->info->has_labels && i < n->info->selected; i++) {
        int32_t label = lj_archive_label(n->archive, i);
        if (label < 0)
            n->unlabelled++;
        else
            n->class_rows[label]++;
    }
    return LJ_OK;
}

static int look(struct inspection *n, struct lj_archive *archive)
{
    n->archive = archive;
    n->info = lj_archive_info(archive);
    n->sets = lj_archive_datasets(archive, n->set, NAMES_MAX);
    LJ_TRY(count_classes(n));
    return lj_archive_sample(archive, &n->sample);
}

/* ---- as JSON ----------------------------------------------------------------------------- */

static json_t *list_channels(const struct inspection *n)
{
    json_t *list = json_array();
    for (int c = 0; c < n->info->channels; c++) {
        const double *q = n->sample.quantile[c];
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:o, s:o}", "least", lj_json_number(q[LJ_LEAST]),
                            "q01", lj_json_number(q[LJ_PERCENT_1]), "median",
                            lj_json_number(q[LJ_MEDIAN]), "q99", lj_json_number(q[LJ_PERCENT_99]),
                            "largest", lj_json_number(q[LJ_LARGEST])));
    }
    return list;
}

static json_t *list_classes(const struct inspection *n)
{
    json_t *list = json_array();
    for (int64_t k = 0; k < n->info->classes; k++)
        json_array_append_new(list, json_integer(n->class_rows[k]));
    return list;
}

static int print_json(const struct inspection *n)
{
    const struct lj_archive_info *i = n->info;
    const struct lj_pixel_sample *s = &n->sample;
    json_t *object = json_pack(
        "{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:i, s:I}", "datasets",
        list_datasets(n->set, n->sets), "images", i->images, "type", i->type, "axes", i->axes,
        "axes_reason", i->axes_reason, "labels", i->labels, "storage", i->storage, "blank",
        i->blank, "rows", (json_int_t)i->rows, "selected", (json_int_t)i->selected, "channels",
        i->channels, "height", (json_int_t)i->height, "width", (json_int_t)i->width, "parts",
        i->parts, "classes", (json_int_t)i->classes);
    json_t *pixels = json_pack("{s:I, s:o, s:f, s:f, s:f, s:f}", "rows", (json_int_t)s->rows,
                               "channels", list_channels(n), "nonfinite", s->nonfinite, "constant",
                               s->constant, "seconds_per_image", s->seconds, "seconds_per_epoch",
                               s->seconds * (double)i->selected);
    json_object_set_new(object, "sample", pixels);
    json_object_set_new(object, "class_rows", list_classes(n));
    json_object_set_new(object, "unlabelled", json_integer(n->unlabelled));
    int status = lj_print_json(object, 9);
    json_decref(object);
    return status;
}

/* ---- as a table -------------------------------------------------------------------------- */

static void print_labels(const struct inspection *n)
{
    const struct lj_archive_info *i = n->info;
    printf("labels    %s", i->has_labels ? i->labels : "none");
    if (i->has_labels)
        printf(", %lld classes, %lld rows without", (long long)i->classes,
               (long long)n->unlabelled);
    printf("\n");
    for (int64_t k = 0; k < lj_min_i64(i->classes, CLASSES_SHOWN); k++)
        printf("          class %lld: %lld rows\n", (long long)k, (long long)n->class_rows[k]);
    if (i->classes > CLASSES_SHOWN)
        printf("          and %lld more classes (json=1 lists all)\n",
               (long long)(i->classes - CLASSES_SHOWN));
}

static void print_sample(const struct inspection *n)
{
    const struct lj_pixel_sample *s = &n->sample;
    printf("pixels    of %lld rows: %.3g %% not finite%s, %.3g %% of the images constant\n",
           (long long)s->rows, 100 * s->nonfinite, n->info->blank[0] ? " or blank" : "",
           100 * s->constant);
    printf(
        "          channel        least          1 %%       median         99 %%      largest\n");
    for (int c = 0; c < n->info->channels; c++) {
        const double *q = s->quantile[c];
        printf("          %7d %12.5g %12.5g %12.5g %12.5g %12.5g\n", c, q[LJ_LEAST],
               q[LJ_PERCENT_1], q[LJ_MEDIAN], q[LJ_PERCENT_99], q[LJ_LARGEST]);
    }
    printf("reading   %.3g ms an image on one thread here, %.3g s an epoch\n", 1e3 * s->seconds,
           s->seconds * (double)n->info->selected);
}

static void print_table(const struct inspection *n)
{
    const struct lj_archive_info *i = n->info;
    printf("images    %s, %lld rows in %d part%s, %lld selected\n", i->images, (long long)i->rows,
           i->parts, i->parts == 1 ? "" : "s", (long long)i->selected);
    for (int k = 0; k < n->sets && n->sets > 1; k++)
        printf("          %s, %lld rows in %lld file%s\n", n->set[k].name,
               (long long)n->set[k].rows, (long long)n->set[k].files,
               n->set[k].files == 1 ? "" : "s");
    if (n->sets == NAMES_MAX)
        printf("          %d names are listed at most\n", NAMES_MAX);
    printf("axes      %s (%s)\n", i->axes, i->axes_reason);
    printf("shape     %d channels of %lld x %lld pixels, type %s\n", i->channels,
           (long long)i->stored_height, (long long)i->stored_width, i->type);
    printf("storage   %s\n", i->storage);
    if (i->blank[0])
        printf("blank     %s\n", i->blank);
    print_labels(n);
    print_sample(n);
}

/* ---- a configuration --------------------------------------------------------------------- */

static int write_config_for(const struct inspection *n, const struct lj_config *config)
{
    if (!config->arg_out[0])
        return LJ_OK;
    static struct lj_config proposal, defaults; /* too large for the stack */
    FILE *out = fopen(config->arg_out, "w");
    if (!out)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s", config->arg_out,
                       strerror(errno));
    lj_config_defaults(&defaults);
    lj_propose_config(&proposal, n->archive, &n->sample, config);
    fprintf(out, "# for `lejepa_mpi train %s`\n", config->arg_out);
    lj_config_write_differences(&proposal, &defaults, out);
    return fclose(out) == 0 ? LJ_OK
                            : lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written", config->arg_out);
}

static int inspect(struct lj_archive *archive, const struct lj_config *config)
{
    struct inspection *n = lj_alloc(sizeof *n, "inspect");
    int status = n ? look(n, archive) : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        if (config->arg_json)
            status = print_json(n);
        else
            print_table(n);
        if (status == LJ_OK)
            status = write_config_for(n, config);
    }
    if (n)
        lj_free(n->class_rows);
    lj_free(n);
    return status;
}

int lj_command_inspect(struct lj_comm *comm, struct lj_config *config,
                       const struct lj_call_words *words)
{
    (void)words;
    struct lj_archive *archive = NULL;
    const char *isa = "";
    LJ_TRY(lj_agree(comm, lj_use_example(config)));
    LJ_TRY(lj_runtime_agree(comm, &isa));
    struct lj_archive_options options = lj_archive_options_of(config);
    LJ_TRY(lj_archive_open(&archive, comm, &options));
    int status = LJ_OK;
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm))
        status = inspect(archive, config);
    status = lj_root_section_end(comm, status);
    lj_archive_close(archive);
    return status;
}
