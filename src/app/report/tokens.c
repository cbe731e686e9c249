/* SPDX-License-Identifier: Apache-2.0 */
/* What the encoder says of places in an image: the tokens of patches, or the positions of a
 * convolutional encoder, before they become one vector. Their first three principal axes over all
 * images shown are red, green and blue (as in the figure of LeJEPA's paper). */
#include "app/report/sample.h"

#include <math.h>
#include <string.h>

enum { LEAST_PLACES = 4 }; /* fewer have no three axes */

/* The tokens of patches alone, one after the other. */
static void drop_prefix(float *tokens, int64_t count, int64_t rows, int64_t prefix, int64_t width)
{
    int64_t kept = (rows - prefix) * width;
    for (int64_t i = 0; i < count; i++)
        memmove(tokens + i * kept, tokens + (i * rows + prefix) * width,
                (size_t)kept * sizeof *tokens);
}

/* place (rows, 3) in: coordinates, out: 0..1, two standard deviations of each axis on both sides */
static void to_colours(const struct lj_principal *p, int64_t rows, double *place)
{
    for (int64_t r = 0; r < rows; r++)
        for (int a = 0; a < 3; a++) {
            double deviation = a < p->width ? sqrt(p->eigenvalue[a]) : 0;
            double share = deviation > 0 ? place[3 * r + a] / (4 * deviation) + 0.5 : 0.5;
            place[3 * r + a] = fmin(fmax(share, 0), 1);
        }
}

static int colour(struct lj_report_sample *s, const float *tokens, int64_t rows, int64_t width)
{
    struct lj_principal principal;
    s->colour = lj_alloc_array(3 * rows, sizeof *s->colour, "report");
    if (!s->colour)
        return LJ_ERR_RESOURCE;
    LJ_TRY(lj_principal_create(&principal, tokens, rows, width));
    for (int64_t r = 0; r < rows; r++)
        lj_principal_place(&principal, tokens + r * width, 3, s->colour + 3 * r);
    to_colours(&principal, rows, s->colour);
    lj_principal_destroy(&principal);
    return LJ_OK;
}

int lj_report_find_tokens(struct lj_report_sample *s, const struct lj_pretrained *p,
                          const struct lj_view_recipe *recipe, const float *const *images,
                          int64_t count)
{
    const struct lj_encoder_places *places = &p->model->places;
    if (!p->model->has_places || places->grid[0] * places->grid[1] < LEAST_PLACES)
        return LJ_OK;
    const struct lj_shape shape = lj_report_inside_shape(p, places->tokens);
    int64_t rows = lj_shape_rows(&shape), width = lj_shape_features(&shape);
    float *tokens = NULL;
    memcpy(s->grid, places->grid, sizeof s->grid);
    int status = lj_report_inside(p, recipe, images, count, places->tokens, &tokens);
    if (status == LJ_OK) {
        drop_prefix(tokens, count, rows, places->prefix, width);
        status = colour(s, tokens, count * (rows - places->prefix), width);
    }
    lj_free(tokens);
    return status;
}
