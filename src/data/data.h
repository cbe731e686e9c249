/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. data: from scientific HDF5 archives to batches of images, and from images to views.
 *
 *     lj_archive_open(&archive, comm, &options)      rank 0 indexes, everybody learns
 *     lj_loader_create(&loader, archive, ...)        a thread prefetches
 *     lj_loader_next(loader, step, &batch)           images of this rank's lanes
 *     lj_view_make(&recipe, image, ..., view)        one view of one image
 *
 * hdf5.h appears only in archive*.c. One process-wide lock guards every HDF5 call of the program;
 * store and eval take it too. */
#ifndef LEJEPA_DATA_DATA_H
#define LEJEPA_DATA_DATA_H

#include "lejepa/data.h"

#include "base/base.h"
#include "comm/comm.h"
#include "lejepa/config.h"

/* ---- archive --------------------------------------------------------------------------------- */

/* Groups of consecutive selected indices that one read inflates together (storage chunks; 16 to 64
 * rows when contiguous). Local.
 *   first  out  (groups + 1) first selected index of each; owned by the archive */
int64_t lj_archive_groups(const struct lj_archive *archive, const int64_t **first);

/* Mean and standard deviation of each channel over the selected rows, after stretch and size.
 * Fixed-block sums: the same bits on any rank count. Computed once (over at most 65536 rows, evenly
 * spaced groups, stated in the log), then kept. Collective.
 *   mean, std  out  (C) */
int lj_archive_statistics(struct lj_archive *archive, struct lj_comm *comm, float *mean,
                          float *std) LJ_MUST_USE;

/* ---- sampler --------------------------------------------------------------------------------- */

/* The endless stream of samples of one lane: a pure function of (seed, lanes, groups, window), no
 * rank in it. In each epoch every selected index is served exactly once over all lanes: groups are
 * permuted by a keyed bijection, the sequence is cut into G parts whose sizes differ by at most one
 * (sizes rotate, so that lanes never drift), and inside windows of a lane samples are mixed. */
struct lj_sampler;
int lj_sampler_create(struct lj_sampler **sampler, int64_t seed, int64_t lanes, int64_t groups,
                      const int64_t *group_first, int64_t window) LJ_MUST_USE;
void lj_sampler_destroy(struct lj_sampler *sampler);

struct lj_draw {
    int64_t epoch;
    int64_t index; /* selected index */
};
/* The position-th sample (0, 1, ...) of a lane. Local; not thread-safe (keeps epoch tables). */
void lj_sampler_at(struct lj_sampler *sampler, int64_t lane, int64_t position,
                   struct lj_draw *draw);
/* The window that position lies in: its first position and length, and its selected indices in
 * reading order. *indices is owned by the sampler until the next call. */
void lj_sampler_window(struct lj_sampler *sampler, int64_t lane, int64_t position, int64_t *first,
                       int64_t *length, const int64_t **indices);

/* ---- loader ---------------------------------------------------------------------------------- */

/* Images of this rank's lanes of one step. Owned by the loader, valid until the next call. */
struct lj_batch {
    int64_t step;
    int64_t lanes, n;            /* lanes of this rank; samples of each */
    const float *images;         /* (lanes, n, C, H, W) */
    const struct lj_draw *draws; /* (lanes, n) */
};
struct lj_loader;

/* Starts the prefetching thread. Local.
 *   first_lane, end_lane  this rank's lanes;  n  samples of a lane
 *   first_step            the step whose batch comes first (resume)
 * The archive must outlive the loader; cache_mib bounds the samples held. */
int lj_loader_create(struct lj_loader **loader, struct lj_archive *archive,
                     const struct lj_config *config, int64_t lanes, int64_t first_lane,
                     int64_t end_lane, int64_t n, int64_t first_step) LJ_MUST_USE;
void lj_loader_destroy(struct lj_loader *loader); /* joins the thread; accepts NULL */
/* Waits for the batch of `step` (consecutive calls ask for consecutive steps). Local: a failure of
 * the thread comes back here with its text. */
int lj_loader_next(struct lj_loader *loader, int64_t step, struct lj_batch *batch) LJ_MUST_USE;

/* ---- views ----------------------------------------------------------------------------------- */

/* How views are drawn and made; filled from the configuration. */
struct lj_view_recipe {
    int channels;
    int64_t height, width; /* of the images */
    int64_t size;          /* of the view, pixels */
    double scale[2], ratio[2];
    double flip, flip_vertical, rotate;
    bool colour; /* 3 channels in 0..1: jitter, grey, solarize apply */
    double jitter, brightness, contrast, saturation, hue, grey, solarize;
    double blur, blur_sigma[2]; /* sigma in pixels of this view */
    int64_t blur_kernel;        /* pixels, odd; 0: 3 sigma each way */
    double noise, noise_sigma, intensity, band_dropout;
    const float *mean, *std; /* (C) borrowed; last step is (x - mean) / std */
};
/* Recipe of global (local = false) or local views. Errors: LJ_ERR_CONFIG. mean and std borrowed. */
int lj_view_recipe(struct lj_view_recipe *recipe, const struct lj_config *config,
                   const struct lj_archive_info *info, bool local, int64_t size, const float *mean,
                   const float *std) LJ_MUST_USE;

/* Floats of scratch lj_view_make needs. */
int64_t lj_view_scratch(const struct lj_view_recipe *recipe);

/* One random view: crop-resize (antialiased bilinear as torchvision), flips, rotation, colour
 * jitter, greyscale, blur, solarize, noise ..., normalisation. Local; pure function of its inputs.
 *   image    (C, height, width) in
 *   view     (C, size, size)    out
 *   scratch  (lj_view_scratch)
 *   seed, draw, number   name the randomness: (epoch, archive row or index, view number) */
void lj_view_make(const struct lj_view_recipe *recipe, const float *image, int64_t seed,
                  const struct lj_draw *draw, int64_t number, float *view, float *scratch);

/* The evaluation view: resize of the shorter side to size, centre crop, normalisation. Local. */
void lj_view_centre(const struct lj_view_recipe *recipe, const float *image, float *view,
                    float *scratch);

/* Image operations, (C, H, W) float32 planes, each as torchvision defines it on float tensors.
 * Local. lj_image_resize: box [top, left, height, width) of the source to (out_h, out_w), bilinear,
 * antialias. scratch: lj_image_resize_scratch floats. */
int64_t lj_image_resize_scratch(int channels, int64_t box_h, int64_t box_w, int64_t out_h,
                                int64_t out_w);
void lj_image_resize(float *out, const float *image, int channels, int64_t height, int64_t width,
                     int64_t top, int64_t left, int64_t box_h, int64_t box_w, int64_t out_h,
                     int64_t out_w, float *scratch);

/* ---- pack ------------------------------------------------------------------------------------ */

/* Converts IDX files (plain or .gz) into one training archive with images, labels and split.
 * Local (rank 0). Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE; nothing half-written (temporary name). */
int lj_pack(const struct lj_config *config) LJ_MUST_USE;

#endif
