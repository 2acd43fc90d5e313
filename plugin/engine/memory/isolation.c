/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * isolation.c: the only code that takes a page away from the guest.
 *
 * Invariant: a page is dropped only after no CPU and no device could reach it,
 * and after it was then found byte-equal to its replacement.
 *
 * A window, for up to KSM_WINDOW_PAGES adjacent pages:
 *   1. Register the pages for MISSING faults: from now on, any thread that
 *      touches a hole in them blocks in the kernel, also inside KVM_RUN and
 *      read(2).
 *   2. UFFDIO_MOVE them to the staging area.  The kernel does this page by page
 *      under the page table lock, flushes the TLB and calls the MMU notifiers
 *      (so KVM's tables drop the page as well).  It refuses a page with more
 *      references than its mapping (EBUSY: pinned for DMA, or shared by fork).
 *   3. Compare the staging area with the replacement.  Only this thread knows
 *      the staging area, so the compared content is what the page held when the
 *      guest lost it.
 *   4. If equal: map the replacement over the pages (or leave holes and remove
 *      MISSING again: the kernel's zero page serves reads, see zero.c).  If
 *      different: move them back and remove MISSING.
 *   5. Wake the blocked threads: they fault again and find what is now mapped.
 * Why no race can lose a write: a write happens before step 2, and then the
 * comparison sees it; or it faults after step 2 and blocks until step 5; or it
 * faults between steps 4 and 5 and finds the final mapping, where it is an
 * ordinary copy-on-write.  Between steps 2 and 4 the place is a hole, and a
 * hole is registered for MISSING faults all that time: only this thread can
 * fill it.
 *
 * Nothing may block inside a window: no allocation, no lock, no logging, and
 * no access to guest memory (the scanner would wait for itself).  The
 * replacement was read into memory of this thread just before (merge.c).
 *
 * If the process crashes at any point, the guest ends with it, so nothing can
 * be left inconsistent.  If pages cannot be moved back (because the kernel
 * removed the range when mapping the replacement failed, or because a move
 * fails), the staging mapping itself is moved to their place, which is atomic.
 * If even that fails for a second, the process is aborted, because the guest
 * cannot continue without these pages.
 *
 * Thread: the scanner's only, under the engine's work lock and fork lock.
 */
#include "memory/isolation.h"

#include <errno.h>
#include <string.h>

#include "memory/region.h"
#include "error.h"
#include "sys.h"

#define KSM_MOVE_TRIES 8u
#define KSM_RESTORE_TRIES 1000u

gboolean ksm_isolation_open(KsmIsolation *q, int uffd, int pagemap,
                            GError **errp)
{
    int ret;

    memset(q, 0, sizeof(*q));
    q->uffd = uffd;
    q->pagemap = pagemap;
    ret = ksm_staging_init(&q->staging, uffd);
    if (!ret) {
        ret = ksm_verify_open(&q->verify);
    }
    if (ret) {
        ksm_isolation_close(q);
        ksm_error_set_errno(errp, KSM_ERROR_FAILED, ret,
                            "Could not create the staging area");
        return FALSE;
    }
    return TRUE;
}

void ksm_isolation_close(KsmIsolation *q)
{
    ksm_staging_free(&q->staging);
    ksm_verify_close(&q->verify);
}

void ksm_isolation_drop(KsmIsolation *q)
{
    ksm_staging_shut(&q->staging);
}

void ksm_isolation_trim(KsmIsolation *q)
{
    ksm_isolation_drop(q);
    ksm_verify_trim(&q->verify);
}

/*
 * Returns room for a window, or NULL.  When it opens a batch of windows, it
 * checks whether the process makes all its memory mergeable (a service manager
 * may have set that before the program was started).
 */
static guint8 *take_staging(KsmIsolation *q, guint32 count)
{
    if (!q->staging.is_open) {
        q->merge_any = ksm_sys_merges_any();
    }
    return ksm_staging_take(&q->staging, count);
}

/*
 * Returns the number of pages from `dst` on that are already there.  The
 * destination of a move is empty before it, so what is there was moved.  A
 * failed query must not be read as "no pages": pages that did arrive would be
 * lost.
 */
static guint32 arrived(KsmIsolation *q, guint8 *dst, guint32 count)
{
    struct page_region range = { 0 };
    guint64 start = (guintptr)dst;
    struct pm_scan_arg arg = {
        .size = sizeof(arg),
        .start = start,
        .end = start + (guint64)count * KSM_PAGE_BYTES,
        .vec = (guintptr)&range,
        .vec_len = 1,
        .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        .return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
    };

    guint tries;
    int found;

    for (tries = 0; tries < KSM_RESTORE_TRIES; tries++) {
        found = ksm_sys->pagemap_scan(q->pagemap, &arg);
        if (found >= 0) {
            return found == 1 && range.start == start ?
                       (guint32)((range.end - start) / KSM_PAGE_BYTES) :
                       0;
        }
        if (tries > 0) {
            g_usleep(1000);
        }
    }
    g_error("guest-ksm: could not find out which of %u pages are at %p: %s; "
            "aborting, because the guest cannot continue without them",
            count, (void *)dst, g_strerror(-found));
}

/*
 * Moves as many pages as possible, starting with the first; *error is what
 * stopped it.  A move that stops part-way returns EAGAIN whatever the cause;
 * the next attempt returns the cause.
 *
 * After an error, the kernel's count of moved pages cannot be trusted.  Linux
 * 6.18 moves pages in batches.  After a batch that it had to retry, it does
 * not count the one that succeeds: the next attempt finds the destination in
 * use and returns EEXIST, although the pages are there.  Trusting the count
 * would lose them (observed: one page of zeros in some hours of stress).  So
 * pagemap is queried for what has arrived.
 */
static guint32 move_pages(KsmIsolation *q, guint8 *dst, guint8 *src,
                          guint32 count, int *error)
{
    guint32 done = 0, uncounted;
    guint tries = 0;

    *error = 0;
    while (done < count) {
        gsize at = (gsize)done * KSM_PAGE_BYTES, moved = 0;
        int ret = ksm_sys->uffd_move(q->uffd, dst + at, src + at,
                                     (gsize)(count - done) * KSM_PAGE_BYTES,
                                     &moved);

        done += (guint32)(moved / KSM_PAGE_BYTES);
        if (!ret) {
            continue;
        }
        at = (gsize)done * KSM_PAGE_BYTES;
        uncounted = arrived(q, dst + at, count - done);
        done += uncounted;
        if (uncounted ||
            (ret == -EAGAIN && (moved || ++tries < KSM_MOVE_TRIES))) {
            continue;
        }
        *error = ret;
        break;
    }
    return done;
}

/* Puts pages back where they were; does not return until it has done so. */
static void restore_pages(KsmIsolation *q, guint8 *addr, guint8 *staging,
                          guint32 count)
{
    guint32 done = 0, n;
    guint tries;
    int error;

    for (tries = 0; tries < KSM_RESTORE_TRIES; tries++) {
        gsize offset = (gsize)done * KSM_PAGE_BYTES;

        done += move_pages(q, addr + offset, staging + offset, count - done,
                           &error);
        if (done == count) {
            return;
        }
        offset = (gsize)done * KSM_PAGE_BYTES;
        /*
         * The staging mapping replaces the place, with its content, in one
         * step under the kernel's mmap lock; what it replaces is a hole.  A
         * page whose memory has failed meanwhile (EFAULT) is moved in this way
         * by itself.
         */
        n = error == -EFAULT ? 1 : count - done;
        if (error != -EAGAIN &&
            !ksm_sys->remap_onto(staging + offset, (gsize)n * KSM_PAGE_BYTES,
                                 addr + offset)) {
            done += n;
            if (done == count) {
                return;
            }
            continue;
        }
        if (tries > 0) {
            g_usleep(1000);
        }
    }
    g_error("guest-ksm: could not put %u pages back at %p: %s; aborting, "
            "because the guest cannot continue without them",
            count - done, (void *)addr, g_strerror(-error));
}

static KsmVerdict verdict_of(int error)
{
    switch (error) {
    case -EBUSY:
        return KSM_VERDICT_PINNED;
    case -ENOENT:
        return KSM_VERDICT_HOLE;
    case -EAGAIN:
        return KSM_VERDICT_CHANGED;
    default:
        return KSM_VERDICT_ERROR;
    }
}

static void count_window(KsmIsolation *q, guint64 start_ns)
{
    guint64 ns = ksm_sys_now_ns() - start_ns;
    guint64 us = ns / 1000;
    guint bucket = us ? (guint)g_bit_storage(us) - 1 : 0;

    q->windows++;
    q->window_ns_total += ns;
    q->window_ns_max = MAX(q->window_ns_max, ns);
    q->window_us_histogram[MIN(bucket, KSM_STATS_WINDOW_BUCKETS - 1)]++;
}

/*
 * Removes MISSING from pages that stay (or were moved back, or became holes)
 * and wakes the threads that wait there.  UFFDIO_UNREGISTER also wakes them,
 * but does so before it locks the mapping against faults: a thread that is
 * just about to wait would sleep forever (observed on Linux 6.18 with faults
 * under the per-VMA lock), hence the second wake.  The pages' written bits are
 * lost: they count as written, which is safe.
 *
 * It fails if a mapping would have to be split and no more mappings are
 * available (vm.max_map_count was lowered).  Removing it from the whole region
 * needs no split, and registration turns tracking on again.
 */
static void release_range(KsmIsolation *q, KsmRegion *region, guint8 *addr,
                          guint32 count)
{
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;
    gsize all = (gsize)region->pages * KSM_PAGE_BYTES;
    guint tries;

    for (tries = 0; tries < KSM_RESTORE_TRIES; tries++) {
        if (!ksm_sys->uffd_unregister(q->uffd, addr, bytes)) {
            ksm_sys->uffd_wake(q->uffd, addr, bytes);
            return;
        }
        if (!ksm_sys->uffd_unregister(q->uffd, region->addr, all)) {
            ksm_sys->uffd_wake(q->uffd, addr, bytes);
            ksm_ram_needs_register(region, 0, region->pages);
            return;
        }
        g_usleep(1000);
    }
    g_error("guest-ksm: could not unregister %u pages at %p; aborting, "
            "because the guest would wait forever",
            count, (void *)addr);
}

/*
 * Steps 1 and 2; *moved is the number of pages now in staging.  FALSE if the
 * pages could not even be registered: nothing has happened then.
 */
static gboolean isolate(KsmIsolation *q, KsmRegion *region, guint8 *addr,
                        guint8 *staging, guint32 count, guint32 *moved,
                        KsmVerdict *verdict)
{
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;
    int error;

    *verdict = KSM_VERDICT_ERROR;
    *moved = 0;
    if (!staging) {
        return FALSE;
    }
    error = ksm_sys->uffd_register(q->uffd, addr, bytes,
                                   UFFDIO_REGISTER_MODE_MISSING |
                                       UFFDIO_REGISTER_MODE_WP);
    if (error) {
        /* It may have registered some of the pages. */
        release_range(q, region, addr, count);
        return FALSE;
    }
    *moved = move_pages(q, staging, addr, count, &error);
    *verdict = *moved < count ? verdict_of(error) : KSM_VERDICT_DONE;
    return TRUE;
}

/* Why an isolated page is moved back. */
static KsmVerdict why_kept(gboolean held, gboolean failed)
{
    return held   ? KSM_VERDICT_DMA :
           failed ? KSM_VERDICT_ERROR :
                    KSM_VERDICT_CHANGED;
}

/* Puts back the moved pages from `first` on, which are not replaced. */
static void restore_from(KsmIsolation *q, guint8 *addr, guint8 *staging,
                         guint32 first, guint32 moved)
{
    gsize at = (gsize)first * KSM_PAGE_BYTES;

    if (first < moved) {
        restore_pages(q, addr + at, staging + at, moved - first);
    }
}

/* The replacement that a window maps. */
typedef struct Replacement {
    KsmExchange way;
    const guint8 *content; /* NULL: zeros */
    int store_fd;          /* the store that `content` was read from */
    guint64 offset;
} Replacement;

/* Step 4 of sharing. */
static gboolean map_slots(KsmIsolation *q, const Replacement *by, guint8 *addr,
                          guint32 count)
{
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;

    if (ksm_sys->map(addr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, by->store_fd,
                     by->offset, NULL)) {
        return FALSE;
    }
    if (q->merge_any) {
        /* Do it before a write creates a copy there that ksmd could merge. */
        ksm_sys->advise(addr, bytes, MADV_UNMERGEABLE);
    }
    return TRUE;
}

/* A whole window; returns the number of leading pages that were replaced. */
static guint32 run_window(KsmIsolation *q, KsmRegion *region, guint32 first,
                          guint32 count, const Replacement *by,
                          KsmVerdict *verdict)
{
    guint8 *addr = ksm_ram_address(region, first);
    guint8 *staging = take_staging(q, count);
    guint64 start_ns = ksm_sys_now_ns();
    guint32 moved, equal, mapped = 0;
    gboolean held, failed = FALSE;

    ksm_ram_needs_register(region, first, first + count);
    if (!isolate(q, region, addr, staging, count, &moved, verdict)) {
        return 0;
    }
    held = !ksm_writers_allow(&q->writers, by->way, addr, moved);
    equal = held ? 0 :
                   ksm_verify_isolated(&q->verify, staging, by->content, moved,
                                       &failed);
    if (equal < moved) {
        *verdict = why_kept(held, failed);
    }
    if (equal && by->way == KSM_EXCHANGE_SHARE) {
        mapped = map_slots(q, by, addr, equal) ? equal : 0;
        if (!mapped) {
            equal = 0;
            *verdict = KSM_VERDICT_ERROR;
        }
    }
    restore_from(q, addr, staging, equal, moved);
    /* A new mapping is not registered; holes and pages moved back are. */
    if (mapped < count) {
        release_range(q, region, addr + (gsize)mapped * KSM_PAGE_BYTES,
                      count - mapped);
    }
    if (mapped) {
        ksm_sys->uffd_wake(q->uffd, addr, (gsize)mapped * KSM_PAGE_BYTES);
    }
    count_window(q, start_ns);
    return equal;
}

guint32 ksm_isolation_share(KsmIsolation *q, KsmRegion *region, guint32 first,
                            guint32 count, const guint8 *content, int store_fd,
                            guint64 offset, KsmVerdict *verdict)
{
    const Replacement by = {
        .way = KSM_EXCHANGE_SHARE,
        .content = content,
        .store_fd = store_fd,
        .offset = offset,
    };

    return run_window(q, region, first, count, &by, verdict);
}

guint32 ksm_isolation_zero(KsmIsolation *q, KsmRegion *region, guint32 first,
                           guint32 count, KsmVerdict *verdict)
{
    const Replacement by = { .way = KSM_EXCHANGE_ZERO, .store_fd = -1 };

    return run_window(q, region, first, count, &by, verdict);
}
