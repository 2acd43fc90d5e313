/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * giveback.c: store mappings become anonymous memory again, in place.
 *
 * Shared pages when the run mode is `unmerge`, and those in a store that no
 * broker has any more; broken ones all the time, so that a page that was written
 * can be shared anew and its slot can go.
 *
 * For a piece of adjacent pages, all shared or all broken:
 *   1. copy them to the same place in the shadow.  This allocates and faults
 *      in; nothing is held up yet;
 *   2. take the tracker's registration off, register with a second, synchronous
 *      userfaultfd, write-protect: from here on a writer sleeps, CPU or kernel
 *      (read(2), a new DMA mapping: both fault for writing first);
 *   3. shared: ask pagemap whether every page still is the store's own.  If so
 *      nobody has ever written it, and the copy of step 1 is its content,
 *      because a slot never changes while it is bound.
 *      broken: ask who else may write (writers.c).  If nobody, nobody will before
 *      step 5: copy once more.  Otherwise leave the piece alone;
 *   4. move the shadow's page tables onto the pages: one step under the mmap
 *      lock, which readers see as the same content before and after;
 *   5. wake the writers; they fault into anonymous memory.
 * Why no write is lost: it comes before 2, and is in the copy of step 3 (or
 * makes the page broken, which step 3 finds), or it waits until 5.  For devices
 * writers.c has the argument.
 * A DMA that only reads holds the old page, whose content is the same.
 *
 * The second userfaultfd stays open, with nothing registered between pieces:
 * closing it walks all mappings (2 ms for 60,000).  Should a piece not come off
 * it again, the protection is taken off, so that nobody waits, and closing does
 * the rest: end_protection().
 *
 * Nothing is discarded meanwhile (discard.h), as that takes from the shadow, too.
 *
 * A page whose memory failed cannot be copied: it stays, with the others of its
 * piece; these go without it the next time (hwpoison.c).
 *
 * Without a shadow (KSM_REGION_FRESH not given) shared pages are broken
 * instead: MADV_POPULATE_WRITE does to each what a write would, changing nothing.
 * The same where the mapping budget is used up: what is given back in the
 * middle of a store mapping splits it.  Broken pages then stay.
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
#include "page-scan.h"
#include "pages/waits.h"
#include "sys.h"

/* Until a page that a device held is tried again. */
#define KSM_HELD_ROUNDS 4u

/* Lost pages given back in a round: 16 MiB, for which there must be memory. */
#define KSM_ORPHANED_PAGES 4096u

#define KSM_GIVEBACK_FEATURES (UFFD_FEATURE_PAGEFAULT_FLAG_WP |              \
                               UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

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

/* For this pass; FALSE, and counted, when it cannot be had. */
static gboolean can_protect(KsmEngine *engine)
{
    if (ksm_giveback_open(engine)) {
        return TRUE;
    }
    engine->stats.counters.refused_error++;
    return FALSE;
}

static gboolean copy_to_shadow(KsmRegion *region, guint32 first,
                               guint32 count)
{
    gsize offset = (gsize)first * KSM_PAGE_BYTES;

    return ksm_read_copy(region->shadow + offset, region->addr + offset,
                         (gsize)count * KSM_PAGE_BYTES);
}

/* Step 3; TRUE when the shadow holds what the pages hold, and will. */
static gboolean shadow_is_true(KsmEngine *engine, KsmRegion *region,
                               guint32 first, guint32 count, gboolean *read)
{
    const guint8 *addr = ksm_ram_address(region, first);

    if (ksm_page_state(region->state[first]) == KSM_PAGE_SHARED) {
        return ksm_tracker_all_file(&engine->tracker, region, first, count);
    }
    if (!ksm_writers_allow(&engine->isolation.writers, KSM_EXCHANGE_COPY,
                           addr, count)) {
        engine->stats.counters.refused_dma += count;
        return FALSE;
    }
    *read = copy_to_shadow(region, first, count);
    return *read;
}

/*
 * Step 4.  The kernel removes what is there before it moves the shadow, and
 * could fail between the two (a limit lowered just then).  The content is in the
 * shadow alone then, so it is tried until it is in its place.
 */
static gboolean move_shadow(KsmRegion *region, guint32 first, guint8 *addr,
                            gsize bytes)
{
    guint tries;
    int ret;

    for (tries = 0; tries < KSM_FILL_TRIES; tries++) {
        ret = ksm_sys->remap_onto(region->shadow +
                                  (gsize)first * KSM_PAGE_BYTES, bytes, addr);
        if (!ret) {
            return TRUE;
        }
        if (ksm_ram_is_mapped(addr, bytes)) {
            return FALSE;
        }
        g_usleep(KSM_FILL_WAIT_US);
    }
    g_error("guest-ksm: %" G_GSIZE_FORMAT " bytes at %p could not be put back: "
            "%s; ending the process, as its guest cannot run on without them",
            bytes, (void *)addr, g_strerror(-ret));
}

/*
 * What was protected can be written again, and those who waited go on.  Taking
 * part of a mapping off fails where that would have to be split and there may
 * be no more of them; lifting the protection splits nothing, nor does closing
 * the descriptor, which takes all that is left off.
 */
static void end_protection(KsmEngine *engine, guint8 *addr, gsize bytes)
{
    gboolean off = !ksm_sys->uffd_unregister(engine->sync_uffd, addr, bytes);

    if (!off) {
        ksm_sys->uffd_protect(engine->sync_uffd, addr, bytes, false);
    }
    /* Unregistering wakes only those who wait for a missing page. */
    ksm_sys->uffd_wake(engine->sync_uffd, addr, bytes);
    if (!off) {
        ksm_giveback_close(engine);
    }
}

/* Steps 2 to 5; TRUE when the pages are anonymous now. */
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
        /* The new mapping is not registered: only waiters are left. */
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
    KsmAccountChange change = ksm_account_begin(region, first,
                                                first + count);
    guint32 i;

    for (i = first; i < first + count; i++) {
        if (!(region->state[i] & KSM_PAGE_ORPHANED)) {
            ksm_releases_add(engine, region, i);
        }
        ksm_ram_set_state(region, i, KSM_PAGE_PRIVATE);
        region->wait[i] = 2;
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
    /* The budget again: what was discarded lately may have taken the room. */
    if (ksm_discard_still(region, first, count, state) &&
        ksm_budget_allows(engine, KSM_BUDGET_LONG, 2) &&
        can_protect(engine)) {
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

static gboolean break_pages(KsmEngine *engine, KsmRegion *region,
                            guint32 first, guint32 count)
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
 * Shared pages in a row from `first` on that can be read, at most a window's
 * worth; with `marks`, those that have one of them only.
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

/* A piece; where it fails as a whole, page by page (one may be broken). */
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

/* A piece of what is not to be shared any more, at whatever cost. */
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
        guint32 n = MIN(stretch(region, page, 0),
                        first + count - page);

        if (n && ksm_budget_allows(engine, n, 2)) {
            give_back_piece(engine, region, page, n);
        }
        page += MAX(n, 1);
    }
    ksm_register_pending(engine);
}

/* Whether a broken page's rest is over; counts it down otherwise. */
static gboolean backoff_is_over(KsmEngine *engine, KsmRegion *region, guint32 page)
{
    return ksm_page_state(region->state[page]) == KSM_PAGE_BROKEN &&
           ksm_waits_over(engine, region, page);
}

/* Some broken pages in a row; held back by a device, they rest again. */
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
    }
}

/*
 * Looked at before each piece, not only for the writers' sake: a thread of the
 * program that suspends the engine may hold QEMU's big lock, and waits.
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

/* Those of a region, at most `most` pages; returns how many it tried. */
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
            /* else they stay: breaking them would take memory for nothing */
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

    for (i = 0; i < engine->ram.regions->len && tried < KSM_ORPHANED_PAGES; i++) {
        tried += give_back_orphaned(engine,
                                g_ptr_array_index(engine->ram.regions, i),
                                KSM_ORPHANED_PAGES - tried);
    }
    engine->lost = tried > 0;
    ksm_register_pending(engine);
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
    return all;
}
