/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: shortest form only, no surrogates, up to U+10FFFF. */
#include "base/config/config.h"

long lj_utf8_next(const char **text)
{
    const unsigned char *at = (const unsigned char *)*text;
    static const long smallest[] = {0, 0x80, 0x800, 0x10000};
    int more = at[0] < 0x80 ? 0 : at[0] < 0xC0 ? -1 : at[0] < 0xE0 ? 1 : at[0] < 0xF0 ? 2 : 3;
    if (more < 0 || at[0] > 0xF4)
        return -1;
    long code = more == 0 ? at[0] : at[0] & (0x3F >> more);
    for (int i = 1; i <= more; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return -1;
        code = code << 6 | (at[i] & 0x3F);
    }
    if (code < smallest[more] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return -1;
    *text += more + 1;
    return code;
}
