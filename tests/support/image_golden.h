/* SPDX-License-Identifier: Apache-2.0 */
/* Cases of tests/golden/image.h5, which make_image.py describes. */
#ifndef TESTS_IMAGE_GOLDEN_H
#define TESTS_IMAGE_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>

struct image_case {
    int channels;
    int64_t height, width; /* of image */
    int64_t out_h, out_w;  /* of expected */
    float *image, *expected;
    double args[8];
};

/* Case number of an operation; false behind the last one. Ends the test if the file is unreadable. */
bool image_case_read(struct image_case *c, const char *operation, int number);
void image_case_free(struct image_case *c);

/* max |a - b|; infinity when a value is not finite */
double largest_difference(const float *a, const float *b, int64_t count);

#endif
