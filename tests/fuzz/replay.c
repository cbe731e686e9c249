/* SPDX-License-Identifier: Apache-2.0 */
/* Drives a fuzz target without libFuzzer: replay ROUNDS DIRECTORY feeds it every file of the
 * corpus, then ROUNDS inputs made of these by the same random changes in every run. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 1024, BYTES_MAX = 1 << 16 };

struct input {
    uint8_t *bytes;
    size_t size;
};

static struct input corpus[FILES_MAX];
static int files;
static uint64_t state = 88172645463325252u;

/* xorshift64: Marsaglia 2003. */
static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void load(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(BYTES_MAX);
    LJ_CHECK(file && bytes && files < FILES_MAX, "%s", path);
    corpus[files].bytes = bytes;
    corpus[files++].size = fread(bytes, 1, BYTES_MAX, file);
    fclose(file);
}

static void load_all(const char *directory)
{
    DIR *listing = opendir(directory);
    LJ_CHECK(listing, "%s: no such directory", directory);
    for (struct dirent *entry; (entry = readdir(listing));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%.255s", directory, entry->d_name);
        if (entry->d_name[0] != '.')
            load(path);
    }
    closedir(listing);
    LJ_CHECK(files > 0, "%s: is empty", directory);
}

/* A file of the corpus with a few bytes changed, cut, or its end taken from another file. */
static size_t make(uint8_t *out)
{
    const struct input *a = &corpus[draw((uint64_t)files)], *b = &corpus[draw((uint64_t)files)];
    size_t size = a->size;
    memcpy(out, a->bytes, size);
    if (draw(4) == 0 && b->size > 0) {
        size_t from = draw(b->size), at = draw(size + 1), count = b->size - from;
        count = count < BYTES_MAX - at ? count : BYTES_MAX - at;
        memcpy(out + at, b->bytes + from, count);
        size = at + count;
    }
    if (draw(8) == 0 && size > 0)
        size = draw(size);
    for (uint64_t changes = draw(5); changes > 0 && size > 0; changes--)
        out[draw(size)] = (uint8_t)(draw(2) ? draw(256) : UINT64_C(1) << draw(8));
    return size;
}

int main(int argc, char **argv)
{
    static uint8_t input[BYTES_MAX];
    LJ_CHECK(argc == 3, "usage: %s ROUNDS DIRECTORY", argv[0]);
    load_all(argv[2]);
    for (int i = 0; i < files; i++)
        LLVMFuzzerTestOneInput(corpus[i].bytes, corpus[i].size);
    long rounds = strtol(argv[1], NULL, 10);
    for (long i = 0; i < rounds; i++) {
        size_t size = make(input);
        LLVMFuzzerTestOneInput(input, size);
    }
    printf("%d files and %ld inputs made of them\n", files, rounds);
    for (int i = 0; i < files; i++)
        free(corpus[i].bytes);
    return 0;
}
