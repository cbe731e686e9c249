/* SPDX-License-Identifier: Apache-2.0 */
/* Private to archive. The conditions of data.where.
 *
 *     split=0            label!=3           z<0.5  (<= > >=)
 *     label=1,3,5..7     one of these, bounds of ranges included
 *     split=train        strings; quotes around what holds blanks or commas: name="NGC 1, 2"
 *     split=0 and z<0.5  all of these
 *
 * A value that is not a number (NaN) meets no condition. */
#ifndef LEJEPA_DATA_WHERE_H
#define LEJEPA_DATA_WHERE_H

#include "base/base.h"
#include "lejepa/config.h"

#include <hdf5.h>

enum { LJ_CONDITIONS_MAX = 32 };

enum lj_comparison { LJ_IS, LJ_IS_NOT, LJ_LESS, LJ_AT_MOST, LJ_MORE, LJ_AT_LEAST };

/* One of the values behind `=` or `!=`, or the one behind another comparison. */
struct lj_where_value {
    const char *text;
    bool number;      /* the text is one number or a range of them */
    double low, high; /* the range, bounds included; equal for one number */
};

struct lj_condition {
    const char *name; /* of the column */
    enum lj_comparison comparison;
    const struct lj_where_value *value; /* (values) */
    int values;
};

struct lj_where {
    struct lj_condition condition[LJ_CONDITIONS_MAX];
    int conditions;
    /* what they point to */
    struct lj_where_value value[LJ_TEXT_MAX / 2];
    int values;
    char text[2 * LJ_TEXT_MAX];
};

/* Parses text. Local.
 *   where  out  refers to itself: not to be copied
 * Errors: LJ_ERR_CONFIG, naming the condition. */
int lj_where_parse(struct lj_where *where, const char *text) LJ_MUST_USE;

/* Can the condition be asked of a column of numbers, or of strings? Local. Errors: LJ_ERR_CONFIG:
 * a value is no number; strings have no order. */
int lj_condition_check(const struct lj_condition *condition, bool strings) LJ_MUST_USE;

/* Does a number, or a string, meet the condition? Local. */
bool lj_condition_holds(const struct lj_condition *condition, double value);
bool lj_condition_holds_text(const struct lj_condition *condition, const char *value);

/* Reads rows [first, first + rows) of a dataset of strings and sets values (rows) to 1 where the
 * condition holds, to 0 where not. Local; HDF5 lock held. Errors: LJ_ERR_DATA (unreadable),
 * LJ_ERR_RESOURCE.
 *   where  in  "file:dataset", for messages */
int lj_where_read_texts(const struct lj_condition *condition, hid_t dataset, const char *where,
                        int64_t first, int64_t rows, double *values) LJ_MUST_USE;

#endif
