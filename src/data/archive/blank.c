/* SPDX-License-Identifier: Apache-2.0 */
/* Blank pixels hold a value that stands for "nothing was measured here". Which value that is says
 * data.blank, else the attributes of the dataset: BLANK (FITS), _FillValue and missing_value
 * (netCDF, CF), all three in units of the stored values. Values are compared as they are stored, so
 * that rounding to float32 makes none equal. A blank pixel becomes NaN when its row is converted:
 * all that comes later knows pixels that are not finite, and no other kind.
 *
 * HDF5's own fill value is not taken for blank. It says what parts that were never written read as,
 * which may well be a measurement (a dark background), and libraries set one without being asked
 * (netCDF-4 does so for every variable). data.blank names it where it means blank. */
#include "data/archive/archive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which values ------------------------------------------------------------------------ */

/* Can integers of this type have the value? Those of 64 bits are rounded to double when they are
 * read, their largest one up to a power of two. */
static bool is_integer_of(hid_t type, double value)
{
    bool has_sign = H5Tget_sign(type) == H5T_SGN_2;
    int bits = 8 * (int)H5Tget_size(type) - has_sign;
    double low = has_sign ? -ldexp(1, bits) : 0, high = ldexp(1, bits) - (bits < 60);
    return value == floor(value) && value >= low && value <= high;
}

bool lj_as_stored(hid_t type, double *value)
{
    unsigned char element[sizeof *value];
    if (H5Tget_class(type) == H5T_INTEGER)
        return is_integer_of(type, *value);
    memcpy(element, value, sizeof *value);
    if (H5Tconvert(H5T_NATIVE_DOUBLE, type, 1, element, NULL, H5P_DEFAULT) < 0 ||
        H5Tconvert(type, H5T_NATIVE_DOUBLE, 1, element, NULL, H5P_DEFAULT) < 0)
        return false;
    memcpy(value, element, sizeof *value);
    return isfinite(*value);
}

/* Enters a value once. False: there is no room. */
static bool add_value(struct lj_part *part, double value)
{
    for (int i = 0; i < part->blanks; i++)
        if (part->blank[i] == value)
            return true;
    if (part->blanks == LJ_BLANKS_MAX)
        return false;
    part->blank[part->blanks++] = value;
    return true;
}

/* data.blank as a number of the dataset's type. */
static int take_setting(struct lj_part *part, hid_t type, const char *setting, const char *where)
{
    char *end = NULL;
    double value = strtod(setting, &end);
    if (end == setting || *end || !isfinite(value))
        return lj_fail(LJ_ERR_CONFIG,
                       "data.blank=%s: expected a number, or none; pixels that are not finite are "
                       "the matter of data.nan alone",
                       setting);
    if (!lj_as_stored(type, &value))
        return lj_fail(LJ_ERR_CONFIG,
                       "data.blank=%s: no pixel of %s can hold this value; give it as it is "
                       "stored, or leave the setting out",
                       setting, where);
    add_value(part, value);
    return LJ_OK;
}

/* The values of one attribute, as doubles. An attribute of text, or of a type of its own, says
 * nothing about numbers. A value that no pixel can hold is none, and NaN is not finite anyway. */
static int take_attribute(struct lj_part *part, hid_t type, hid_t attribute, const char *name,
                          const char *where)
{
    double value[LJ_BLANKS_MAX];
    hid_t own = H5Aget_type(attribute), space = H5Aget_space(attribute);
    H5T_class_t class = H5Tget_class(own);
    hssize_t count = H5Sget_simple_extent_npoints(space);
    H5Tclose(own);
    H5Sclose(space);
    if (count == 0 || (class != H5T_INTEGER && class != H5T_FLOAT))
        return LJ_OK;
    bool read = count <= LJ_BLANKS_MAX && H5Aread(attribute, H5T_NATIVE_DOUBLE, value) >= 0;
    for (hssize_t i = 0; i < count && read; i++)
        if (lj_as_stored(type, &value[i]))
            read = add_value(part, value[i]);
    if (read)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: attribute %s: expected at most %d blank values in all that can be read; "
                   "name one by data.blank=VALUE, or set data.blank=none",
                   where, name, LJ_BLANKS_MAX);
}

static int take_attributes(struct lj_part *part, hid_t dataset, hid_t type, const char *where)
{
    static const char *const names[] = {"BLANK", "_FillValue", "missing_value"};
    int status = LJ_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == LJ_OK; i++) {
        htri_t exists = H5Aexists(dataset, names[i]);
        if (exists == 0)
            continue;
        hid_t attribute = exists > 0 ? H5Aopen(dataset, names[i], H5P_DEFAULT) : -1;
        if (attribute < 0)
            return lj_fail(LJ_ERR_DATA, "%s: attribute %s cannot be read; the file is damaged",
                           where, names[i]);
        status = take_attribute(part, type, attribute, names[i], where);
        H5Aclose(attribute);
    }
    return status;
}

/* "-9999, 0 by data.blank"; "": no value is blank. */
static void describe(const struct lj_archive_header *header, const struct lj_part *part, char *text,
                     size_t capacity)
{
    size_t used = 0;
    for (int i = 0; i < part->blanks && used < capacity; i++)
        used += (size_t)snprintf(text + used, capacity - used, "%s%.10g", i ? ", " : "",
                                 part->blank[i]);
    if (part->blanks && used < capacity)
        snprintf(text + used, capacity - used, " by %s", lj_blank_origin(header));
}

const char *lj_blank_origin(const struct lj_archive_header *header)
{
    return header->blank_given ? "data.blank" : "an attribute of the dataset";
}

int lj_blank_find(struct lj_archive_header *header, struct lj_part *part, hid_t dataset,
                  const char *setting, const char *where)
{
    hid_t type = H5Dget_type(dataset);
    int status = LJ_OK;
    header->blank_given = setting && setting[0];
    if (!header->blank_given)
        status = take_attributes(part, dataset, type, where);
    else if (strcmp(setting, "none") != 0)
        status = take_setting(part, type, setting, where);
    if (status == LJ_OK && header->info.parts == 0)
        describe(header, part, header->blank_text, sizeof header->blank_text);
    H5Tclose(type);
    return status;
}

/* ---- which pixels ------------------------------------------------------------------------ */

/* The first of elements [i, end) that holds the value; end: none does. */
#define DEFINE_NEXT(name, type)                                                \
    static int64_t name(const void *row, int64_t i, int64_t end, double value) \
    {                                                                          \
        const type *x = row, blank = (type)value;                              \
        while (i < end && x[i] != blank)                                       \
            i++;                                                               \
        return i;                                                              \
    }
DEFINE_NEXT(next_u8, uint8_t)
DEFINE_NEXT(next_i8, int8_t)
DEFINE_NEXT(next_u16, uint16_t)
DEFINE_NEXT(next_i16, int16_t)
DEFINE_NEXT(next_u32, uint32_t)
DEFINE_NEXT(next_f32, float)
DEFINE_NEXT(next_f64, double)
#undef DEFINE_NEXT

int lj_blank_mark(const struct lj_archive_header *header, const struct lj_part *part,
                  const void *row, float *planes)
{
    static int64_t (*const next[])(const void *, int64_t, int64_t, double) = {
        [LJ_ELEMENT_U8] = next_u8,   [LJ_ELEMENT_I8] = next_i8,   [LJ_ELEMENT_U16] = next_u16,
        [LJ_ELEMENT_I16] = next_i16, [LJ_ELEMENT_U32] = next_u32, [LJ_ELEMENT_F32] = next_f32,
        [LJ_ELEMENT_F64] = next_f64};
    const struct lj_archive_info *info = &header->info;
    int64_t pixels = info->stored_height * info->stored_width, count = info->channels * pixels;
    bool last = header->axes == LJ_DATA_AXES_NHWC || header->axes == LJ_DATA_AXES_HWC;
    int found = -1;
    for (int b = 0; b < part->blanks; b++) {
        int64_t i = next[header->element](row, 0, count, part->blank[b]);
        for (; i < count; i = next[header->element](row, i + 1, count, part->blank[b])) {
            planes[last ? i % info->channels * pixels + i / info->channels : i] = NAN;
            found = found < 0 ? b : found;
        }
    }
    return found;
}
