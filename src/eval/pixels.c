/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an archive's pixels are in the units that an encoder was trained in. Statistics of other
 * images differ, so only what no image of the same kind explains is refused: a type that reading
 * divides by another full scale, and values that lie far outside the range of training or fill a
 * small part of it, as those of 0..255 do in 0..1 and the other way round. */
#include "eval/eval.h"

/* How many widths of the range of training values may lie outside of it, and the least part of it
 * that they fill. A mistake of full scale is a factor of at least 127. */
static const double most_outside = 3, least_part = 1.0 / 32;

static int check_type(const struct lj_pretrained *p, const struct lj_archive_info *info)
{
    if (lj_pixel_divisor(info->type, 0) == lj_pixel_divisor(p->pixels, 0))
        return LJ_OK;
    double divisor = lj_pixel_divisor(p->pixels, p->config.data_full_scale);
    return lj_fail(LJ_ERR_DATA,
                   "%s: pixels are of type %s, the encoder was trained on %s divided by %g; give "
                   "data.full_scale, the stored value that stands for %g there",
                   info->images, info->type, p->pixels, divisor, divisor);
}

static bool fits(double low, double high, double trained_low, double trained_high, double part)
{
    double width = trained_high - trained_low;
    bool inside =
        low >= trained_low - most_outside * width && high <= trained_high + most_outside * width;
    return width <= 0 || (inside && high - low >= part * width);
}

int lj_check_range(struct lj_archive *archive, const float *least, const float *most, double part,
                   bool chosen)
{
    float low[LJ_CHANNELS_MAX], high[LJ_CHANNELS_MAX];
    LJ_TRY(lj_archive_sample_range(archive, low, high));
    for (int c = 0; c < lj_archive_info(archive)->channels; c++) {
        if (fits(low[c], high[c], least[c], most[c], part))
            continue;
        int status = lj_fail(
            LJ_ERR_DATA,
            "channel %d of %s has values %g .. %g as read, the encoder was trained on %g .. %g; "
            "give data.full_scale, the stored value that becomes 1, to map them, or to say that "
            "they are meant so (1 takes them as stored)",
            c, lj_archive_info(archive)->images, (double)low[c], (double)high[c], (double)least[c],
            (double)most[c]);
        if (!chosen)
            return status;
        lj_warn("%s", lj_error_text());
        return LJ_OK;
    }
    return LJ_OK;
}

static int check_on_root(const struct lj_pretrained *p, struct lj_archive *archive, bool chosen)
{
    const struct lj_archive_info *info = lj_archive_info(archive);
    if (!p->pixels[0] || !p->has_range) {
        lj_warn("the checkpoint does not say the type and the range of its pixels, so that those "
                "of %s are not compared with them",
                info->images);
        return LJ_OK;
    }
    if (info->channels != p->channels)
        return LJ_OK; /* what embeds says so */
    if (!chosen)
        LJ_TRY(check_type(p, info));
    return lj_check_range(archive, p->least, p->most, least_part, chosen);
}

int lj_pretrained_check_pixels(const struct lj_pretrained *pretrained, struct lj_comm *comm,
                               struct lj_archive *archive, bool chosen)
{
    lj_root_section_begin(comm);
    int status = LJ_OK;
    if (lj_comm_is_root(comm))
        status = check_on_root(pretrained, archive, chosen);
    return lj_root_section_end(comm, status);
}
