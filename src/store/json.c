/* SPDX-License-Identifier: Apache-2.0 */
/* JSON files. */
#include "store/store.h"

int lj_json_write(const char *path, const json_t *value, int digits)
{
    const size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION((size_t)digits);
    size_t length = value ? json_dumpb(value, NULL, 0, flags) : 0;
    char *text = length > 0 ? lj_alloc(length + 1, "json") : NULL;
    if (!text)
        return lj_fail(LJ_ERR_RESOURCE, "%s: out of memory", path);
    json_dumpb(value, text, length, flags);
    text[length] = '\n';
    int status = lj_file_write(path, text, length + 1);
    lj_free(text);
    return status;
}
