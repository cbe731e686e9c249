/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. data: from scientific HDF5 archives to batches of images, and from images to
 * views.
 *
 *     lj_archive_open(&archive, comm, &options)      rank 0 indexes, everybody learns
 *     lj_loader_create(&loader, archive, ...)        a thread prefetches
 *     lj_loader_next(loader, step, &batch)           images of this rank's lanes
 *     source = lj_view_source(&recipe, image)
 *     lj_view_make(&recipe, &source, ..., view)      one view of one image
 *
 * hdf5.h is included below archive/ only. One lock of the process guards every HDF5 call of the
 * program (lj_hdf5_lock); store and eval take it too. */
#ifndef LEJEPA_DATA_DATA_H
#define LEJEPA_DATA_DATA_H

#include "lejepa/data.h"

#include "base/base.h"
#include "comm/comm.h"
#include "lejepa/config.h"

/* ---- archive ----------------------------------------------------------------------------- */

/* Groups of consecutive selected indices that are best read together: the rows of a storage chunk
 * or of a few small ones; of a contiguous dataset 16 to 64 rows. */
struct lj_groups {
    int64_t count; /* groups */
    /* First selected index of a group; of group `count`, the number of selected indices. Local;
     * thread-safe. */
    int64_t (*first)(const void *data, int64_t group);
    const void *data; /* borrowed: the first argument of first */
};
/* The groups of an archive. Local. Valid until the archive is narrowed or closed. */
struct lj_groups lj_archive_groups(const struct lj_archive *archive);

/* A dataset of an archive. */
struct lj_archive_part {
    const char *file, *dataset; /* path and name; owned by the archive */
    int64_t first_row;          /* row of the archive */
    int64_t rows;
    uint64_t
        fingerprint; /* of basename and size of the file, name, shape and type of the dataset */
};
/* Part i (0 .. parts - 1), in the order of rows. Local. */
void lj_archive_part(const struct lj_archive *archive, int64_t i, struct lj_archive_part *part);

/* Is this row of the archive selected? Local. */
bool lj_archive_selects(const struct lj_archive *archive, int64_t row);

/* Of the selected rows keeps some. Collective, before anything is read: each rank is asked about a
 * share of them.
 *   keeps  in  does it keep the row of a selected index? Asked once for each index of this rank's
 *              share, ascending
 *   data   in  its first argument
 * Errors, on every rank alike: LJ_ERR_RESOURCE; the archive can only be closed then. */
int lj_archive_narrow(struct lj_archive *archive, struct lj_comm *comm,
                      bool (*keeps)(void *data, int64_t index), void *data) LJ_MUST_USE;
/* Keeps so many of them, spaced evenly (lj_evenly), or all if there are no more. Collective.
 * Errors: as above. */
int lj_archive_thin(struct lj_archive *archive, struct lj_comm *comm, int64_t count) LJ_MUST_USE;

/* Writes the index of an archive that was opened with options.cache to a file, from which the next
 * lj_archive_open takes it, and says so or why not. The file appears whole or not at all; where it
 * cannot be written the log says so. Of archives with values in other files nothing is kept: they
 * could change unseen. Local; rank 0, others return at once. */
void lj_archive_keep_index(struct lj_archive *archive, const char *path);

/* Does this stretch have limits? Local. */
bool lj_stretch_has_limits(enum lj_data_stretch stretch);
/* Replaces the limits of data.stretch. Local; all ranks alike, before anything else is read. */
void lj_archive_set_limits(struct lj_archive *archive, const struct lj_limits *limits);

/* Mean and standard deviation of each channel over the selected rows, after data.stretch and
 * data.size. Collective. The same bits on any number of ranks.
 *   mean  out  (C)
 *   std   out  (C) 1 for a channel that does not vary
 * Errors: those of lj_archive_read, agreed; LJ_ERR_RESOURCE. Cost: the first call reads the
 * archive, of more than 65536 rows or 4 GiB an evenly spaced sample (the log says so), shared among
 * the ranks; later calls copy. */
int lj_archive_statistics(struct lj_archive *archive, struct lj_comm *comm, float *mean,
                          float *std) LJ_MUST_USE;

/* Least and largest value of each channel among those that lj_archive_statistics has seen; it was
 * called before. Local.
 *   low, high  out  (C) */
void lj_archive_range(const struct lj_archive *archive, float *low, float *high);
/* The same from 64 rows at most, spaced evenly over the selected ones. Local.
 * Errors: those of lj_archive_read; LJ_ERR_RESOURCE. */
int lj_archive_sample_range(struct lj_archive *archive, float *low, float *high) LJ_MUST_USE;

/* What reading divides stored values by.
 *   type        in  of the elements, as in struct lj_archive_info
 *   full_scale  in  data.full_scale */
double lj_pixel_divisor(const char *type, double full_scale);

/* What values are further divided by, once they are read, to lie in 0..1, or -1..1 for signed
 * integers: the type's full scale where reading takes integers as they are stored; else 1, also for
 * floats, which have none. */
double lj_pixel_full_scale(const char *type, double full_scale);

/* ---- sampler ----------------------------------------------------------------------------- */

/* Which sample comes when: an endless stream for each lane, a pure function of (seed, lanes,
 * groups, window) in which no rank occurs. In each epoch the lanes together serve every selected
 * index exactly once. The groups are put into a random order, the sequence is cut into a share
 * for each lane, and the samples of a share are mixed inside windows. Shares differ by at most
 * one sample, and the larger ones go to other lanes from epoch to epoch, so that no lane gets
 * ahead of the others. */
struct lj_sampler;
/* Creates a sampler. Local.
 *   sampler      out  owned by the caller
 *   groups       in   must stay valid for the life of the sampler
 *   window       in   most samples of a window, at least 1
 * Errors: LJ_ERR_RESOURCE. Memory: at most 256 KiB, a quarter of a byte for each group, and 8 bytes
 * for each sample of a window. */
int lj_sampler_create(struct lj_sampler **sampler, int64_t seed, int64_t lanes,
                      const struct lj_groups *groups, int64_t window) LJ_MUST_USE;
void lj_sampler_destroy(struct lj_sampler *sampler); /* accepts NULL */

/* A sample as it was drawn. Names the randomness of its views. */
struct lj_draw {
    int64_t epoch; /* in which it was drawn, from 0 on */
    int64_t index; /* selected index of the archive */
};
/* The sample at a position (0, 1, ...) of a lane's stream. Local; one thread at a time, because the
 * sampler keeps the order of groups of the last epochs. */
void lj_sampler_at(struct lj_sampler *sampler, int64_t lane, int64_t position,
                   struct lj_draw *draw);
/* The window that a position lies in. Local; one thread at a time.
 *   first    out  position of its first sample
 *   length   out  samples
 *   indices  out  (length) selected indices in the order of the archive, before mixing; owned by
 *                 the sampler and valid until the next call */
void lj_sampler_window(struct lj_sampler *sampler, int64_t lane, int64_t position, int64_t *first,
                       int64_t *length, const int64_t **indices);

/* ---- loader ------------------------------------------------------------------------------ */

/* Images of this rank's lanes of one step. Owned by the loader, valid until the next call. */
struct lj_batch {
    int64_t step;                /* whose batch this is */
    int64_t lanes;               /* lanes of this rank */
    int64_t n;                   /* samples of a lane */
    const float *images;         /* (lanes, n, C, H, W) */
    const struct lj_draw *draws; /* (lanes, n) where each came from */
};
struct lj_loader;

/* Creates a loader and starts its thread, which prepares the next batch while one is in use. Local.
 *   loader      out  owned by the caller
 *   archive     in   borrowed, must outlive the loader
 *   config      in   seed, data.window, data.cache, data.threads; borrowed during the call
 *   lanes       in   of the global batch
 *   first_lane, end_lane  in  this rank's lanes are [first_lane, end_lane)
 *   n           in   samples of a lane
 *   first_step  in   the step whose batch is asked for first
 * Errors: LJ_ERR_DATA (fewer samples than a batch), LJ_ERR_RESOURCE.
 * Memory: two batches, and at most data.cache of windows. */
int lj_loader_create(struct lj_loader **loader, struct lj_archive *archive,
                     const struct lj_config *config, int64_t lanes, int64_t first_lane,
                     int64_t end_lane, int64_t n, int64_t first_step) LJ_MUST_USE;
void lj_loader_destroy(struct lj_loader *loader); /* ends the thread; accepts NULL */
/* Waits for the batch of a step; each call asks for the step after that of the call before, or for
 * the same one again. Local.
 *   batch  out  valid until the next call
 * Errors: those of lj_archive_read: a failure of the thread comes back here, with its text. */
int lj_loader_next(struct lj_loader *loader, int64_t step, struct lj_batch *batch) LJ_MUST_USE;
/* Asks for the batch of a step as lj_loader_next does, and waits for so many seconds at most. True
 * if lj_loader_next will not have to wait, be it for a failure. Local. */
bool lj_loader_wait(struct lj_loader *loader, int64_t step, double seconds);

/* ---- views ------------------------------------------------------------------------------- */

/* How views are drawn and made; filled from the settings of these names. */
struct lj_view_recipe {
    int channels;         /* of the images */
    int64_t height;       /* of the images, pixels */
    int64_t width;        /* of the images, pixels */
    int64_t size;         /* of the view, pixels a side */
    double scale[2];      /* least and largest share of the image's area in a crop */
    double ratio[2];      /* least and largest width / height of a crop */
    double flip;          /* probability of a flip left to right */
    double flip_vertical; /* probability of a flip top to bottom */
    double rotate;        /* probability of a rotation by 90, 180 or 270 degrees */
    double rotate_any;    /* probability of a rotation by any angle */
    int64_t redraw;       /* times that a crop that sees nothing is drawn again, at most */
    bool colour;          /* 3 channels in 0..1, so that jitter, grey and solarize apply */
    double jitter;        /* probability of the four changes of colour below */
    double brightness;    /* largest change of the factor 1 */
    double contrast;      /* likewise */
    double saturation;    /* likewise */
    double hue;           /* largest change of hue, turns */
    double grey;          /* probability */
    double solarize;      /* probability */
    double blur;          /* probability */
    double blur_sigma[2]; /* least and largest sigma, in pixels of this view */
    int64_t blur_kernel;  /* pixels, odd; 0: 3 sigma each way */
    double noise;         /* probability */
    double noise_sigma;   /* largest sigma, in standard deviations of the channel */
    double intensity;     /* probability of a random gain and shift, of each channel */
    double band_dropout;  /* probability of setting a channel to its mean, of each channel */
    const float *mean;    /* (C) borrowed: the last operation is (x - mean) / std */
    const float *std;     /* (C) borrowed */
};
/* Fills the recipe of global or local views from the configuration. Local.
 *   recipe  out  borrows mean and std
 *   local   in   take the settings of local views, else those of global ones
 *   size    in   of the view, pixels a side
 * Errors: LJ_ERR_CONFIG: a setting is out of range. */
int lj_view_recipe(struct lj_view_recipe *recipe, const struct lj_config *config,
                   const struct lj_archive_info *info, bool local, int64_t size, const float *mean,
                   const float *std) LJ_MUST_USE;

/* Says which settings are on, by default or given, but change no view of these images, why, and
 * which others would do the like. Local.
 *   text  out  "": all that are on have an effect */
void lj_view_without_effect(const struct lj_config *config, const struct lj_archive_info *info,
                            char *text, size_t capacity);

/* A box of an image: rows top .. top + height - 1, columns left .. left + width - 1. */
struct lj_image_box {
    int64_t top;    /* first row */
    int64_t left;   /* first column */
    int64_t height; /* rows */
    int64_t width;  /* columns */
};

/* The changes of colour. */
enum lj_jitter { LJ_BRIGHTNESS, LJ_CONTRAST, LJ_SATURATION, LJ_HUE, LJ_JITTERS };

/* What is drawn for a view, but its noise. */
struct lj_view_plan {
    struct lj_image_box crop;         /* box of the image */
    int64_t redraws;                  /* crops drawn before that saw nothing */
    bool jitter;                      /* change the colours, in `order` */
    bool grey;                        /* make it grey */
    bool blur;                        /* by sigma and radius */
    bool solarize;                    /* invert values from 0.5 on */
    bool flip_x;                      /* left to right */
    bool flip_y;                      /* top to bottom */
    enum lj_jitter order[LJ_JITTERS]; /* of the changes of colour */
    float factor[LJ_JITTERS];         /* of each; of hue: turns to add */
    double sigma;                     /* of the blur, pixels */
    int64_t radius;                   /* of the blur's kernel, pixels */
    int quarters;                     /* rotation by quarters * 90 degrees */
    double degrees;                   /* rotation of the crop, counter-clockwise; 0: none */
    float gain[LJ_CHANNELS_MAX];      /* of each channel, about its mean */
    float shift[LJ_CHANNELS_MAX];     /* in standard deviations of the channel */
    bool dropped[LJ_CHANNELS_MAX];    /* set to the channel's mean */
    double noise;                     /* sigma, in standard deviations of the channel */
};

/* An image of which views are made. */
struct lj_view_source {
    const float *image; /* (C, height, width) borrowed */
    double enough;      /* variance of a crop that sees something; 0 if recipe->redraw is 0 */
};
/* For all views of an image, global and local: the recipe may be that of either. Local,
 * thread-safe.
 *   image  in  borrowed as long as views are made; read only if recipe->redraw > 0 */
struct lj_view_source lj_view_source(const struct lj_view_recipe *recipe, const float *image);

/* Draws what lj_view_make does for the view of these names. Local, thread-safe.
 *   source, seed, draw, number  in  as for lj_view_make */
void lj_view_draw(struct lj_view_plan *plan, const struct lj_view_recipe *recipe,
                  const struct lj_view_source *source, int64_t seed, const struct lj_draw *draw,
                  int64_t number);

/* Floats of scratch that lj_view_make and lj_view_centre need. */
int64_t lj_view_scratch(const struct lj_view_recipe *recipe);

/* Makes one random view. Local, thread-safe; a pure function of its inputs. In this order: crop,
 * rotation by any angle and antialiased bilinear resize, colour jitter, greyscale, blur, solarize,
 * flips and quarter turns, intensity, noise, band dropout and normalisation.
 *   source   in   the image, by lj_view_source
 *   seed     in   of the run
 *   draw     in   the sample: its epoch and index name the randomness, together with
 *   number   in   the number of the view among the sample's views
 *   view     out  (C, size, size)
 *   scratch       (lj_view_scratch) provided by the caller
 * Returns how many crops were drawn before that saw nothing (recipe->redraw). */
int64_t lj_view_make(const struct lj_view_recipe *recipe, const struct lj_view_source *source,
                     int64_t seed, const struct lj_draw *draw, int64_t number, float *view,
                     float *scratch);

/* Makes the view for evaluation: the shorter side resized to `size`, the centre cropped,
 * normalised. Local, thread-safe.
 *   image    in   (C, height, width)
 *   view     out  (C, size, size)
 *   scratch       (lj_view_scratch) provided by the caller */
void lj_view_centre(const struct lj_view_recipe *recipe, const float *image, float *view,
                    float *scratch);

/* Floats of scratch that lj_image_resize needs. */
int64_t lj_image_resize_scratch(int channels, int64_t box_h, int64_t box_w, int64_t out_h,
                                int64_t out_w);
/* Resizes a box of an image, bilinear and antialiased as torchvision does it on float tensors.
 * Local, thread-safe.
 *   out      out  (channels, out_h, out_w); must not overlap image
 *   image    in   (channels, height, width)
 *   top, left, box_h, box_w  in  rows top .. top + box_h - 1, columns left .. left + box_w - 1
 *   scratch       (lj_image_resize_scratch) provided by the caller */
void lj_image_resize(float *out, const float *image, int channels, int64_t height, int64_t width,
                     int64_t top, int64_t left, int64_t box_h, int64_t box_w, int64_t out_h,
                     int64_t out_w, float *scratch);

/* ---- pack -------------------------------------------------------------------------------- */

/* The command `pack`: converts IDX files, plain or gzipped, into one training archive with images,
 * labels and split. Local (rank 0); takes the HDF5 lock.
 *   config  in  parts, out, licence, balanced, seed
 * Errors: LJ_ERR_CONFIG, LJ_ERR_DATA, LJ_ERR_RESOURCE; an incomplete archive is never left behind.
 * Memory: the chosen images twice, and once more compressed. */
int lj_pack(const struct lj_config *config) LJ_MUST_USE;

#endif
