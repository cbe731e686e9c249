/* SPDX-License-Identifier: Apache-2.0 */
/* What the test programs of archives on one rank have alike: communicator and directory for each
 * of their tests, and opening an archive that must open. Included once by each. */
#ifndef LEJEPA_TESTS_ARCHIVE_CASE_H
#define LEJEPA_TESTS_ARCHIVE_CASE_H

#include "make_archive.h"

#include <criterion/criterion.h>

static struct lj_comm *world;

static inline void begin(void)
{
    cr_assert_eq(lj_comm_start(&world), LJ_OK);
    directory_make();
}

static inline void end(void)
{
    directory_remove();
    lj_comm_finish(world);
}

static inline struct lj_archive *open_with(const struct lj_archive_options *options)
{
    struct lj_archive *archive = NULL;
    int status = lj_archive_open(&archive, world, options);
    cr_assert_eq(status, LJ_OK, "%s", lj_error_text());
    return archive;
}

#endif
