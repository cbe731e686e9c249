/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors files written byte by byte, good and bad. */
#ifndef TEST_RAW_FILE_H
#define TEST_RAW_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* 8-byte length (that of the header unless `length` >= 0), header, data. */
static inline void raw_safetensors(const char *path, int64_t length, const char *header,
                                   const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    uint64_t size = length >= 0 ? (uint64_t)length : strlen(header);
    for (int i = 0; i < 8; i++)
        fputc((int)(size >> 8 * i & 255), file);
    fwrite(header, 1, strlen(header), file);
    fwrite(data, 1, bytes, file);
    fclose(file);
}

#endif
