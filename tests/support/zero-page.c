/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zero-page.c: what it costs to read memory that nobody has written. */
#include "zero-page.h"

#include <fcntl.h>
#include <guest-ksm.h>
#include <linux-abi.h>
#include <unistd.h>

#include "proc-info.h"

#define RANGES 64

gboolean ksm_test_zero_page_is_denied(void)
{
    const char *text = g_getenv("KSM_TEST_NO_ZERO_PAGE");

    return text && *text && *text != '0';
}

/*
 * A write fault, and nothing written: what is there stays, whoever writes to it
 * at the same moment.
 */
void ksm_test_zero_page_deny(const void *addr, guint64 bytes)
{
    struct page_region ranges[RANGES];
    struct pm_scan_arg arg = {
        .size = sizeof(arg),
        .start = (gsize)addr,
        .end = (gsize)addr + bytes,
        .vec = (gsize)ranges,
        .vec_len = RANGES,
        .category_mask = PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
        .return_mask = PAGE_IS_PFNZERO,
    };
    int pagemap, found, i;

    if (!ksm_test_zero_page_is_denied()) {
        return;
    }
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pagemap, >=, 0);
    while (arg.start < arg.end) {
        found = ioctl(pagemap, PAGEMAP_SCAN, &arg);
        g_assert_cmpint(found, >=, 0);
        for (i = 0; i < found; i++) {
            /* It fails where the range is being mapped anew: no page of it. */
            (void)!madvise((void *)(gsize)ranges[i].start,
                           ranges[i].end - ranges[i].start,
                           MADV_POPULATE_WRITE);
        }
        arg.start = arg.walk_end;
    }
    close(pagemap);
}

guint64 ksm_test_read_cost_kib(gsize bytes)
{
    /* Alone between two that cannot be touched: it merges with no neighbour. */
    gsize all = bytes + 2 * KSM_PAGE_BYTES, i;
    guint8 *area = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                        0);
    volatile guint8 *memory = area + KSM_PAGE_BYTES;
    KsmTestMaps maps;

    g_assert_true(area != MAP_FAILED);
    g_assert_cmpint(mprotect(area + KSM_PAGE_BYTES, bytes,
                             PROT_READ | PROT_WRITE),
                    ==, 0);
    for (i = 0; i < bytes; i += KSM_PAGE_BYTES) {
        g_assert_cmpuint(memory[i], ==, 0);
    }
    ksm_test_maps_read(area + KSM_PAGE_BYTES, bytes, &maps);
    munmap(area, all);
    return maps.anonymous_kib;
}

gboolean ksm_test_has_zero_page(void)
{
    return ksm_test_read_cost_kib(KSM_PAGE_BYTES) == 0;
}
