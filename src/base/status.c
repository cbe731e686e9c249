/* SPDX-License-Identifier: Apache-2.0 */
/* Error records, internal errors and fault injection. */
#include "base/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 2048 };

static _Thread_local char record[TEXT_MAX];
static void (*abort_hook)(int);
static int fault_rank;

int lj_fail(int status, const char *format, ...)
{
    char text[TEXT_MAX]; /* not `record` itself, which an argument may point to */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    lj_error_set(text);
    return status;
}

const char *lj_error_text(void)
{
    return record;
}

void lj_error_set(const char *text)
{
    size_t length = strnlen(text, TEXT_MAX - 1);
    memmove(record, text, length);
    record[length] = 0;
}

void lj_set_abort_hook(void (*hook)(int exit_code))
{
    abort_hook = hook;
}

void lj_broken(const char *file, int line, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* One call, so that lines of several ranks do not mix. */
    fprintf(stderr, "lejepa_mpi: error: internal error, please report it: %s:%d: %s\n", file, line,
            text);
    if (abort_hook)
        abort_hook(-LJ_ERR_BUG);
    exit(-LJ_ERR_BUG);
}

void lj_fault_set_rank(int rank)
{
    fault_rank = rank;
}

/* What LJ_FAULT says of this point, rank and step: "", ":stall" or ":slow"; NULL: nothing. */
static const char *fault_at(const char *point, int64_t step)
{
    const char *wanted = getenv("LJ_FAULT");
    if (!wanted)
        return NULL;
    char here[128];
    snprintf(here, sizeof here, "%s:%d:%lld", point, fault_rank, (long long)step);
    size_t length = strlen(here);
    return strncmp(wanted, here, length) == 0 ? wanted + length : NULL;
}

int lj_fault(const char *point, int64_t step)
{
    const char *wanted = fault_at(point, step);
    while (wanted && strcmp(wanted, ":stall") == 0)
        pause();
    if (!wanted || *wanted)
        return LJ_OK;
    return lj_fail(LJ_ERR_RESOURCE, "injected fault at %s, step %lld (LJ_FAULT is set; unset it)",
                   point, (long long)step);
}

void lj_fault_slow(const char *point, int64_t step)
{
    const char *wanted = fault_at(point, step);
    if (wanted && strcmp(wanted, ":slow") == 0)
        nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
}

void lj_fault_crash(const char *point, int64_t step)
{
    const char *wanted = fault_at(point, step);
    if (wanted && strcmp(wanted, ":crash") == 0)
        raise(SIGSEGV);
}
