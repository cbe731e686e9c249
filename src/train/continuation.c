/* SPDX-License-Identifier: Apache-2.0 */
/* May this run continue from that checkpoint? Settings and archive that the weights depend on must
 * be as they were: a difference is refused, or, where resume.change names it, said and recorded. */
#include "train/trainer.h"

#include "eval/eval.h"
#include "store/store.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LIST_BYTES = 2048 };

/* What differs, as lists for messages. */
struct differences {
    char refused[LIST_BYTES]; /* "seed=9 (was 0), ..." */
    char keys[LIST_BYTES];    /* "seed,...": the keys of the refused */
    char allowed[LIST_BYTES]; /* as refused, but named by resume.change */
};

/* Appends to a list; what does not fit is cut. */
LJ_PRINTF(3, 4)
static void append(char list[LIST_BYTES], const char *separator, const char *format, ...)
{
    size_t used = strlen(list);
    if (used)
        used += (size_t)snprintf(list + used, LIST_BYTES - used, "%s", separator);
    if (used >= LIST_BYTES)
        return;
    va_list values;
    va_start(values, format);
    vsnprintf(list + used, LIST_BYTES - used, format, values);
    va_end(values);
}

/* ---- resume.change ----------------------------------------------------------------------- */

/* The next name of a list separated by commas; *list moves behind it. */
static bool next_name(const char **list, char name[128])
{
    *list += strspn(*list, ", ");
    size_t length = strcspn(*list, ", ");
    snprintf(name, 128, "%.*s", (int)length, *list);
    *list += length;
    return length > 0;
}

static bool is_allowed(const struct lj_config *config, const char *key)
{
    char name[128];
    const char *list = config->arg_resume_change;
    while (next_name(&list, name))
        if (strcmp(name, key) == 0)
            return true;
    return false;
}

int lj_trainer_check_allowed(const struct lj_config *config)
{
    char name[128];
    const char *list = config->arg_resume_change;
    while (next_name(&list, name)) {
        const struct lj_key *key = lj_config_key(name);
        if (!key || key->role == LJ_KEY_ARGUMENT)
            return lj_fail(LJ_ERR_CONFIG,
                           "resume.change: '%s' is no setting of a run; `lejepa_mpi help` lists "
                           "all",
                           name);
    }
    return LJ_OK;
}

/* ---- what differs ------------------------------------------------------------------------ */

static void add_difference(struct differences *d, const struct lj_config *config, const char *key,
                           const char *now, const char *was)
{
    bool allowed = is_allowed(config, key);
    append(allowed ? d->allowed : d->refused, ", ", "%s=%.200s (was %.200s)", key, now, was);
    if (!allowed)
        append(d->keys, ",", "%s", key);
}

/* Which labels there are decides on the weights only where the objective reads them. */
static bool decides_on_weights(const struct lj_key *key, bool labels)
{
    bool of_labels =
        strcmp(key->name, "data.labels") == 0 || strcmp(key->name, "data.unlabelled") == 0;
    return key->role == LJ_KEY_BITS || (labels && of_labels);
}

static void compare_settings(struct differences *d, const struct lj_config *now,
                             const struct lj_config *was, bool labels)
{
    char now_text[LJ_TEXT_MAX], was_text[LJ_TEXT_MAX];
    int count = 0;
    const struct lj_key *keys = lj_config_keys(&count);
    for (int i = 0; i < count; i++) {
        lj_config_value_text(now, &keys[i], now_text, sizeof now_text);
        lj_config_value_text(was, &keys[i], was_text, sizeof was_text);
        if (decides_on_weights(&keys[i], labels) && strcmp(now_text, was_text) != 0)
            add_difference(d, now, keys[i].name, now_text, was_text);
    }
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* Files, datasets, shapes and types of the archive; which rows of it is a setting. */
static void compare_archive(struct differences *d, const struct lj_trainer *t, const json_t *now,
                            const json_t *was)
{
    const char *now_text = text_of(now, "archive_fingerprint");
    const char *was_text = text_of(was, "archive_fingerprint");
    if (strcmp(now_text, was_text) != 0)
        add_difference(d, &t->config, "data.archive", "files of other names, sizes or shapes",
                       was_text[0] ? was_text : "unknown");
}

/* The classes of a classifier: another one would be trained on what a number stood for before. */
static void compare_classes(struct differences *d, const struct lj_trainer *t, const json_t *now,
                            const json_t *was)
{
    const json_t *now_labels = json_object_get(now, "classes");
    const json_t *was_labels = json_object_get(was, "classes");
    if (now_labels && was_labels && !json_equal(now_labels, was_labels))
        add_difference(d, &t->config, "data.labels", "other labels", "of other classes");
}

/* Do the same rows have labels that train, as far as settings say? */
static bool same_rows(const struct lj_config *now, const struct lj_config *was)
{
    return strcmp(now->data_where, was->data_where) == 0 &&
           now->eval_holdout == was->eval_holdout &&
           !(now->data_unlabelled < was->data_unlabelled) &&
           !(now->data_unlabelled > was->data_unlabelled);
}

/* The label of each row that trains, unless something said already why it is another one. */
static void compare_labels(struct differences *d, const struct lj_trainer *t,
                           const struct lj_config *was_config, const json_t *now, const json_t *was)
{
    const char *now_text = text_of(now, "labels_xxh3"), *was_text = text_of(was, "labels_xxh3");
    bool same_archive =
        strcmp(text_of(now, "archive_fingerprint"), text_of(was, "archive_fingerprint")) == 0;
    if (now_text[0] && was_text[0] && strcmp(now_text, was_text) != 0 && same_archive &&
        same_rows(&t->config, was_config))
        add_difference(d, &t->config, "data.labels", "other labels of the same rows", was_text);
}

/* What rounds in its own way cannot always be had again, so it is no reason to refuse. */
static void warn_of_arithmetic(const json_t *now, const json_t *was)
{
    static const char *const names[] = {"kernels", "matmuls", "libraries", "processor"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *now_text = text_of(now, names[i]), *was_text = text_of(was, names[i]);
        if (was_text[0] && strcmp(now_text, was_text) != 0)
            lj_warn("the checkpoint was made with %s %s, this run has %s: not the bits of an "
                    "uninterrupted run%s",
                    names[i], was_text, now_text,
                    i == 0 ? " (LJ_ISA chooses a lower level of kernels)" : "");
    }
}

/* ---- what is said and recorded ----------------------------------------------------------- */

static void say_schedule(const struct lj_trainer *t, const struct lj_config *was, int64_t step)
{
    struct lj_schedule before = lj_schedule_of(was, lj_archive_info(t->archive)->selected);
    double lr_before = lj_schedule_at(&before, step), lr = lj_schedule_at(&t->schedule, step);
    if (lr != lr_before || t->schedule.steps != before.steps)
        lj_say("learning rate: %.4g at step %lld, where the run until then had %.4g; on to %.4g at "
               "step %lld (was %lld)",
               lr, (long long)step, lr_before, lj_schedule_at(&t->schedule, t->schedule.steps),
               (long long)t->schedule.steps, (long long)before.steps);
}

/* What earlier checkpoints know of the run stays known; this continuation's changes are added. */
static int hand_on(struct lj_trainer *t, const json_t *was, int64_t step, const char *allowed)
{
    json_t *earlier = json_object_get(was, "changes");
    t->source = json_incref(json_object_get(was, "weights_from"));
    bool good = !json_is_array(earlier) || json_array_extend(t->changes, earlier) == 0;
    if (allowed[0])
        good = good && json_array_append_new(t->changes,
                                             json_pack("{s:I, s:s}", "after_step", (json_int_t)step,
                                                       "settings", allowed)) == 0;
    return good ? LJ_OK : lj_fail(LJ_ERR_RESOURCE, "out of memory: changes of the run");
}

static int judge(struct lj_trainer *t, const struct lj_checkpoint_header *header, const char *path,
                 const struct lj_config *was, const struct differences *d)
{
    /* A hold-out that an evaluation brings takes rows out of training; named rows do not. */
    bool held_out = was->eval_holdout == 0 && t->config.eval_holdout > 0;
    if (d->refused[0])
        return lj_fail(LJ_ERR_CONFIG,
                       "%s: to continue from it with %s would change what the weights depend on; "
                       "use the values of before%s, or another run.dir, or allow it by "
                       "resume.change=%s",
                       path, d->refused,
                       held_out ? " (eval.where names rows to evaluate without a hold-out)" : "",
                       d->keys);
    if (d->allowed[0]) {
        lj_warn("after step %lld this run differs from what it was, as resume.change allows: %s",
                (long long)header->step, d->allowed);
        say_schedule(t, was, header->step);
    }
    return LJ_OK;
}

/* The limits of the stretch stay those of the run's first rows, unless another stretch is set. */
static void keep_limits(const struct lj_config *now, const struct lj_config *was,
                        const struct lj_checkpoint_header *header, struct lj_limits *limits)
{
    struct lj_limits kept = *limits;
    if (now->data_stretch == was->data_stretch &&
        now->data_stretch_scale == was->data_stretch_scale &&
        lj_checkpoint_limits(header, was->data_stretch, &kept))
        *limits = kept;
}

/* Prototypes that learn are not held again, and others are not released in the past: where their
 * moments began decides on AdamW's bias correction, whatever settings and rows are now. */
static void keep_release(struct lj_trainer *t, const json_t *was, int64_t step)
{
    const json_t *held = json_object_get(was, "held_steps");
    if (!json_is_integer(held))
        return;
    int64_t release = lj_max_i64(json_integer_value(held), 0), wanted = t->held_steps;
    t->held_steps = release <= step ? release : lj_max_i64(wanted, step);
    if (t->held_steps != wanted)
        lj_warn("prototypes learn from step %lld on, not from step %lld as settings have it now: "
                "they %s",
                (long long)t->held_steps + 1, (long long)wanted + 1,
                release <= step ? "do already" : "were held until here");
}

int lj_trainer_check_continuation(struct lj_trainer *t, const struct lj_checkpoint_header *header,
                                  const char *path, struct lj_limits *limits)
{
    struct differences *d = lj_alloc(sizeof *d, "resuming");
    struct lj_config *was = lj_alloc(sizeof *was, "resuming");
    json_t *made_now = lj_trainer_provenance(t), *made = json_loads(header->provenance, 0, NULL);
    int status = d && was && made_now ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        lj_config_defaults(was);
        was->eval_holdout = 0; /* of a checkpoint older than this setting */
        status = lj_config_read_text(was, header->config, path);
    }
    if (status == LJ_OK) {
        compare_settings(d, &t->config, was, t->classes.classes > 0);
        compare_archive(d, t, made_now, made);
        compare_classes(d, t, made_now, made);
        compare_labels(d, t, was, made_now, made);
        status = judge(t, header, path, was, d);
    }
    if (status == LJ_OK) {
        keep_limits(&t->config, was, header, limits);
        warn_of_arithmetic(made_now, made);
        keep_release(t, made, header->step);
        status = hand_on(t, made, header->step, d->allowed);
    }
    json_decref(made);
    json_decref(made_now);
    lj_free(was);
    lj_free(d);
    return status;
}
