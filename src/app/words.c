/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: looking at words, the example archive, JSON, standard output. */
#include "app/app.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

json_t *lj_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

int lj_print_json(const json_t *object, int digits)
{
    if (!object)
        return lj_fail(LJ_ERR_RESOURCE, "out of memory, or text that is no UTF-8, for JSON");
    if (json_dumpf(object, stdout, (size_t)JSON_REAL_PRECISION(digits)) != 0)
        return lj_fail(LJ_ERR_RESOURCE, "standard output: cannot be written: %s", strerror(errno));
    printf("\n");
    return LJ_OK;
}

int lj_flush_output(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return LJ_OK;
    return lj_fail(LJ_ERR_RESOURCE, "standard output: cannot be written%s%s", errno ? ": " : "",
                   errno ? strerror(errno) : "");
}

bool lj_words_set(const struct lj_call_words *words, const char *key)
{
    size_t length = strlen(key);
    for (int i = 0; i < words->count; i++)
        if (strncmp(words->word[i], key, length) == 0 && words->word[i][length] == '=')
            return true;
    return false;
}

int lj_use_example(struct lj_config *config)
{
    if (config->data_archive[0])
        return LJ_OK;
    const char *set = getenv("LEJEPA_DATA");
    const char *const places[] = {set ? set : "", LJ_INSTALLED_DATA, LJ_SOURCE_DATA};
    for (int i = 0; i < 3; i++) {
        snprintf(config->data_archive, sizeof config->data_archive, "%.4000s/fashion-mini.h5",
                 places[i]);
        if (places[i][0] && access(config->data_archive, R_OK) == 0) {
            if (!config->data_where[0])
                snprintf(config->data_where, sizeof config->data_where, "split=0");
            return LJ_OK;
        }
    }
    return lj_fail(LJ_ERR_DATA,
                   "data.archive: is empty, and the example archive fashion-mini.h5 is "
                   "neither in %s nor in %s; set data.archive",
                   LJ_INSTALLED_DATA, LJ_SOURCE_DATA);
}
