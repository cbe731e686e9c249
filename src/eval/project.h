/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. Projections of random views of a tile of samples, drawn as in training. */
#ifndef LEJEPA_EVAL_PROJECT_H
#define LEJEPA_EVAL_PROJECT_H

#include "eval/eval.h"

/* Encoder on one global view of each sample of a tile, encoder on a local one, projector. */
enum { LJ_PROJECT_GLOBAL, LJ_PROJECT_LOCAL, LJ_PROJECT_HEAD, LJ_PROJECT_PLANS };

struct lj_project {
    const struct lj_embedder *embedder; /* borrowed */
    int64_t tile;                       /* samples of a tile, at most */
    int64_t views[LJ_PROJECT_HEAD];     /* of a sample: global, local */
    struct lj_view_recipe recipe[LJ_PROJECT_HEAD];
    struct lj_plan *plan[LJ_PROJECT_PLANS]; /* owned; NULL where there are no such views */
    int64_t scratch;                        /* bytes a thread needs */
    int64_t arena;                          /* floats a thread needs */
};

/* V and D of what an embedder projects. Local. */
int64_t lj_project_views(const struct lj_embedder *embedder);
int64_t lj_project_width(const struct lj_embedder *embedder);

/* Local. Errors: LJ_ERR_CONFIG (the model was not made for local views), LJ_ERR_RESOURCE; destroy
 * it then, too. */
int lj_project_create(struct lj_project *project, const struct lj_embedder *embedder,
                      const struct lj_archive_info *info, int64_t tile) LJ_MUST_USE;
void lj_project_destroy(struct lj_project *project);

/* Projects a tile. Local, thread-safe.
 *   images   in   (count, C, H, W)
 *   index    in   (count) selected index of each, which names the views' randomness
 *   count    in   samples; the rest of the tile is computed and dropped
 *   scratch, arena  provided by the caller
 *   out      out  (count, V, D) */
void lj_project_tile(const struct lj_project *project, const float *images, const int64_t *index,
                     int64_t count, void *scratch, float *arena, float *out);

#endif
