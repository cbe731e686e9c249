/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app: what `views` writes beside its picture. */
#ifndef LEJEPA_APP_VIEWS_H
#define LEJEPA_APP_VIEWS_H

#include "data/data.h"

#include <jansson.h>

/* What was drawn for a view. Owned by the caller; NULL: no memory. */
json_t *lj_view_json(const struct lj_view_recipe *recipe, const struct lj_view_plan *plan,
                     bool local);

#endif
