/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tracker.c: write tracking without reading memory.
 *
 * Guest RAM is registered with a userfaultfd in write-protect mode with
 * WP_ASYNC (Linux 6.7).  The kernel resolves a write to an armed page by
 * itself and records it.  PAGEMAP_SCAN returns the written pages and re-arms
 * them in one step per page table, so no write can be missed between the two.
 *
 * The scan asks for "written, present, not the zero page" in registered
 * mappings.  A page that was never armed counts as written, so new pages and
 * new copies need no arming.  In a store mapping, a page that was only read
 * for the first time counts as well; a second scan, of those pages alone,
 * tells whether they are the store's or copies.  Asking for "not of a file" in
 * the first scan would make the kernel read every page's descriptor: 60 ns of
 * cache miss for each page of the guest in each round, measured.
 *
 * A missed write (a range that is not registered for a moment) costs only
 * savings: the tracker never decides that a page may be dropped, the isolation
 * does.
 *
 * Thread: the scanner's, or another one under the engine's work lock.
 */
#include "memory/tracker.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "memory/region.h"
#include "error.h"
#include "sys.h"

#define KSM_TRACKER_RANGES 2048u
/*
 * Maximum number of pages found and armed by one call: arming a page costs ten
 * times as much as scanning it (33 ns).  A call that stops inside a huge page
 * splits it.  That is rare: it needs small pages before it, and the next write
 * to the huge page would also split it.
 */
#define KSM_TRACKER_PAGES 8192u
#define KSM_COPY_RANGES 64u

#define KSM_TRACKER_FEATURES \
    (UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | \
     UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP | \
     UFFD_FEATURE_MOVE)

#define WRITTEN_WANTED (PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN | PAGE_IS_PRESENT)

static gboolean open_uffd(KsmTracker *tracker, GError **errp)
{
    int ret = ksm_sys->uffd_open(&tracker->uffd);

    if (ret == -EPERM || ret == -EACCES || ret == -ENOENT) {
        ksm_error_set_errno(
            errp, KSM_ERROR_PERMISSION, ret,
            "No permission for userfaultfd with kernel faults; give this user "
            "read and write access to /dev/userfaultfd (a udev rule, an ACL, "
            "or libvirt's cgroup_device_acl), or set "
            "vm.unprivileged_userfaultfd=1");
        return FALSE;
    }
    if (ret) {
        ksm_error_set_errno(errp,
                            ret == -ENOSYS ? KSM_ERROR_UNSUPPORTED :
                                             KSM_ERROR_FAILED,
                            ret, "Could not open a userfaultfd");
        return FALSE;
    }
    ret = ksm_sys->uffd_api(tracker->uffd, KSM_TRACKER_FEATURES);
    if (ret) {
        ksm_error_set_errno(
            errp, KSM_ERROR_UNSUPPORTED, ret,
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
        ksm_error_set_errno(
            errp, KSM_ERROR_PERMISSION, ret,
            "Could not open /proc/self/pagemap; a process that changed its "
            "user ID must stay dumpable (do not use -run-with user=)");
        return FALSE;
    }
    /* An empty range: tests whether the call exists. */
    ret = ksm_sys->pagemap_scan(tracker->pagemap, &arg);
    if (ret == -ENOTTY || ret == -EINVAL) {
        ksm_error_set_errno(
            errp, KSM_ERROR_UNSUPPORTED, ret,
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
    tracker->scanned = ksm_pieces_scan;
    tracker->registered = ksm_pieces_register;
    tracker->detached = ksm_pieces_unregister;
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

/*
 * Advice comes first: once mappings differ only in their registration,
 * registering merges neighbours that belong together.
 */
static int register_piece(KsmTracker *tracker, KsmRegion *region, guint32 first,
                          guint32 end)
{
    guint64 start_ns = ksm_sys_now_ns(), advised_ns;
    int ret = ksm_ram_advise(region, first, end);

    advised_ns = ksm_sys_now_ns();
    if (!ret) {
        ret = ksm_sys->uffd_register(tracker->uffd,
                                     ksm_ram_address(region, first),
                                     (gsize)(end - first) * KSM_PAGE_BYTES,
                                     UFFDIO_REGISTER_MODE_WP);
    }
    ksm_pieces_took(&tracker->registered,
                    MAX(advised_ns - start_ns, ksm_sys_now_ns() - advised_ns),
                    TRUE);
    return ret;
}

/*
 * When this returns 0, all parts are registered, as the next scan requires:
 * pages in an unregistered mapping are not reported.  Between two pieces some
 * parts are registered and some are not.  That changes nothing: a page written
 * then counts as written at the next scan, because a page that was just moved
 * or mapped is not armed, and registering arms none.
 */
int ksm_tracker_register(KsmTracker *tracker, KsmRegion *region)
{
    guint i;

    for (i = 0; i < region->unregistered_count; i++) {
        KsmUnregistered *part = &region->unregistered[i];

        while (part->first < part->end) {
            guint32 end = ksm_pieces_next(&tracker->registered, region,
                                          part->first, part->end);
            int ret = register_piece(tracker, region, part->first, end);

            if (ret) {
                region->unregistered_count -= i;
                memmove(region->unregistered, part,
                        region->unregistered_count * sizeof(*part));
                return ret;
            }
            part->first = end;
        }
    }
    region->unregistered_count = 0;
    return 0;
}

static int unregister(KsmTracker *tracker, KsmRegion *region, guint32 first,
                      guint32 end)
{
    return ksm_sys->uffd_unregister(tracker->uffd,
                                    ksm_ram_address(region, first),
                                    (gsize)(end - first) * KSM_PAGE_BYTES);
}

/*
 * In pieces, because the kernel removes the protection from each page; all at
 * once if no mapping is available to divide one at a piece's end.
 */
int ksm_tracker_detach_piece(KsmTracker *tracker, KsmRegion *region)
{
    guint32 first = region->detached_pages;
    guint32 end = ksm_pieces_next(&tracker->detached, region, first,
                                  region->pages);
    guint64 start_ns = ksm_sys_now_ns();
    int ret = unregister(tracker, region, first, end);

    ksm_pieces_took(&tracker->detached, ksm_sys_now_ns() - start_ns, TRUE);
    if (ret == -ENOMEM) {
        /* A mapping would have to be divided, and no more are available. */
        first = 0;
        end = region->pages;
        ret = unregister(tracker, region, first, end);
    }
    if (!ret) {
        ksm_ram_needs_register(region, first, end);
        if (!region->detached_pages) {
            ksm_ram_disarmed(region);
        }
        region->detached_pages = end;
    }
    return ret;
}

int ksm_tracker_detach(KsmTracker *tracker, KsmRegion *region)
{
    int ret = 0;

    region->detached_pages = 0;
    while (!ret && region->detached_pages < region->pages) {
        ret = ksm_tracker_detach_piece(tracker, region);
    }
    ksm_ram_needs_register(region, 0, region->pages);
    ksm_ram_disarmed(region);
    return ret;
}

/*
 * Runs a scan to its end with the parameters in arg, and passes the ranges to
 * func; calls are timed for `pieces`, if given.
 */
static int scan(KsmTracker *tracker, KsmRegion *region, struct pm_scan_arg *arg,
                KsmPieces *pieces, KsmWrittenFunc func, void *opaque)
{
    guint64 start = (guintptr)region->addr;

    while (arg->start < arg->end) {
        guint64 start_ns = ksm_sys_now_ns();
        int i, n = ksm_sys->pagemap_scan(tracker->pagemap, arg);

        if (n < 0) {
            return n;
        }
        if (pieces) {
            ksm_pieces_took(pieces, ksm_sys_now_ns() - start_ns,
                            arg->walk_end == arg->end);
        }
        for (i = 0; i < n; i++) {
            struct page_region *range =
                (struct page_region *)(guintptr)arg->vec + i;

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

/* Scans pages [first, end), which are armed. */
static int scan_armed(KsmTracker *tracker, KsmRegion *region, guint32 first,
                      guint32 end, KsmWrittenFunc func, void *opaque)
{
    guint32 next;
    int ret = 0;

    for (; !ret && first < end; first = next) {
        struct pm_scan_arg arg = {
            .size = sizeof(arg),
            .flags = PM_SCAN_WP_MATCHING,
            .start = (guintptr)ksm_ram_address(region, first),
            .vec = (guintptr)tracker->ranges,
            .vec_len = KSM_TRACKER_RANGES,
            .max_pages = KSM_TRACKER_PAGES,
            .category_inverted = PAGE_IS_PFNZERO,
            .category_mask = WRITTEN_WANTED | PAGE_IS_PFNZERO,
            .return_mask = PAGE_IS_WRITTEN | PAGE_IS_HUGE,
        };

        next = ksm_pieces_next(&tracker->scanned, region, first, end);
        arg.end = (guintptr)ksm_ram_address(region, next);
        ret = scan(tracker, region, &arg, &tracker->scanned, func, opaque);
    }
    return ret;
}

int ksm_tracker_scan(KsmTracker *tracker, KsmRegion *region,
                     KsmWrittenFunc func, void *opaque)
{
    guint32 first, end;
    int ret = 0;

    for (first = ksm_ram_find_armed(region, 0, &end);
         !ret && first < region->pages;
         first = ksm_ram_find_armed(region, end, &end)) {
        ret = scan_armed(tracker, region, first, end, func, opaque);
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

    return scan(tracker, region, &arg, NULL, func, opaque);
}

int ksm_tracker_disarm(KsmTracker *tracker, KsmRegion *region, guint32 first,
                       guint32 count)
{
    return ksm_sys->uffd_protect(tracker->uffd, ksm_ram_address(region, first),
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
        .max_pages = 1, /* a huge page counts as one */
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
        .end = ((guintptr)addr + bytes + KSM_PAGE_BYTES - 1) / KSM_PAGE_BYTES *
               KSM_PAGE_BYTES,
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

guint64 ksm_tracker_faults(void)
{
    return ksm_sys->faults_of_others();
}
