/* SPDX-License-Identifier: Apache-2.0 */
/* Cases of tests/golden/image.h5, which make_image.py describes. */
#ifndef TESTS_IMAGE_GOLDEN_H
#define TESTS_IMAGE_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>

struct image_case {
    int channels;    /* of both images */
    int64_t height;  /* of image */
    int64_t width;   /* of image */
    int64_t out_h;   /* height of expected */
    int64_t out_w;   /* width of expected */
    float *image;    /* (channels, height, width) the source, in 0..1; owned */
    float *expected; /* (channels, out_h, out_w) what PyTorch makes of it; owned */
    double args[8];  /* of the operation */
};

/* Reads case `number` of an operation; false if there are fewer. Fails the test if the
 * file cannot be read. */
bool image_case_read(struct image_case *c, const char *operation, int number);
void image_case_free(struct image_case *c);

/* max |a - b|; infinity when a value is not finite */
double largest_difference(const float *a, const float *b, int64_t count);

#endif
