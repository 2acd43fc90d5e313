/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * giveback.c: shared pages become anonymous, in place.
 *
 * For a piece of adjacent shared pages:
 *   1. copy them to the same place in the shadow (this allocates; nothing is
 *      held up yet);
 *   2. take the tracker's registration off, register with a second, synchronous
 *      userfaultfd, write-protect: from here on a writer sleeps, CPU or kernel
 *      (read(2), a new DMA mapping: both fault for writing first);
 *   3. ask pagemap whether every page still is the store's own.  If so nobody
 *      has ever written it, and the copy of step 1 is its content, because a
 *      slot never changes while it is bound.  If not, leave the piece alone;
 *   4. move the shadow's page tables onto the pages: one step under the mmap
 *      lock, which readers see as the same content before and after;
 *   5. wake the writers; they fault into anonymous memory.
 * A DMA that only reads holds the store's page, whose content is the same.  A
 * DMA that writes has broken the page before it began, so step 3 finds it.
 *
 * Without a shadow (KSM_REGION_FRESH not given) the pages are broken instead:
 * MADV_POPULATE_WRITE does to each what a write would, changing nothing.  The
 * same where the mapping budget is used up: broken pages stay in the store's
 * mappings, so what is given back between two of them splits one.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "giveback.h"

#include <string.h>
#include <unistd.h>

#include "budget.h"
#include "fork-guard.h"
#include "merge.h"
#include "pace.h"
#include "sys.h"

#define KSM_GIVEBACK_FEATURES (UFFD_FEATURE_PAGEFAULT_FLAG_WP |              \
                               UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

static int open_sync_uffd(int *fd)
{
    int ret = ksm_sys->uffd_open(fd);

    if (!ret) {
        ret = ksm_sys->uffd_api(*fd, KSM_GIVEBACK_FEATURES);
        if (ret) {
            close(*fd);
        }
    }
    return ret;
}

/* Steps 2 to 5; TRUE when the pages are anonymous now. */
static gboolean exchange(KsmEngine *engine, KsmRegion *region, int sync_uffd,
                         guint32 first, guint32 count)
{
    guint8 *addr = ksm_ram_address(region, first);
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;
    gboolean done = FALSE;

    ksm_ram_unsettle(region, first, first + count);
    if (ksm_sys->uffd_unregister(engine->tracker.uffd, addr, bytes)) {
        return FALSE;
    }
    if (!ksm_sys->uffd_register(sync_uffd, addr, bytes,
                                UFFDIO_REGISTER_MODE_WP) &&
        !ksm_sys->uffd_protect(sync_uffd, addr, bytes, true) &&
        ksm_tracker_all_file(&engine->tracker, region, first, count)) {
        done = !ksm_sys->remap_onto(region->shadow +
                                    (gsize)first * KSM_PAGE_BYTES,
                                    bytes, addr);
    }
    if (!done) {
        ksm_sys->uffd_unregister(sync_uffd, addr, bytes);
    }
    /* Unregistering wakes only those who wait for a missing page. */
    ksm_sys->uffd_wake(sync_uffd, addr, bytes);
    return done;
}

static void enter_private(KsmEngine *engine, KsmRegion *region, guint32 first,
                          guint32 count)
{
    guint32 before, after, stores_before, stores_after, i;

    before = ksm_budget_borders(region, first, first + count, &stores_before);
    for (i = first; i < first + count; i++) {
        if (!(region->state[i] & KSM_PAGE_LOST)) {
            ksm_ranges_add(engine->released, region->base + i);
        }
        ksm_ram_set_state(region, i, KSM_PAGE_PRIVATE);
        region->wait[i] = 2;
    }
    after = ksm_budget_borders(region, first, first + count, &stores_after);
    region->mappings += (guint64)after - before;
    region->store_mappings += (guint64)stores_after - stores_before;
}

static gboolean give_back(KsmEngine *engine, KsmRegion *region, int sync_uffd,
                          guint32 first, guint32 count)
{
    gsize offset = (gsize)first * KSM_PAGE_BYTES;
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;
    gboolean done;

    memcpy(region->shadow + offset, region->addr + offset, bytes);
    ksm_fork_guard_lock();
    done = exchange(engine, region, sync_uffd, first, count);
    ksm_fork_guard_unlock();
    if (done) {
        enter_private(engine, region, first, count);
    } else {
        ksm_sys->advise(region->shadow + offset, bytes, MADV_DONTNEED);
    }
    return done;
}

static gboolean break_pages(KsmRegion *region, guint32 first, guint32 count)
{
    guint32 i;

    if (ksm_sys->advise(ksm_ram_address(region, first),
                        (gsize)count * KSM_PAGE_BYTES, MADV_POPULATE_WRITE)) {
        return FALSE;
    }
    for (i = first; i < first + count; i++) {
        guint8 lost = region->state[i] & KSM_PAGE_LOST;

        ksm_ram_set_state(region, i, KSM_PAGE_BROKEN);
        region->state[i] |= lost;
    }
    return TRUE;
}

/* Shared pages in a row from `first` on, at most a window's worth. */
static guint32 stretch(KsmRegion *region, guint32 first)
{
    guint32 n = 0;

    while (n < KSM_WINDOW_PAGES && first + n < region->pages &&
           ksm_page_state(region->state[first + n]) == KSM_PAGE_SHARED) {
        n++;
    }
    return n;
}

/* A piece; where it fails as a whole, page by page (one may be broken). */
static gboolean give_back_piece(KsmEngine *engine, KsmRegion *region,
                                int sync_uffd, guint32 first, guint32 count)
{
    gboolean all = TRUE;
    guint32 i;

    if (!region->shadow ||
        !ksm_budget_allows(ksm_budget_used(engine), engine->budget, count,
                           2)) {
        return break_pages(region, first, count);
    }
    if (give_back(engine, region, sync_uffd, first, count)) {
        return TRUE;
    }
    for (i = 0; i < count; i++) {
        all = give_back(engine, region, sync_uffd, first + i, 1) && all;
    }
    return all;
}

gboolean ksm_giveback_region(KsmEngine *engine, KsmRegion *region)
{
    gboolean all = TRUE;
    guint32 page = 0;
    int sync_uffd = -1;

    if (!region->counts[KSM_PAGE_SHARED]) {
        return TRUE;
    }
    if (open_sync_uffd(&sync_uffd)) {
        engine->counters.refused_error++;
        return FALSE;
    }
    while (page < region->pages) {
        guint32 count = stretch(region, page);

        if (!count) {
            page++;
            continue;
        }
        if (ksm_pace_interrupted(engine)) {
            all = FALSE;
            break;
        }
        all = give_back_piece(engine, region, sync_uffd, page, count) && all;
        page += count;
        ksm_pace_rest(engine);
    }
    close(sync_uffd);
    ksm_merge_settle(engine);
    return all;
}
