/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. SIGReg (Balestriero & LeCun 2025, arXiv 2511.08544 v3) of an array of one's own: is it
 * an isotropic Gaussian, and in which direction is it more of one? Training, with this or another
 * objective, is train.h. */
#ifndef LEJEPA_LOSS_H
#define LEJEPA_LOSS_H

#include "lejepa/comm.h"
#include "lejepa/config.h"

/* Terms of an objective, at most: the loss and its parts. */
enum { LJ_TERMS_MAX = 8 };

/* SIGReg of an array whose rows lie on several ranks, on grid a, and its gradient: all in one call,
 * for programs of one's own. Collective over comm (lj_comm_create); all ranks pass the same width,
 * slices and step. One thread; memory 8 (2 slices K) bytes and the directions, for the time of the
 * call.
 *   rows      (n, width) in   this rank's rows; n may differ between ranks, 0 allowed
 *   slices    in   random directions: those of `step`
 *   value     out  dimensionless, the same bits on every rank; for Gaussian rows
 *                  lj_sigreg_floor(LJ_SIGREG_GRID_A)
 *   gradient  (n, width) out  d(value)/d(rows), must not alias rows; NULL: not wanted
 * The bits do not depend on the number of ranks if each has whole blocks of 32 of the same
 * sequence. Errors: LJ_ERR_CONFIG, LJ_ERR_RESOURCE, LJ_ERR_NUMERIC (rows that are not finite): on
 * every rank. Cost: one MPI_Allreduce of 8 (2 slices K + 6) bytes and two of 8. */
LJ_API int lj_sigreg(struct lj_comm *comm, const float *rows, int64_t n, int64_t width,
                     int64_t slices, int64_t step, double *value, float *gradient) LJ_MUST_USE;

/* Expectation of SIGReg for N(0,1) samples on this grid: what a healthy run comes down to. */
LJ_API double lj_sigreg_floor(enum lj_sigreg_grid grid);

#endif
