/* SPDX-License-Identifier: Apache-2.0 */
/* The LeJEPA loss in plain double: direct sums over the 17 published knots;
 * shares no code with src. */
#ifndef LEJEPA_TEST_REFERENCE_LOSS_H
#define LEJEPA_TEST_REFERENCE_LOSS_H

#include "lejepa/config.h"

struct reference_loss {
    int64_t views;        /* V */
    int64_t centre_views; /* the first of them, whose mean is the centre */
    int64_t samples;      /* N */
    int64_t width;        /* D */
    int64_t slices;       /* M */
    enum lj_sigreg_grid grid;
    double lambda;       /* weight of SIGReg */
    bool additive;       /* prediction counts in full instead of 1 - lambda */
    const double *slice; /* (width, slices) directions; normalised here */
};
struct reference_terms {
    double total;
    double prediction; /* mean over elements */
    double sigreg;     /* mean over views and slices */
};

/* Value at z (views, samples, width) and, unless NULL, its gradient dz (same
 * shape, overwritten). */
struct reference_terms reference_lejepa(const struct reference_loss *loss, const double *z,
                                        double *dz);

#endif
