/* SPDX-License-Identifier: Apache-2.0 */
/* A text that grows, and the escapes of its formats. */
#include "app/report/text.h"

#include <string.h>

static bool make_room(struct lj_text *text, size_t more)
{
    size_t needed = text->length + more + 1;
    if (text->failed || needed <= text->capacity)
        return !text->failed;
    size_t capacity = 2 * needed + 1024;
    char *bytes = lj_alloc(capacity, "report");
    if (!bytes) {
        text->failed = true;
        return false;
    }
    if (text->length > 0)
        memcpy(bytes, text->bytes, text->length);
    lj_free(text->bytes);
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

void lj_text_add(struct lj_text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length > 0 && make_room(text, (size_t)length)) {
        vsnprintf(text->bytes + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

int lj_text_write(const struct lj_text *text, const char *path)
{
    if (text->failed)
        return lj_fail(LJ_ERR_RESOURCE, "%s: out of memory", path);
    return lj_file_write(path, text->length ? text->bytes : "", text->length);
}

void lj_text_free(struct lj_text *text)
{
    lj_free(text->bytes);
    *text = (struct lj_text){0};
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

void lj_text_html(struct lj_text *text, const char *words)
{
    for (; *words; words++) {
        if (*words == '&')
            lj_text_add(text, "&amp;");
        else if (*words == '<')
            lj_text_add(text, "&lt;");
        else if (*words == '>')
            lj_text_add(text, "&gt;");
        else if (*words == '"')
            lj_text_add(text, "&quot;");
        else
            lj_text_add(text, "%c", is_control(*words) ? ' ' : *words);
    }
}

void lj_text_url(struct lj_text *text, const char *words)
{
    for (; *words; words++) {
        bool letter = (*words >= 'a' && *words <= 'z') || (*words >= 'A' && *words <= 'Z');
        bool plain = letter || (*words >= '0' && *words <= '9') || strchr("-._/", *words);
        lj_text_add(text, plain ? "%c" : "%%%02X", (unsigned char)*words);
    }
}

void lj_text_field(struct lj_text *text, const char *words)
{
    for (; *words; words++)
        lj_text_add(text, "%c", is_control(*words) || *words == '"' ? ' ' : *words);
}

void lj_text_quoted(struct lj_text *text, const char *words)
{
    lj_text_add(text, "'");
    for (; *words; words++)
        if (*words == '\'')
            lj_text_add(text, "''");
        else
            lj_text_add(text, "%c", is_control(*words) ? ' ' : *words);
    lj_text_add(text, "'");
}
