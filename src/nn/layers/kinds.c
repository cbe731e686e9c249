/* SPDX-License-Identifier: Apache-2.0 */
/* The list of all kinds of layers: what the tests go through, and what a network may be made of. */
#include "nn/layers/build.h"

#define LJ_LIST_KIND(name) &lj_kind_##name,
static const struct lj_layer_kind *const kinds[] = {LJ_LAYER_KINDS(LJ_LIST_KIND)};

const struct lj_layer_kind *const *lj_layer_kinds(int *count)
{
    *count = (int)(sizeof kinds / sizeof *kinds);
    return kinds;
}
