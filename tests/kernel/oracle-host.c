/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle-host.c: what a host does to memory by itself, done all the time:
 * pages go to swap and come back, become huge and are split again, and are
 * migrated.  None of this may make the engine fail or change a byte.
 */
#include "oracle.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proc-info.h"

/* <linux/mman.h> of Linux 6.1; Debian 12's C library does not have it. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE_PAGES 512u
#define MAX_PAGES 1024u

/* All free memory of the host in large pieces: movable pages are moved. */
static void compact_memory(void)
{
    int fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, "1", 1) != 1) {
            g_test_message("no compaction");
        }
        close(fd);
    }
}

static void swap_out(Oracle *oracle, guint64 *random)
{
    guint64 pages = oracle->bytes / KSM_PAGE_BYTES;
    guint64 first = ksm_test_below(random, pages);
    guint64 count = MIN(1 + ksm_test_below(random, MAX_PAGES), pages - first);

    /* Refused in store mappings, which are a file of another user's. */
    madvise(oracle_page(oracle, first), count * KSM_PAGE_BYTES, MADV_PAGEOUT);
    oracle_raise(&oracle->figures->swapped_kib_max,
                 ksm_test_status_kib(getpid(), "VmSwap"));
}

static void make_huge(Oracle *oracle, guint64 *random)
{
    guint64 pages = oracle->bytes / KSM_PAGE_BYTES;
    guint64 first = ksm_test_below(random, pages / HUGE_PAGES) * HUGE_PAGES;

    /* Fails where a piece of it is in the store, or pages are in use. */
    if (madvise(oracle_page(oracle, first), (gsize)HUGE_PAGES * KSM_PAGE_BYTES,
                MADV_COLLAPSE) == 0) {
        oracle_count(&oracle->figures->collapsed, 1);
    }
}

void oracle_host_step(Oracle *oracle, guint64 *random)
{
    guint64 what = ksm_test_below(random, 32);

    if (what == 0) {
        compact_memory();
    } else if (what < 12) {
        swap_out(oracle, random);
    } else {
        make_huge(oracle, random);
    }
    g_usleep(1000 * (1 + (gulong)ksm_test_below(random, 10)));
}

/* The parent's: what the machine permits of it, it must have done. */
void oracle_host_check(const OracleFigures *clients, guint count,
                       gboolean swaps)
{
    guint64 collapsed = 0, swapped = 0;
    guint i;

    for (i = 0; i < count; i++) {
        collapsed += clients[i].collapsed;
        swapped += clients[i].swapped_kib_max;
    }
    g_test_message("%" PRIu64 " huge pages made; %" PRIu64 " KiB in swap at "
                   "most%s",
                   collapsed, swapped, swaps ? "" : ": there is no swap");
    if (swaps) {
        g_assert_cmpuint(swapped, >, 0);
    }
}
