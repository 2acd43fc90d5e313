/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tracker.c: write tracking without reading memory.
 *
 * Guest RAM is registered with a userfaultfd in write-protect mode with
 * WP_ASYNC (Linux 6.7): a write to an armed page is resolved by the kernel
 * alone, which remembers it; PAGEMAP_SCAN returns the written pages and re-arms
 * them in one step per page table, so no write can fall between the two.
 *
 * What is asked for is "written, present, not the zero page", in registered
 * mappings.  A page that was never armed counts as written, so new pages and
 * new copies need no arming.  In a store mapping a page that was only read for
 * the first time counts, too; a second look, at those pages alone, tells
 * whether they are the store's or copies.  Asking for "not of a file" at once
 * would make the kernel look at every page's descriptor: 60 ns of cache miss
 * for each page of the guest in each round, measured.
 *
 * A missed write (a range not registered for a moment) costs savings only: the
 * tracker never decides that a page may be dropped, the quarantine does.
 *
 * Thread: the scanner's, or another one under the engine's work lock.
 */
#include "tracker.h"

#include <errno.h>
#include <unistd.h>

#include "error.h"
#include "sys.h"

#define KSM_TRACKER_RANGES 2048u
#define KSM_COPY_RANGES    64u

#define KSM_TRACKER_FEATURES (UFFD_FEATURE_WP_ASYNC |                       \
                              UFFD_FEATURE_WP_UNPOPULATED |                 \
                              UFFD_FEATURE_WP_HUGETLBFS_SHMEM |             \
                              UFFD_FEATURE_PAGEFAULT_FLAG_WP |              \
                              UFFD_FEATURE_MOVE)

#define WRITTEN_WANTED (PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN | PAGE_IS_PRESENT)

static gboolean open_uffd(KsmTracker *tracker, GError **errp)
{
    int ret = ksm_sys->uffd_open(&tracker->uffd);

    if (ret == -EPERM || ret == -EACCES || ret == -ENOENT) {
        ksm_error_set_errno(errp, KSM_ERROR_PERMISSION, ret,
            "No permission for userfaultfd with kernel faults; give this user "
            "read and write access to /dev/userfaultfd (a udev rule, an ACL, "
            "or libvirt's cgroup_device_acl), or set "
            "vm.unprivileged_userfaultfd=1");
        return FALSE;
    }
    if (ret) {
        ksm_error_set_errno(errp, ret == -ENOSYS ? KSM_ERROR_UNSUPPORTED :
                            KSM_ERROR_FAILED, ret,
                            "Could not open a userfaultfd");
        return FALSE;
    }
    ret = ksm_sys->uffd_api(tracker->uffd, KSM_TRACKER_FEATURES);
    if (ret) {
        ksm_error_set_errno(errp, KSM_ERROR_UNSUPPORTED, ret,
            "This kernel lacks userfaultfd's write tracking or page moves "
            "(WP_ASYNC, MOVE); run Linux 6.8 or later");
        return FALSE;
    }
    return TRUE;
}

static gboolean open_pagemap(KsmTracker *tracker, GError **errp)
{
    struct pm_scan_arg arg = { .size = sizeof(arg) };
    int ret = ksm_sys->pagemap_open(&tracker->pagemap);

    if (ret) {
        ksm_error_set_errno(errp, KSM_ERROR_PERMISSION, ret,
            "Could not open /proc/self/pagemap; a process that gave up its "
            "user id must stay dumpable (do not use -run-with user=)");
        return FALSE;
    }
    /* An empty range: tells whether the call exists. */
    ret = ksm_sys->pagemap_scan(tracker->pagemap, &arg);
    if (ret == -ENOTTY || ret == -EINVAL) {
        ksm_error_set_errno(errp, KSM_ERROR_UNSUPPORTED, ret,
            "This kernel lacks PAGEMAP_SCAN; run Linux 6.8 or later");
        return FALSE;
    }
    return TRUE;
}

gboolean ksm_tracker_open(KsmTracker *tracker, GError **errp)
{
    tracker->uffd = -1;
    tracker->pagemap = -1;
    tracker->ranges = NULL;
    if (!open_uffd(tracker, errp) || !open_pagemap(tracker, errp)) {
        ksm_tracker_close(tracker);
        return FALSE;
    }
    tracker->ranges = g_new(struct page_region, KSM_TRACKER_RANGES);
    return TRUE;
}

void ksm_tracker_close(KsmTracker *tracker)
{
    if (tracker->uffd >= 0) {
        close(tracker->uffd);
    }
    if (tracker->pagemap >= 0) {
        close(tracker->pagemap);
    }
    tracker->uffd = tracker->pagemap = -1;
    g_clear_pointer(&tracker->ranges, g_free);
}

int ksm_tracker_settle(KsmTracker *tracker, KsmRegion *region)
{
    guint32 first = region->unsettled_first;
    guint32 end = region->unsettled_end;
    int ret;

    if (!region->unsettled) {
        return 0;
    }
    /*
     * Advice first: once mappings differ in nothing but their registration,
     * registering merges neighbours that belong together.
     */
    ret = ksm_ram_advise(region, first, end);
    if (!ret) {
        ret = ksm_sys->uffd_register(tracker->uffd,
                                     ksm_ram_address(region, first),
                                     (gsize)(end - first) * KSM_PAGE_BYTES,
                                     UFFDIO_REGISTER_MODE_WP);
    }
    if (!ret) {
        region->unsettled = FALSE;
    }
    return ret;
}

int ksm_tracker_detach(KsmTracker *tracker, KsmRegion *region)
{
    int ret = ksm_sys->uffd_unregister(tracker->uffd, region->addr,
                                       (gsize)region->pages * KSM_PAGE_BYTES);

    ksm_ram_unsettle(region, 0, region->pages);
    ksm_ram_disarmed(region);
    return ret;
}

/* Runs a scan to its end, with what arg says, handing the ranges to func. */
static int scan(KsmTracker *tracker, KsmRegion *region,
                struct pm_scan_arg *arg, KsmWrittenFunc func, void *opaque)
{
    guint64 start = (guintptr)region->addr;

    while (arg->start < arg->end) {
        int i, n = ksm_sys->pagemap_scan(tracker->pagemap, arg);

        if (n < 0) {
            return n;
        }
        for (i = 0; i < n; i++) {
            struct page_region *range = (struct page_region *)(guintptr)arg->vec + i;

            func(region, (guint32)((range->start - start) / KSM_PAGE_BYTES),
                 (guint32)((range->end - start) / KSM_PAGE_BYTES),
                 (range->categories & PAGE_IS_HUGE) != 0, opaque);
        }
        if (arg->walk_end <= arg->start) {
            return -EIO;
        }
        arg->start = arg->walk_end;
    }
    return 0;
}

int ksm_tracker_scan(KsmTracker *tracker, KsmRegion *region,
                     KsmWrittenFunc func, void *opaque)
{
    guint32 first, end;
    int ret = 0;

    for (first = ksm_ram_find_armed(region, 0, &end);
         !ret && first < region->pages;
         first = ksm_ram_find_armed(region, end, &end)) {
        struct pm_scan_arg arg = {
            .size = sizeof(arg),
            .flags = PM_SCAN_WP_MATCHING,
            .start = (guintptr)ksm_ram_address(region, first),
            .end = (guintptr)ksm_ram_address(region, end),
            .vec = (guintptr)tracker->ranges,
            .vec_len = KSM_TRACKER_RANGES,
            .category_inverted = PAGE_IS_PFNZERO,
            .category_mask = WRITTEN_WANTED | PAGE_IS_PFNZERO,
            .return_mask = PAGE_IS_WRITTEN | PAGE_IS_HUGE,
        };

        ret = scan(tracker, region, &arg, func, opaque);
    }
    return ret;
}

int ksm_tracker_find_copies(KsmTracker *tracker, KsmRegion *region,
                            guint32 first, guint32 end, KsmWrittenFunc func,
                            void *opaque)
{
    struct page_region ranges[KSM_COPY_RANGES];
    guint64 start = (guintptr)ksm_ram_address(region, first);
    struct pm_scan_arg arg = {
        .size = sizeof(arg),
        .start = start,
        .end = start + (guint64)(end - first) * KSM_PAGE_BYTES,
        .vec = (guintptr)ranges,
        .vec_len = KSM_COPY_RANGES,
        .category_inverted = PAGE_IS_FILE,
        .category_mask = PAGE_IS_PRESENT | PAGE_IS_FILE,
        .return_mask = PAGE_IS_PRESENT,
    };

    return scan(tracker, region, &arg, func, opaque);
}

int ksm_tracker_disarm(KsmTracker *tracker, KsmRegion *region, guint32 first,
                       guint32 count)
{
    return ksm_sys->uffd_protect(tracker->uffd,
                                 ksm_ram_address(region, first),
                                 (gsize)count * KSM_PAGE_BYTES, false);
}

gboolean ksm_tracker_is_huge(KsmTracker *tracker, KsmRegion *region,
                             guint32 first)
{
    struct page_region range = { 0 };
    guint64 start = (guintptr)ksm_ram_address(region, first);
    struct pm_scan_arg arg = {
        .size = sizeof(arg),
        .start = start,
        .end = start + KSM_BLOCK_PAGES * KSM_PAGE_BYTES,
        .vec = (guintptr)&range,
        .vec_len = 1,
        .max_pages = 1,         /* a huge page is one as a whole */
        .category_inverted = PAGE_IS_PFNZERO,
        .category_mask = PAGE_IS_PRESENT | PAGE_IS_HUGE | PAGE_IS_PFNZERO,
        .return_mask = PAGE_IS_HUGE,
    };

    return ksm_sys->pagemap_scan(tracker->pagemap, &arg) == 1;
}

gboolean ksm_tracker_all_file(KsmTracker *tracker, KsmRegion *region,
                              guint32 first, guint32 count)
{
    struct page_region range = { 0 };
    guint64 start = (guintptr)ksm_ram_address(region, first);
    guint64 end = start + (guint64)count * KSM_PAGE_BYTES;
    struct pm_scan_arg arg = {
        .size = sizeof(arg),
        .start = start,
        .end = end,
        .vec = (guintptr)&range,
        .vec_len = 1,
        .category_mask = PAGE_IS_PRESENT | PAGE_IS_FILE,
        .return_mask = PAGE_IS_FILE,
    };

    return ksm_sys->pagemap_scan(tracker->pagemap, &arg) == 1 &&
           range.start == start && range.end == end;
}

guint64 ksm_tracker_present_pages(KsmTracker *tracker, const void *addr,
                                  gsize bytes)
{
    struct page_region ranges[KSM_COPY_RANGES];
    guint64 start = (guintptr)addr / KSM_PAGE_BYTES * KSM_PAGE_BYTES;
    guint64 pages = 0;
    struct pm_scan_arg arg = {
        .size = sizeof(arg),
        .start = start,
        .end = ((guintptr)addr + bytes + KSM_PAGE_BYTES - 1) /
               KSM_PAGE_BYTES * KSM_PAGE_BYTES,
        .vec = (guintptr)ranges,
        .vec_len = KSM_COPY_RANGES,
        .category_inverted = PAGE_IS_PFNZERO,
        .category_mask = PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
        .return_mask = PAGE_IS_PRESENT,
    };

    while (arg.start < arg.end) {
        int i, n = ksm_sys->pagemap_scan(tracker->pagemap, &arg);

        if (n < 0 || arg.walk_end <= arg.start) {
            break;
        }
        for (i = 0; i < n; i++) {
            pages += (ranges[i].end - ranges[i].start) / KSM_PAGE_BYTES;
        }
        arg.start = arg.walk_end;
    }
    return pages;
}
