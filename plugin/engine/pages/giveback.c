/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * giveback.c: store mappings become anonymous memory again, in place.
 *
 * Shared pages are given back in run mode `unmerge`, and if their store no
 * longer belongs to any broker.  Broken pages are given back all the time, so
 * that a page that was written can be shared again and its slot released.
 *
 * For a piece of adjacent pages, all shared or all broken:
 *   1. Copy them to the same place in the shadow.  This allocates and faults in
 *      memory; nothing is blocked yet.
 *   2. Remove the tracker's registration, register with a second, synchronous
 *      userfaultfd, and write-protect.  From now on a writer blocks, whether
 *      CPU or kernel (read(2), a new DMA mapping: both fault for writing
 *      first).
 *   3. Shared: ask pagemap whether every page is still the store's own.  If so,
 *      it was never written, and the copy of step 1 is its content, because a
 *      slot never changes while it is bound.
 *      Broken: ask what else may write (writers.c).  If nothing may, nothing
 *      can before step 5: copy once more.  Otherwise leave the piece alone.
 *   4. Move the shadow's page tables onto the pages: one step under the mmap
 *      lock; readers see the same content before and after.
 *   5. Wake the writers; they fault into anonymous memory.
 * Why no write is lost: a write comes before step 2, and is in the copy of
 * step 3 (or makes the page broken, which step 3 finds), or it blocks until
 * step 5.  For devices, see the argument in writers.c.  A DMA that only reads
 * keeps the old page, whose content is the same.
 *
 * The second userfaultfd stays open, with nothing registered between pieces:
 * closing it walks all mappings (2 ms for 60,000).  If a piece cannot be
 * unregistered from it again, the protection is removed, so that no thread
 * waits, and closing does the rest: end_protection().
 *
 * Nothing is discarded meanwhile (discard.h), because discarding also takes
 * from the shadow.
 *
 * A page whose memory failed cannot be copied: it stays, with the others of
 * its piece; the next attempt for the others leaves it out (hwpoison.c).
 *
 * Without a shadow (KSM_REGION_FRESH not given), shared pages are broken
 * instead: MADV_POPULATE_WRITE has the effect of a write to each page that
 * changes nothing.  The same happens if the mapping budget is used up, because
 * giving back pages in the middle of a store mapping splits it.  Broken pages
 * then stay.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "pages/giveback.h"

#include <unistd.h>

#include "core/budget.h"
#include "core/pace.h"
#include "core/releases.h"
#include "memory/account.h"
#include "memory/fork-guard.h"
#include "memory/page-state.h"
#include "memory/ram.h"
#include "memory/region.h"
#include "memory/tracker.h"
#include "memory/writers.h"
#include "pages/discard.h"
#include "pages/hwpoison.h"
#include "pages/merge.h"
#include "pages/waits.h"
#include "page-scan.h"
#include "sys.h"

/* Rounds until a page that was in use for DMA is tried again. */
#define KSM_HELD_ROUNDS 4u

/* Orphaned pages given back in a round: 16 MiB, which takes free memory. */
#define KSM_ORPHANED_PAGES 4096u

#define KSM_GIVEBACK_FEATURES \
    (UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

gboolean ksm_giveback_open(KsmEngine *engine)
{
    int fd = -1;

    if (engine->sync_uffd >= 0) {
        return TRUE;
    }
    if (ksm_sys->uffd_open(&fd)) {
        return FALSE;
    }
    if (ksm_sys->uffd_api(fd, KSM_GIVEBACK_FEATURES)) {
        close(fd);
        return FALSE;
    }
    engine->sync_uffd = fd;
    return TRUE;
}

void ksm_giveback_close(KsmEngine *engine)
{
    if (engine->sync_uffd >= 0) {
        close(engine->sync_uffd);
        engine->sync_uffd = -1;
    }
}

/* Opens what this pass needs; FALSE, and counted, if that fails. */
static gboolean can_protect(KsmEngine *engine)
{
    if (ksm_giveback_open(engine)) {
        return TRUE;
    }
    engine->stats.counters.refused_error++;
    return FALSE;
}

static gboolean copy_to_shadow(KsmRegion *region, guint32 first, guint32 count)
{
    gsize offset = (gsize)first * KSM_PAGE_BYTES;

    return ksm_read_copy(region->shadow + offset, region->addr + offset,
                         (gsize)count * KSM_PAGE_BYTES);
}

/* Step 3; TRUE if the shadow has the pages' final content. */
static gboolean shadow_is_true(KsmEngine *engine, KsmRegion *region,
                               guint32 first, guint32 count, gboolean *read)
{
    const guint8 *addr = ksm_ram_address(region, first);

    if (ksm_page_state(region->state[first]) == KSM_PAGE_SHARED) {
        return ksm_tracker_all_file(&engine->tracker, region, first, count);
    }
    if (!ksm_writers_allow(&engine->isolation.writers, KSM_EXCHANGE_COPY, addr,
                           count)) {
        engine->stats.counters.refused_dma += count;
        return FALSE;
    }
    *read = copy_to_shadow(region, first, count);
    return *read;
}

/*
 * Step 4.  The kernel removes what is there before it moves the shadow, and
 * could fail between the two (a limit lowered just then).  The content is then
 * only in the shadow, so the move is retried until it succeeds.
 */
static gboolean move_shadow(KsmRegion *region, guint32 first, guint8 *addr,
                            gsize bytes)
{
    guint tries;
    int ret;

    for (tries = 0; tries < KSM_FILL_TRIES; tries++) {
        ret =
            ksm_sys->remap_onto(region->shadow + (gsize)first * KSM_PAGE_BYTES,
                                bytes, addr);
        if (!ret) {
            return TRUE;
        }
        if (ksm_ram_is_mapped(addr, bytes)) {
            return FALSE;
        }
        g_usleep(KSM_FILL_WAIT_US);
    }
    g_error("guest-ksm: could not put %" G_GSIZE_FORMAT " bytes back at %p: "
            "%s; aborting, because the guest cannot continue without them",
            bytes, (void *)addr, g_strerror(-ret));
}

/*
 * Makes the protected pages writable again and wakes the blocked threads.
 * Unregistering part of a mapping fails if the mapping would have to be split
 * and no more are available.  Removing the protection splits nothing, nor does
 * closing the descriptor, which unregisters everything that is left.
 */
static void end_protection(KsmEngine *engine, guint8 *addr, gsize bytes)
{
    gboolean off = !ksm_sys->uffd_unregister(engine->sync_uffd, addr, bytes);

    if (!off) {
        ksm_sys->uffd_protect(engine->sync_uffd, addr, bytes, false);
    }
    /* Unregistering only wakes threads that wait for a missing page. */
    ksm_sys->uffd_wake(engine->sync_uffd, addr, bytes);
    if (!off) {
        ksm_giveback_close(engine);
    }
}

/* Steps 2 to 5; TRUE if the pages are now anonymous. */
static gboolean exchange(KsmEngine *engine, KsmRegion *region, guint32 first,
                         guint32 count, gboolean *read)
{
    guint8 *addr = ksm_ram_address(region, first);
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;
    gboolean done = FALSE;

    ksm_ram_needs_register(region, first, first + count);
    if (ksm_sys->uffd_unregister(engine->tracker.uffd, addr, bytes)) {
        return FALSE;
    }
    if (!ksm_sys->uffd_register(engine->sync_uffd, addr, bytes,
                                UFFDIO_REGISTER_MODE_WP) &&
        !ksm_sys->uffd_protect(engine->sync_uffd, addr, bytes, true) &&
        shadow_is_true(engine, region, first, count, read)) {
        done = move_shadow(region, first, addr, bytes);
    }
    if (done) {
        /* The new mapping is not registered: only blocked threads are left. */
        ksm_sys->uffd_wake(engine->sync_uffd, addr, bytes);
        ksm_ram_advise_anonymous(region, first, count);
    } else {
        end_protection(engine, addr, bytes);
    }
    return done;
}

static void record_private(KsmEngine *engine, KsmRegion *region, guint32 first,
                           guint32 count)
{
    KsmAccountChange change = ksm_account_begin(region, first, first + count);
    guint32 i;

    for (i = first; i < first + count; i++) {
        if (!(region->state[i] & KSM_PAGE_ORPHANED)) {
            ksm_releases_add(engine, region, i);
        }
        ksm_ram_set_state(region, i, KSM_PAGE_PRIVATE);
        ksm_waits_anew(engine, region, i);
    }
    ksm_account_end(region, &change);
}

static gboolean give_back(KsmEngine *engine, KsmRegion *region, guint32 first,
                          guint32 count)
{
    KsmPageState state = ksm_page_state(region->state[first]);
    gsize offset = (gsize)first * KSM_PAGE_BYTES;
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;
    gboolean done = FALSE, read = TRUE;

    ksm_pace_before_window(engine);
    ksm_fork_guard_lock();
    ksm_discard_lock(engine);
    /* Check the budget again: recent discards may have used it up. */
    if (ksm_discard_still(region, first, count, state) &&
        ksm_budget_allows(engine, KSM_BUDGET_LONG, 2) && can_protect(engine)) {
        read = copy_to_shadow(region, first, count);
        done = read && exchange(engine, region, first, count, &read);
        if (done) {
            record_private(engine, region, first, count);
        } else {
            ksm_sys->advise(region->shadow + offset, bytes, MADV_DONTNEED);
        }
    }
    ksm_discard_unlock(engine);
    ksm_fork_guard_unlock();
    if (!read) {
        ksm_hwpoison_probe(engine, region, first, count);
    }
    return done;
}

static gboolean break_pages(KsmEngine *engine, KsmRegion *region, guint32 first,
                            guint32 count)
{
    guint32 i;

    if (ksm_sys->advise(ksm_ram_address(region, first),
                        (gsize)count * KSM_PAGE_BYTES, MADV_POPULATE_WRITE)) {
        ksm_hwpoison_probe(engine, region, first, count);
        return FALSE;
    }
    for (i = first; i < first + count; i++) {
        guint8 lost = region->state[i] & KSM_PAGE_ORPHANED;

        ksm_ram_set_state(region, i, KSM_PAGE_BROKEN);
        region->state[i] |= lost;
    }
    return TRUE;
}

/*
 * Number of consecutive shared pages from `first` on that can be read, at most
 * a window; with `marks`, only pages that have one of these marks.
 */
static guint32 stretch(const KsmRegion *region, guint32 first, guint8 marks)
{
    guint32 n = 0;

    while (n < KSM_WINDOW_PAGES && first + n < region->pages &&
           ksm_page_state(region->state[first + n]) == KSM_PAGE_SHARED &&
           !(region->state[first + n] & KSM_PAGE_HWPOISON) &&
           (!marks || (region->state[first + n] & marks))) {
        n++;
    }
    return n;
}

/* Gives back a piece; if it fails as a whole, page by page. */
static gboolean give_back_piece(KsmEngine *engine, KsmRegion *region,
                                guint32 first, guint32 count)
{
    gboolean all = TRUE;
    guint32 i;

    if (give_back(engine, region, first, count)) {
        return TRUE;
    }
    for (i = 0; i < count; i++) {
        all = give_back(engine, region, first + i, 1) && all;
    }
    return all;
}

/* Gives back a piece that must not stay shared, at any cost in mappings. */
static gboolean unshare_piece(KsmEngine *engine, KsmRegion *region,
                              guint32 first, guint32 count)
{
    return region->shadow && ksm_budget_allows(engine, count, 2) ?
               give_back_piece(engine, region, first, count) :
               break_pages(engine, region, first, count);
}

static gboolean give_back_shared(KsmEngine *engine, KsmRegion *region)
{
    gboolean all = TRUE;
    guint32 page = 0;

    while (page < region->pages && all) {
        guint32 count = stretch(region, page, 0);

        if (!count) {
            page++;
            continue;
        }
        all = !ksm_pace_interrupted(engine) &&
              unshare_piece(engine, region, page, count);
        page += count;
        ksm_pace_safe_point(engine);
    }
    return all;
}

void ksm_giveback_range(KsmEngine *engine, KsmRegion *region, guint32 first,
                        guint32 count)
{
    guint32 page = first;

    while (region->shadow && page < first + count &&
           !ksm_pace_interrupted(engine)) {
        guint32 n = MIN(stretch(region, page, 0), first + count - page);

        if (n && ksm_budget_allows(engine, n, 2)) {
            give_back_piece(engine, region, page, n);
        }
        page += MAX(n, 1);
    }
    ksm_register_pending(engine);
}

/* Whether a broken page's back-off is over; else counts it down. */
static gboolean backoff_is_over(KsmEngine *engine, KsmRegion *region,
                                guint32 page)
{
    return ksm_page_state(region->state[page]) == KSM_PAGE_BROKEN &&
           ksm_waits_over(engine, region, page);
}

/* Gives back broken pages in a row; if a device may write, backs off again. */
static void give_back_broken(KsmEngine *engine, KsmRegion *region,
                             guint32 first, guint32 count)
{
    guint32 i;

    if (ksm_budget_allows(engine, count, 2) &&
        give_back(engine, region, first, count)) {
        engine->stats.counters.given_back += count;
        return;
    }
    for (i = first; i < first + count; i++) {
        region->wait[i] = KSM_HELD_ROUNDS;
        ksm_due_note_waiting(engine, KSM_HELD_ROUNDS);
    }
}

/*
 * Checks for interruption before each piece, not only because of writers: a
 * thread of the program that suspends the engine may hold QEMU's big lock
 * while it waits.
 */
void ksm_giveback_broken(KsmEngine *engine, KsmRegion *region)
{
    guint32 page, count = 0;

    if (!ksm_writers_known(&engine->isolation.writers) || !region->shadow ||
        !region->counts[KSM_PAGE_BROKEN]) {
        return;
    }
    for (page = 0; page <= region->pages; page++) {
        if (page < region->pages && count < KSM_WINDOW_PAGES &&
            backoff_is_over(engine, region, page)) {
            count++;
        } else if (count) {
            if (ksm_pace_interrupted(engine)) {
                break;
            }
            give_back_broken(engine, region, page - count, count);
            count = 0;
            ksm_pace_safe_point(engine);
        }
    }
    ksm_register_pending(engine);
}

/* Gives back at most `most` pages of a region; returns how many it tried. */
static guint32 give_back_orphaned(KsmEngine *engine, KsmRegion *region,
                                  guint32 most)
{
    guint32 page = 0, tried = 0;

    while (page < region->pages && tried < most) {
        guint32 count = stretch(region, page, KSM_PAGE_ORPHANED);

        if (count) {
            if (!region->shadow || ksm_pace_interrupted(engine)) {
                return MAX(tried, 1);
            }
            /* otherwise they stay: breaking them would only take memory */
            if (ksm_budget_allows(engine, count, 2)) {
                give_back_piece(engine, region, page, count);
            }
            tried += count;
            ksm_pace_safe_point(engine);
        }
        page += MAX(count, 1);
    }
    return tried;
}

void ksm_giveback_orphaned(KsmEngine *engine)
{
    guint32 tried = 0;
    guint i;

    for (i = 0; i < engine->ram.regions->len && tried < KSM_ORPHANED_PAGES;
         i++) {
        tried += give_back_orphaned(engine,
                                    g_ptr_array_index(engine->ram.regions, i),
                                    KSM_ORPHANED_PAGES - tried);
    }
    engine->lost = tried > 0;
    ksm_register_pending(engine);
}

/* Whether broken pages are left that can be given back later. */
static gboolean has_broken(KsmEngine *engine, const KsmRegion *region)
{
    guint32 page;

    if (!ksm_writers_known(&engine->isolation.writers) || !region->shadow ||
        !region->counts[KSM_PAGE_BROKEN]) {
        return FALSE;
    }
    for (page = 0; page < region->pages; page++) {
        if (ksm_page_state(region->state[page]) == KSM_PAGE_BROKEN &&
            !(region->state[page] & KSM_PAGE_HWPOISON)) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean ksm_giveback_region(KsmEngine *engine, KsmRegion *region)
{
    gboolean all = give_back_shared(engine, region);
    guint32 page;

    ksm_register_pending(engine);
    for (page = 0; page < region->pages; page++) {
        if (ksm_page_state(region->state[page]) == KSM_PAGE_BROKEN) {
            region->wait[page] = 1;
        }
    }
    ksm_giveback_broken(engine, region);
    return all && !has_broken(engine, region);
}
