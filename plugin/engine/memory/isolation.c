/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * isolation.c: the only place where a guest page is taken away.
 *
 * Invariant: a page is dropped only after no CPU and no device could reach it,
 * and it was then found byte-equal to what replaces it.
 *
 * A window, for up to KSM_WINDOW_PAGES adjacent pages:
 *   1. register the pages for MISSING faults: whoever touches a hole in them
 *      from now on sleeps in the kernel, also inside KVM_RUN and read(2);
 *   2. UFFDIO_MOVE them to the staging area.  The kernel does it under the page
 *      table lock, page by page, flushes the TLB and calls the MMU notifiers
 *      (so KVM's tables forget it too), and refuses a page with more
 *      references than its mapping (EBUSY: pinned for DMA, or shared by fork);
 *   3. compare staging with the replacement.  Nobody else knows the staging
 *      area, so what is compared is what was there when the guest lost it;
 *   4. equal: map the replacement over the pages (or leave holes and take
 *      MISSING off again: the kernel's zero page serves reads, see zero.c);
 *      different: move them back, take MISSING off;
 *   5. wake the sleepers: they fault again and find the page's place as it is.
 * Why a race cannot lose a write: a write happens either before 2 (then the
 * compare sees it), or it faults after 2 and sleeps until 5, or it faults
 * between 4 and 5 and meets the final mapping, where it is an ordinary
 * copy-on-write.  Between 2 and 4 the place is a hole, and a hole is
 * registered MISSING all that time: nothing can fill it but us.
 *
 * Inside a window nothing can block: no allocation, no lock, no logging, no
 * guest memory access (the scanner would wait for itself).  The replacement
 * was read into memory of this thread just before (merge.c).
 *
 * A crash of the process at any point takes the guest with it: nothing is left
 * to go wrong.  If pages cannot be moved back (a kernel that removed the range
 * when mapping the replacement failed, or a move that fails), the staging
 * mapping itself is moved onto their place, which is atomic; if even that
 * fails for a second, the process is aborted rather than run on without them.
 *
 * Thread: the scanner's only, under the engine's work lock and fork lock.
 */
#include "memory/isolation.h"

#include <errno.h>
#include <string.h>

#include "memory/region.h"
#include "error.h"
#include "sys.h"

#define KSM_MOVE_TRIES      8u
#define KSM_RESTORE_TRIES   1000u

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
                            "Could not make the staging area");
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
 * Room for a window, or NULL; opens a batch of windows, for which it is found
 * out whether the process makes all its memory mergeable (as a service manager
 * may have asked for it, before the program was started).
 */
static guint8 *take_staging(KsmIsolation *q, guint32 count)
{
    if (!q->staging.is_open) {
        q->merge_any = ksm_sys_merges_any();
    }
    return ksm_staging_take(&q->staging, count);
}

/*
 * Pages from `dst` on that are there already.  The destination of a move holds
 * nothing before it, so what is there has been moved.  Not to be told is no
 * answer: it would pass for "none", and pages that are there would be lost.
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
                   (guint32)((range.end - start) / KSM_PAGE_BYTES) : 0;
        }
        if (tries > 0) {
            g_usleep(1000);
        }
    }
    g_error("guest-ksm: nobody tells which of %u pages are at %p: %s; ending "
            "the process, as its guest cannot run on without them", count,
            (void *)dst, g_strerror(-found));
}

/*
 * Moves as many pages as possible, from the first on; *error is what stopped
 * it.  A move that stops part-way answers EAGAIN, whatever the cause: the next
 * one names it.
 *
 * The kernel's count is not believed when there was an error.  Linux 6.18 moves
 * pages in batches, and after a batch that it had to try again it forgets to
 * count the one that succeeds: the next attempt finds the destination taken
 * and answers EEXIST, though the pages are there.  Taken at its word, they
 * would be lost (seen: a page of zeros once in some hours of stress).  So
 * pagemap tells what has arrived.
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
        if (uncounted || (ret == -EAGAIN && (moved ||
                                             ++tries < KSM_MOVE_TRIES))) {
            continue;
        }
        *error = ret;
        break;
    }
    return done;
}

/* Puts pages back where they were; never returns without having done so. */
static void restore_pages(KsmIsolation *q, guint8 *addr, guint8 *staging,
                          guint32 count)
{
    guint32 done = 0, n;
    guint tries;
    int error;

    for (tries = 0; tries < KSM_RESTORE_TRIES; tries++) {
        gsize offset = (gsize)done * KSM_PAGE_BYTES;

        done += move_pages(q, addr + offset, staging + offset,
                           count - done, &error);
        if (done == count) {
            return;
        }
        offset = (gsize)done * KSM_PAGE_BYTES;
        /*
         * The staging mapping takes the place over, content included, in one
         * step under the kernel's mmap lock; what it replaces is a hole.  A
         * page that has failed meanwhile (EFAULT) goes this way alone.
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
    g_error("guest-ksm: %u pages at %p could not be put back: %s; ending the "
            "process, as its guest cannot run on without them",
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
 * Takes MISSING off pages that stay (or went back, or became holes) and wakes
 * who waits there.  UFFDIO_UNREGISTER wakes as well, but before it locks the
 * mapping against faults: a thread that is just about to wait would sleep for
 * ever (seen on Linux 6.18 with faults under the mapping's own lock), hence
 * the second wake.  Their written bits are lost: they count as written, which
 * is safe.
 *
 * It fails where a mapping would have to be split and there may be no more of
 * them (vm.max_map_count was lowered); taking it off all of the region needs
 * no split, and registering puts tracking on again.
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
    g_error("guest-ksm: %u pages at %p could not be unregistered; ending the "
            "process, as its guest would wait for ever", count, (void *)addr);
}

/*
 * Steps 1 and 2; *moved is the number of pages now in staging.  FALSE when the
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
        /* It may have got part of the way. */
        release_range(q, region, addr, count);
        return FALSE;
    }
    *moved = move_pages(q, staging, addr, count, &error);
    *verdict = *moved < count ? verdict_of(error) : KSM_VERDICT_DONE;
    return TRUE;
}

/* Why an isolated page goes back. */
static KsmVerdict why_kept(gboolean held, gboolean failed)
{
    return held ? KSM_VERDICT_DMA :
           failed ? KSM_VERDICT_ERROR : KSM_VERDICT_CHANGED;
}

/* Puts back those of the moved pages that are not to be replaced. */
static void restore_from(KsmIsolation *q, guint8 *addr, guint8 *staging,
                         guint32 first, guint32 moved)
{
    gsize at = (gsize)first * KSM_PAGE_BYTES;

    if (first < moved) {
        restore_pages(q, addr + at, staging + at, moved - first);
    }
}

/* What a window puts in the place of pages. */
typedef struct Replacement {
    KsmExchange way;
    const guint8 *content;      /* NULL: zeros */
    int store_fd;               /* where to share: content lies there */
    guint64 offset;
} Replacement;

/* Step 4 of sharing. */
static gboolean map_slots(KsmIsolation *q, const Replacement *by,
                          guint8 *addr, guint32 count)
{
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;

    if (ksm_sys->map(addr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, by->store_fd,
                     by->offset, NULL)) {
        return FALSE;
    }
    if (q->merge_any) {
        /* Before a write makes a copy there that ksmd could take. */
        ksm_sys->advise(addr, bytes, MADV_UNMERGEABLE);
    }
    return TRUE;
}

/* All of it; returns the pages that were replaced, from the first on. */
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
    equal = held ? 0 : ksm_verify_isolated(&q->verify, staging, by->content,
                                           moved, &failed);
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
    /* A new mapping is not registered; holes and what went back are. */
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

guint32 ksm_isolation_share(KsmIsolation *q, KsmRegion *region,
                             guint32 first, guint32 count,
                             const guint8 *content, int store_fd,
                             guint64 offset, KsmVerdict *verdict)
{
    const Replacement by = {
        .way = KSM_EXCHANGE_SHARE, .content = content, .store_fd = store_fd,
        .offset = offset,
    };

    return run_window(q, region, first, count, &by, verdict);
}

guint32 ksm_isolation_zero(KsmIsolation *q, KsmRegion *region,
                            guint32 first, guint32 count, KsmVerdict *verdict)
{
    const Replacement by = { .way = KSM_EXCHANGE_ZERO, .store_fd = -1 };

    return run_window(q, region, first, count, &by, verdict);
}
