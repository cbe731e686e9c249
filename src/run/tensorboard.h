/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. Event files that TensorBoard reads. All local; the root's. */
#ifndef LEJEPA_RUN_TENSORBOARD_H
#define LEJEPA_RUN_TENSORBOARD_H

#include "base/base.h"

/* Begins a new event file in the directory `tensorboard` of the run, which sorts behind those that
 * are there. Readers forget what those say of steps after `first`.
 *   tensorboard  out  owned by the caller: lj_tensorboard_close
 *   first        in   steps that are finished where the run begins or continues
 *   wall_s       in   seconds since 1970, for the name of the file and its first events
 * Errors: LJ_ERR_RESOURCE. */
struct lj_tensorboard;
int lj_tensorboard_open(struct lj_tensorboard **tensorboard, const char *run_dir, int64_t first,
                        double wall_s) LJ_MUST_USE;

/* An event of several values:  begin, add for each value, end. All accept NULL and do nothing.
 *   step   in  finished steps
 *   group  in  which charts the value is shown with: "train", "eval"
 *   value  in  rounded to float32, which is all that the format has
 * `end` writes the event to the file, so that a reader sees it at once. The first failure is
 * warned of, and nothing is written after it. */
void lj_tensorboard_begin(struct lj_tensorboard *tensorboard, int64_t step, double wall_s);
void lj_tensorboard_add(struct lj_tensorboard *tensorboard, const char *group, const char *name,
                        double value);
void lj_tensorboard_end(struct lj_tensorboard *tensorboard);

/* Closes the file; accepts NULL. */
void lj_tensorboard_close(struct lj_tensorboard *tensorboard);

/* Seconds since 1970. */
double lj_wall_s(void);

/* The checksum CRC-32C (Castagnoli) of some bytes; RFC 3720, B.4. */
uint32_t lj_crc32c(const void *bytes, size_t count);

#endif
