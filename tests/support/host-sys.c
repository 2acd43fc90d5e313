/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host-sys.c: a host that passes for one without a zero page.
 *
 * The engine learns of the zero page in one way only: it asks pagemap.  So the
 * pages that the kernel's zero page serves become pages of their own just
 * before that question.  They hold zeros, are present, and count as written, as
 * no write-protection was ever put on them: what a read fault leaves behind
 * where there is no zero page.  The one difference is when: there, at the read;
 * here, at the next question.
 */
#include "host-sys.h"

#include "zero-page.h"

static int denying_scan(int fd, struct pm_scan_arg *arg)
{
    /*
     * What has arrived in the midst of a window is asked of memory whose holes
     * must not be touched.
     */
    if (!(arg->category_anyof_mask & PAGE_IS_SWAPPED)) {
        ksm_test_zero_page_deny((const void *)(gsize)arg->start,
                                arg->end - arg->start);
    }
    return ksm_sys_linux.pagemap_scan(fd, arg);
}

const KsmSys *ksm_test_host_sys(void)
{
    static KsmSys table;
    static gsize done;

    if (g_once_init_enter(&done)) {
        table = ksm_sys_linux;
        if (ksm_test_zero_page_is_denied()) {
            table.pagemap_scan = denying_scan;
        }
        g_once_init_leave(&done, 1);
    }
    return &table;
}

static void __attribute__((constructor)) install(void)
{
    ksm_sys = ksm_test_host_sys();
}
