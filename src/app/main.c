/* SPDX-License-Identifier: Apache-2.0 */
/* The program: which command, its words, and the exit code that all ranks share. */
#include "app/app.h"

#include "lejepa/run.h"

#include "kernels/kernels.h"
#include "models/models.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    int (*run)(struct lj_comm *comm, struct lj_config *config, const struct lj_call_words *words);
    int takes_paths; /* how many at most */
    bool takes_action;
    bool guarded;         /* by the watchdog */
    bool apart;           /* in a process of its own, which HDF5 may crash */
    const char *settings; /* beginnings of the names of those it reads, for help; NULL: all */
    const char *text;
};

/* Settings of the archive that a command reads. */
#define READING                                                                            \
    "data.archive data.images data.labels data.unlabelled data.where data.axes data.size " \
    "data.full_scale data.stretch data.nan"

static const struct command commands[] = {
    {"train", lj_command_train, 0, false, true, false, NULL,
     "pretrains an encoder (the default command)"},
    {"embed", lj_command_embed, 0, false, true, false, READING " seed views. threads guard.stall_s",
     "writes embeddings: embed checkpoint=PATH data.archive=PATH out=emb.h5"},
    {"probe", lj_command_probe, 0, false, true, false, "data.unlabelled threads guard.stall_s",
     "kNN and linear probe: probe train=emb1.h5 test=emb2.h5"},
    {"diagnose", lj_command_diagnose, 1, false, true, false,
     "seed views.global loss. predict. sigreg. threads guard.stall_s",
     "is this embedding an isotropic Gaussian? diagnose FILE.h5 [grad=out.h5]"},
    {"rank", lj_command_rank, INT_MAX, false, false, false, "",
     "which run is best, without labels? rank RUN_DIR ..."},
    {"report", lj_command_report, INT_MAX, false, true, false, READING " threads guard.stall_s",
     "a page with curves, times and settings: report RUN_DIR ... [out=report.html]"},
    {"scale", lj_command_scale, 0, false, true, false, NULL,
     "time and traffic of steps on 1, 2, 4 .. ranks of this job: scale [out=DIR]"},
    {"sweep", lj_command_sweep, 0, false, true, false, NULL,
     "the runs of a grid of settings, ranked: sweep FILE.yaml run.dir=DIR"},
    {"inspect", lj_command_inspect, 0, false, false, true, READING " batch.size",
     "reads an archive and prints what it inferred"},
    {"views", lj_command_views, 0, false, false, false,
     "preset seed data. views. model. batch. eval.",
     "draws what training is fed: views data.archive=PATH out=views.png"},
    {"pack", lj_command_pack, 0, false, false, false, "",
     "makes a training archive: pack out=FILE.h5 parts=..."},
    {"export", lj_command_export, 0, false, false, false, "",
     "checkpoint to safetensors: export checkpoint=PATH out=FILE"},
    {"import", lj_command_import, 0, false, false, false, NULL,
     "safetensors to a run: import weights=FILE out=DIR ..."},
    {"selftest", lj_command_selftest, 0, false, false, false, NULL,
     "same bits on 1..P ranks of this machine?"},
    {"checkpoint", lj_command_checkpoint, 1, true, false, false, "",
     "checkpoint ls|verify DIR or FILE: lists, or compares checksums"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_usage(FILE *out)
{
    fprintf(out, "usage: lejepa_mpi [COMMAND] [FILE.yaml ...] [key=value ...]\n\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].text);
    fprintf(out, "  %-11s %s\n  %-11s %s\n\n", "help",
            "help [COMMAND or KEY]: this text and all keys, or those of one command, or one key",
            "version", "the version");
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* `train` and `test` are arguments of probe, too. */
static int help_command(const struct command *command)
{
    printf("lejepa_mpi %s: %s\n\n", command->name, command->text);
    lj_config_help_command(command->name, command->settings, stdout);
    return 0;
}

/* help and version answer without MPI. Returns an exit code, or -1 for other commands. */
static int answer_alone(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";
    if (strcmp(first, "version") == 0 || strcmp(first, "--version") == 0) {
        printf("lejepa_mpi %s\n", LJ_VERSION);
        return 0;
    }
    if (strcmp(first, "help") != 0 && strcmp(first, "--help") != 0 && strcmp(first, "-h") != 0)
        return -1;
    if (argc > 2 && strcmp(argv[2], "table") == 0) { /* src/SETTINGS.md is made by this */
        lj_config_write_table(stdout);
        return 0;
    }
    if (argc == 2)
        print_usage(stdout);
    if (argc > 2 && find_command(argv[2]))
        return help_command(find_command(argv[2]));
    int status = lj_config_help(argc > 2 ? argv[2] : NULL, stdout);
    if (status == LJ_OK && argc > 2 && strcmp(argv[2], "model") == 0)
        status = lj_help_encoders((const char *const *)argv + 3, argc - 3, stdout);
    if (status != LJ_OK)
        lj_error_line(lj_error_text());
    return -status;
}

/* A '/' before the first '=' makes it a path: no key has one. */
static bool is_setting(const char *word)
{
    return word[strcspn(word, "=/")] == '=' || lj_ends_with(word, ".yaml") ||
           lj_ends_with(word, ".yml");
}

static bool is_action(const char *word)
{
    return strcmp(word, "ls") == 0 || strcmp(word, "verify") == 0;
}

/* Splits argv into command, action, paths and settings; room for argc each. */
static int read_words(int argc, char **argv, const struct command **command,
                      struct lj_call_words *words, const char **settings, const char **paths)
{
    int at = 1;
    *command = &commands[0];
    if (argc > 1 && !is_setting(argv[1])) {
        *command = find_command(argv[at++]);
        if (!*command)
            return lj_fail(
                LJ_ERR_CONFIG,
                "%s: no such command; lejepa_mpi help lists them (settings are key=value)",
                argv[1]);
    }
    for (; at < argc; at++) {
        if (is_setting(argv[at]))
            settings[words->count++] = argv[at];
        else if ((*command)->takes_action && !words->action && words->paths == 0 &&
                 is_action(argv[at]))
            words->action = argv[at];
        else if (words->paths < (*command)->takes_paths)
            paths[words->paths++] = argv[at];
        else
            return lj_fail(LJ_ERR_CONFIG, "%s: expected key=value or FILE.yaml after %s", argv[at],
                           (*command)->name);
    }
    words->word = settings;
    words->path = paths;
    return LJ_OK;
}

/* Rank 0 reads files and words, so that all ranks have the same values. */
static int read_config(struct lj_comm *comm, struct lj_config *config,
                       const struct lj_call_words *words, const char *command)
{
    const struct lj_encoder *encoder;
    int status = LJ_OK;
    if (lj_comm_is_root(comm))
        status = lj_config_from_words(config, words->word, words->count);
    if (status == LJ_OK && lj_comm_is_root(comm))
        status = lj_config_check_arguments(config, command);
    if (status == LJ_OK && lj_comm_is_root(comm))
        status = lj_encoder_find(config->model, &encoder);
    LJ_TRY(lj_agree(comm, status));
    lj_broadcast(comm, config, sizeof *config, 0);
    return LJ_OK;
}

static int run_command(struct lj_comm *comm, int argc, char **argv)
{
    static struct lj_config config; /* too large for the stack */
    const struct command *command = NULL;
    struct lj_call_words words = {0};
    const char **settings = lj_alloc_array(2 * (int64_t)argc, sizeof *settings, "command line");
    int status = settings ? read_words(argc, argv, &command, &words, settings, settings + argc)
                          : LJ_ERR_RESOURCE;
    status = lj_agree(comm, status);
    if (status == LJ_OK)
        status = read_config(comm, &config, &words, command->name);
    if (status == LJ_OK && command->guarded)
        status = lj_agree(comm, lj_watchdog_start(comm->rank, config.guard_stall_s));
    if (status == LJ_OK)
        status = command->run(comm, &config, &words);
    if (status == LJ_OK)
        status = lj_agree(comm, lj_flush_output());
    lj_watchdog_stop();
    lj_free(settings);
    return status;
}

/* Every block that lj_alloc gave must be back: a leak is a bug, and every run tests for it. */
static int check_memory(void)
{
    struct lj_memory_use use[64];
    int labels = lj_memory_report(use, 64), open = 0;
    for (int i = 0; i < labels && i < 64; i++)
        if (use[i].blocks > 0) {
            fprintf(stderr, "lejepa_mpi: error: %lld blocks of %s are still open at exit\n",
                    (long long)use[i].blocks, use[i].label);
            open++;
        }
    return open ? LJ_ERR_BUG : LJ_OK;
}

/* Returns the exit code. */
static int run_program(int argc, char **argv)
{
    struct lj_comm *world = NULL;
    signal(SIGXFSZ, SIG_IGN); /* a file over its limit is an error to report, like a full disk */
    int status = lj_comm_start(&world);
    if (status == LJ_OK)
        status = run_command(world, argc, argv);
    if (status == LJ_STOPPED)
        lj_say("%s", lj_error_text());
    else if (status != LJ_OK)
        lj_error_line(lj_error_text());
    lj_log_close(); /* not sooner: why a run ended belongs into its log */
    lj_comm_finish(world);
    lj_kernels_release();
    int leaks = check_memory();
    return -(status != LJ_OK ? status : leaks);
}

int main(int argc, char **argv)
{
    int alone = answer_alone(argc, argv);
    if (alone == 0 && lj_flush_output() != LJ_OK) {
        lj_error_line(lj_error_text());
        alone = -LJ_ERR_RESOURCE;
    }
    if (alone >= 0)
        return alone;
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;
    if (command && command->apart)
        return lj_run_apart(run_program, argc, argv);
    return run_program(argc, argv);
}
