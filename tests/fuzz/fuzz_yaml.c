/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration in YAML: what is read is written so that it reads back the same. */
#include "fuzz.h"
#include "lejepa/config.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lj_config config, again;
    char *text = lj_alloc(size + 1, "fuzz");
    LJ_CHECK(text, "memory");
    if (size > 0)
        memcpy(text, data, size);
    lj_config_defaults(&config);
    lj_config_defaults(&again);
    if (lj_config_read_text(&config, text, "fuzz") == LJ_OK) {
        char *yaml = lj_config_yaml(&config);
        LJ_CHECK(yaml && lj_config_read_text(&again, yaml, "fuzz again") == LJ_OK, "%s",
                 lj_error_text());
        char *second = lj_config_yaml(&again);
        LJ_CHECK(second && strcmp(yaml, second) == 0, "does not read back the same:\n%s", yaml);
        lj_free(second);
        lj_free(yaml);
    }
    lj_free(text);
    return 0;
}
