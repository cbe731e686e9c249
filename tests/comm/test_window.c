/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that are not there: a file that ends before the memory that it is mapped to stands for a
 * file system that is full. */
#include "comm/nodes.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 4, THERE = 2 };

Test(window, pages_that_are_missing_are_noticed, .timeout = 20)
{
    FILE *file = tmpfile();
    struct sigaction before, after;
    cr_assert(file && ftruncate(fileno(file), (off_t)THERE * PAGE) == 0);
    char *memory =
        mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    cr_assert(memory != MAP_FAILED);
    sigaction(SIGBUS, NULL, &before);
    memory[0] = memory[PAGE] = 1;
    cr_assert(lj_pages_take(memory, (int64_t)THERE * PAGE));
    cr_assert(memory[0] == 0 && memory[PAGE] == 0);
    cr_assert(!lj_pages_take(memory, (int64_t)PAGES * PAGE));
    cr_assert(lj_pages_take(memory, 0));
    sigaction(SIGBUS, NULL, &after);
    cr_assert(before.sa_handler == after.sa_handler);
    munmap(memory, (size_t)PAGES * PAGE);
    fclose(file);
}
