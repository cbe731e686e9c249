/* SPDX-License-Identifier: Apache-2.0 */
/* One line per message, to standard error and log.txt, from the speaking process only. */
#include "base/base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool speaks = true;
static FILE *file;
static char run_name[256]; /* of one of several runs; "": the only one */

static void put(const char *prefix, const char *text)
{
    if (run_name[0])
        fprintf(stderr, "[%s] %s%s\n", run_name, prefix, text);
    else
        fprintf(stderr, "%s%s\n", prefix, text);
    if (file) {
        fprintf(file, "%s%s\n", prefix, text);
        fflush(file);
    }
}

static void put_formatted(const char *prefix, const char *format, va_list arguments)
{
    if (!speaks)
        return;
    char text[4096];
    vsnprintf(text, sizeof text, format, arguments);
    put(prefix, text);
}

static void put_in_file(const char *format, va_list arguments)
{
    if (!speaks || !file)
        return;
    vfprintf(file, format, arguments);
    fputc('\n', file);
    fflush(file);
}

void lj_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (run_name[0] && file)
        put_in_file(format, arguments);
    else
        put_formatted("", format, arguments);
    va_end(arguments);
}

void lj_log_only(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    put_in_file(format, arguments);
    va_end(arguments);
}

void lj_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    put_formatted("lejepa_mpi: warning: ", format, arguments);
    va_end(arguments);
}

void lj_error_line(const char *text)
{
    if (speaks)
        put("lejepa_mpi: error: ", text);
}

void lj_log_set_speaker(bool speaker)
{
    speaks = speaker;
}

void lj_log_set_run(const char *name)
{
    snprintf(run_name, sizeof run_name, "%s", name);
}

int lj_log_open(const char *path)
{
    lj_log_close();
    file = fopen(path, "a");
    if (!file)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot append to the log: %s; choose another run.dir",
                       path, strerror(errno));
    return LJ_OK;
}

void lj_log_close(void)
{
    if (file)
        fclose(file);
    file = NULL;
}
