/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app: the commands. Each is collective over comm and returns a status whose text is in
 * the error record; main prints it once. */
#ifndef LEJEPA_APP_H
#define LEJEPA_APP_H

#include "comm/comm.h"
#include "lejepa/config.h"
#include "data/data.h"

#include <jansson.h>
#include <stdio.h>

/* The words after the command, and the configuration made of them (the same on every rank). */
struct lj_call_words {
    const char *const *word;
    int count;
    const char *action;      /* checkpoint: ls or verify; NULL: none */
    const char *const *path; /* (paths) diagnose FILE, checkpoint ls RUN_DIR, rank RUN_DIR ... */
    int paths;
};

int lj_command_train(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words);
int lj_command_embed(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words);
int lj_command_probe(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words);
int lj_command_diagnose(struct lj_comm *comm, struct lj_config *config,
                        const struct lj_call_words *words);
int lj_command_rank(struct lj_comm *comm, struct lj_config *config,
                    const struct lj_call_words *words);
int lj_command_report(struct lj_comm *comm, struct lj_config *config,
                      const struct lj_call_words *words);
int lj_command_scale(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words);
int lj_command_sweep(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words);
int lj_command_export(struct lj_comm *comm, struct lj_config *config,
                      const struct lj_call_words *words);
int lj_command_import(struct lj_comm *comm, struct lj_config *config,
                      const struct lj_call_words *words);
int lj_command_inspect(struct lj_comm *comm, struct lj_config *config,
                       const struct lj_call_words *words);
int lj_command_pack(struct lj_comm *comm, struct lj_config *config,
                    const struct lj_call_words *words);
int lj_command_views(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words);
int lj_command_selftest(struct lj_comm *comm, struct lj_config *config,
                        const struct lj_call_words *words);
int lj_command_checkpoint(struct lj_comm *comm, struct lj_config *config,
                          const struct lj_call_words *words);

/* Runs the program in a child process and returns its exit code; where HDF5 crashed there, says in
 * which file and returns 3. Any other signal that ends the child ends this process, too. Before MPI
 * and threads are started. */
int lj_run_apart(int (*program)(int argc, char **argv), int argc, char **argv);

/* `help model`: the table of encoders, each with its parameters and the FLOPs of one image, counted
 * from its net, and the memory of training, as planned; or why it cannot be trained so. Needs no
 * MPI.
 *   words, count  in  key=value that change what is counted: data.size=96, model.patch=16
 * Errors: LJ_ERR_CONFIG: settings that no encoder can be trained with; LJ_ERR_RESOURCE. */
int lj_help_encoders(const char *const *words, int count, FILE *out);

/* The settings with which `train` takes the archive as it is. Local.
 *   proposal  out  given, with what the sample asks for where given has the default */
void lj_propose_config(struct lj_config *proposal, const struct lj_archive *archive,
                       const struct lj_pixel_sample *sample, const struct lj_config *given);

/* A number; null for NaN and infinity, which JSON does not have. Owned by the caller. */
json_t *lj_json_number(double value);

/* Prints an object and a newline on standard output, numbers with so many digits.
 * Errors: LJ_ERR_RESOURCE: no memory was left for it (NULL), or it cannot be written. */
int lj_print_json(const json_t *object, int digits) LJ_MUST_USE;

/* Writes out what standard output still holds.
 * Errors: LJ_ERR_RESOURCE: that, or something before, could not be written. */
int lj_flush_output(void) LJ_MUST_USE;

/* True if some word sets this key. */
bool lj_words_set(const struct lj_call_words *words, const char *key);

struct lj_pretrained; /* of eval/eval.h */
/* Opens an archive for a run's encoder, as the run read its data but for what the words say: an
 * archive in them is another one and does not inherit the run's names. Collective.
 *   config   in/out  the words on defaults; becomes what the archive is read by
 *   pixels   in      raw pixels are wanted: any stretch and range
 *   archive  out     NULL before; owned by the caller, also after a failure
 * Errors, on every rank alike: LJ_ERR_CONFIG: the words ask for another stretch; LJ_ERR_DATA:
 * pixels of another range, and no data.full_scale; LJ_ERR_CHECKPOINT; those of lj_archive_open. */
int lj_open_for_encoder(struct lj_comm *comm, const struct lj_pretrained *pretrained,
                        struct lj_config *config, const struct lj_call_words *words, bool pixels,
                        struct lj_archive **archive) LJ_MUST_USE;

/* An empty data.archive means the example archive: its training rows, unless data.where says
 * otherwise. Errors: LJ_ERR_DATA when it is nowhere. */
int lj_use_example(struct lj_config *config);

/* Settings of the encoder in weights=, where they are not given. Collective: rank 0 reads.
 * Errors: LJ_ERR_CHECKPOINT, LJ_ERR_CONFIG, LJ_ERR_RESOURCE; agreed. */
int lj_import_encoder(struct lj_comm *comm, struct lj_config *config) LJ_MUST_USE;

#endif
