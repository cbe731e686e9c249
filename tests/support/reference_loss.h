/* SPDX-License-Identifier: Apache-2.0 */
/* The LeJEPA loss in plain double: direct sums over the 17 published knots, nothing shared with src. */
#ifndef LEJEPA_TEST_REFERENCE_LOSS_H
#define LEJEPA_TEST_REFERENCE_LOSS_H

#include "lejepa/config.h"

struct reference_loss {
    int64_t views, centre_views, samples, width, slices;
    enum lj_sigreg_grid grid;
    double lambda;
    bool additive;
    const double *slice; /* (width, slices); columns are normalised here */
};
struct reference_terms {
    double total, prediction, sigreg;
};

/* Value at z (views, samples, width) and, unless NULL, its gradient dz (same shape, overwritten). */
struct reference_terms reference_lejepa(const struct reference_loss *loss, const double *z,
                                        double *dz);

#endif
