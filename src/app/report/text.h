/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. A text that grows, and what becomes of names in HTML, tables and scripts. Local.
 */
#ifndef LEJEPA_APP_REPORT_TEXT_H
#define LEJEPA_APP_REPORT_TEXT_H

#include "store/store.h"

/* All zero: empty. */
struct lj_text {
    char *bytes; /* owned: lj_text_free; ends with a NUL */
    size_t length, capacity;
    bool failed; /* memory was missing: the text is cut off; lj_text_write says so */
};

void lj_text_add(struct lj_text *text, const char *format, ...) LJ_PRINTF(2, 3);
/* Writes the bytes to a file of that name. Errors: LJ_ERR_RESOURCE. */
int lj_text_write(const struct lj_text *text, const char *path) LJ_MUST_USE;
void lj_text_free(struct lj_text *text);

/* Adds words with what has a meaning in HTML escaped, in elements and in quoted attributes. Control
 * characters become blanks. */
void lj_text_html(struct lj_text *text, const char *words);
/* Adds words as part of an address: what is no letter, digit or one of -._/ as %XX. */
void lj_text_url(struct lj_text *text, const char *words);
/* Adds words as one field of a table whose fields are separated by tabs: tabs, ends of lines and
 * double quotes, which gnuplot takes for quotes, become blanks. */
void lj_text_field(struct lj_text *text, const char *words);
/* Adds words as a string of gnuplot in single quotes, in which nothing else has a meaning. */
void lj_text_quoted(struct lj_text *text, const char *words);

#endif
