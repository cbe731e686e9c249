/* SPDX-License-Identifier: Apache-2.0 */
/* inspect: what an archive holds, and a configuration for it. */
#include "app/app.h"

#include "lejepa/data.h"
#include "lejepa/runtime.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Names of datasets that are listed. */
enum { NAMES_MAX = 256 };

static json_t *list_datasets(const struct lj_archive_dataset *set, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "name", set[i].name, "rows",
                                              (json_int_t)set[i].rows, "files",
                                              (json_int_t)set[i].files));
    return list;
}

static void print_inspection(const struct lj_archive *archive, const struct lj_config *config)
{
    const struct lj_archive_info *i = lj_archive_info(archive);
    struct lj_archive_dataset set[NAMES_MAX];
    int names = lj_archive_datasets(archive, set, NAMES_MAX);
    if (config->arg_json) {
        json_t *object = json_pack(
            "{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:i, s:I}", "datasets",
            list_datasets(set, names), "images", i->images, "type", i->type, "axes", i->axes,
            "axes_reason", i->axes_reason, "labels", i->labels, "storage", i->storage, "rows",
            (json_int_t)i->rows, "selected", (json_int_t)i->selected, "channels", i->channels,
            "height", (json_int_t)i->height, "width", (json_int_t)i->width, "parts", i->parts,
            "classes", (json_int_t)i->classes);
        json_dumpf(object, stdout, 0);
        printf("\n");
        json_decref(object);
        return;
    }
    printf("images    %s, %lld rows in %d part%s, %lld selected\n", i->images, (long long)i->rows,
           i->parts, i->parts == 1 ? "" : "s", (long long)i->selected);
    for (int n = 0; n < names && names > 1; n++)
        printf("          %s, %lld rows in %lld file%s\n", set[n].name, (long long)set[n].rows,
               (long long)set[n].files, set[n].files == 1 ? "" : "s");
    if (names == NAMES_MAX)
        printf("          %d names are listed at most\n", NAMES_MAX);
    printf("axes      %s (%s)\n", i->axes, i->axes_reason);
    printf("shape     %d channels of %lld x %lld pixels, type %s\n", i->channels,
           (long long)i->stored_height, (long long)i->stored_width, i->type);
    printf("storage   %s\n", i->storage);
    printf("labels    %s", i->has_labels ? i->labels : "none");
    if (i->has_labels)
        printf(", %lld classes", (long long)i->classes);
    printf("\n");
}

static int write_config_for(const struct lj_archive *archive, const struct lj_config *config)
{
    if (!config->arg_out[0])
        return LJ_OK;
    FILE *out = fopen(config->arg_out, "w");
    if (!out)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s", config->arg_out,
                       strerror(errno));
    const struct lj_archive_info *i = lj_archive_info(archive);
    fprintf(out, "data.archive: \"%s\"\ndata.images: \"%s\"\ndata.axes: %s\n", config->data_archive,
            i->parts > 1 ? config->data_images : i->images, i->axes);
    fprintf(out, "data.labels: \"%s\"\ndata.where: \"%s\"\n",
            !i->has_labels ? "none"
            : i->parts > 1 ? config->data_labels
                           : i->labels,
            config->data_where);
    return fclose(out) == 0 ? LJ_OK
                            : lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written", config->arg_out);
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
    if (lj_comm_is_root(comm)) {
        print_inspection(archive, config);
        status = write_config_for(archive, config);
    }
    lj_archive_close(archive);
    return lj_agree(comm, status);
}
