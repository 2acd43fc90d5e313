/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * discard.c: pages that their owner discards become empty memory at once.
 *
 * MADV_DONTNEED on a page in a store mapping drops the private copy, if there
 * is one, and the slot's content becomes visible again.  An owner that
 * discards memory relies on reading zeros.  So the mapping itself is replaced
 * by empty anonymous memory, which no longer needs the slot.
 *
 * Two threads are involved: the owner's, which must not wait for a round, and
 * the scanner, to which the states belong.  So the owner's thread only changes
 * what is mapped and notes the range; the scanner records it afterwards.
 * Between the two, a page's state says "in the store" although it is not.  Its
 * slot is then referenced for nothing, which is safe, and the tracker cannot
 * report the page, because the new mapping is registered only after it is
 * recorded.
 *
 * place_lock is held by the owner's thread for all it does, and by the scanner
 * around each window and each piece that is given back, until the new state is
 * recorded (ksm_discard_lock()).  Therefore
 *   - no page is in transit when the owner's thread examines it.  Either it is
 *     in its place, and MADV_DONTNEED reaches it, or its state says that it is
 *     in the store, and it is replaced.  The owner's own MADV_DONTNEED, which
 *     may have come in the middle of a window, does not matter;
 *   - a discarded page is recorded before the next window, so before it can be
 *     shared again: what is released then is the slot that it had.
 * Publishing and listing copy content from where it is, just as when the guest
 * may be writing it: anything filed under outdated content fails its
 * verification.
 *
 * If the budget of mappings is used up, zeros are written instead: the pages
 * are then broken, and become zero pages like any others.
 *
 * place_lock comes after the fork lock.  While the owner's thread holds it, it
 * touches no guest memory, waits for no other thread, and is not in any
 * window.
 */
#include "pages/discard.h"

#include <string.h>

#include "core/budget.h"
#include "core/releases.h"
#include "memory/account.h"
#include "memory/page-state.h"
#include "memory/ram.h"
#include "memory/region.h"
#include "pages/waits.h"
#include "page-scan.h"
#include "sys.h"

/* Maximum replaced by one call: up to 3 us for each page in its own mapping. */
#define KSM_EMPTY_PAGES 128u

/* Number of consecutive pages in the store from `first` on, up to `end`. */
static guint32 in_store(const KsmRegion *region, guint32 first, guint32 end)
{
    guint32 page = first;

    while (page < end && ksm_page_in_store(region->state[page])) {
        page++;
    }
    return page - first;
}

static gboolean put_empty(KsmRegion *region, guint32 first, guint8 *addr,
                          gsize bytes)
{
    gsize offset = (gsize)first * KSM_PAGE_BYTES;

    /*
     * A piece of the shadow merges with its neighbours (ram.c).  It is empty,
     * unless a page could not be given back and its copy could not be dropped
     * either (observed with failing calls).
     */
    if (region->shadow &&
        !ksm_sys->advise(region->shadow + offset, bytes, MADV_DONTNEED) &&
        !ksm_sys->remap_onto(region->shadow + offset, bytes, addr)) {
        ksm_ram_advise_anonymous(region, first,
                                 (guint32)(bytes / KSM_PAGE_BYTES));
        return TRUE;
    }
    if (ksm_sys->map(addr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
                     -1, 0, NULL)) {
        return FALSE;
    }
    ksm_sys->advise(addr, bytes, MADV_UNMERGEABLE);
    return TRUE;
}

/*
 * Replaces store mappings by empty memory; FALSE: no mappings are left.  The
 * kernel first removes what is there, and could fail after that: then the call
 * must be repeated until it succeeds.
 */
static gboolean make_empty(KsmRegion *region, guint32 first, guint32 count)
{
    guint8 *addr = ksm_ram_address(region, first);
    gsize bytes = (gsize)count * KSM_PAGE_BYTES;
    guint tries;

    for (tries = 0; tries < KSM_FILL_TRIES; tries++) {
        if (put_empty(region, first, addr, bytes)) {
            return TRUE;
        }
        if (ksm_ram_is_mapped(addr, bytes)) {
            return FALSE;
        }
        g_usleep(KSM_FILL_WAIT_US);
    }
    return FALSE;
}

static void note(KsmRegion *region, guint32 first, guint32 count)
{
    KsmRange range = { .first = first, .count = count };

    g_array_append_val(region->discarded, range);
}

/*
 * Empties a row of store mappings, in pieces, because other threads wait for
 * the mmap lock (piece.c).  The pieces become one mapping.
 */
static gboolean empty_stretch(KsmRegion *region, guint32 first, guint32 count)
{
    while (count) {
        guint32 n = MIN(count, KSM_EMPTY_PAGES);

        if (!make_empty(region, first, n)) {
            return FALSE;
        }
        note(region, first, n);
        first += n;
        count -= n;
    }
    return TRUE;
}

/*
 * Replaces all of the range that is in the store; FALSE: some of it could not
 * be replaced, because a hole in the middle of a mapping takes two more.
 * Candidates are only noted, so that their listings end: others would be
 * directed to content that is gone.  Pages whose memory had failed are only
 * noted as well: they are usable again.
 */
static gboolean replace(KsmEngine *engine, KsmRegion *region, guint32 first,
                        guint32 end)
{
    guint32 page = first;
    gboolean all = TRUE;

    while (page < end) {
        guint32 count = in_store(region, page, end);

        if (!count) {
            if (ksm_page_state(region->state[page]) == KSM_PAGE_CANDIDATE ||
                (region->state[page] & KSM_PAGE_HWPOISON)) {
                note(region, page, 1);
            }
            page++;
            continue;
        }
        if (engine->budget.spare >= 2 && ksm_budget_claim(engine, 2) &&
            empty_stretch(region, page, count)) {
            engine->budget.spare -= 2;
        } else {
            all = FALSE;
        }
        page += count;
    }
    return all;
}

/* For pages that could not be replaced: writes zeros to private copies. */
static void clear(guint8 *addr, guint64 bytes)
{
    guint64 offset;

    for (offset = 0; offset < bytes; offset += KSM_PAGE_BYTES) {
        gboolean failed;

        /* Memory that failed keeps failing for any thread that reads it. */
        if (!ksm_read_zeros(addr + offset, 1, &failed) && !failed) {
            memset(addr + offset, 0, KSM_PAGE_BYTES);
        }
    }
}

/* Whether offset and bytes describe a range of the region's pages. */
static gboolean is_range(const KsmRegion *region, guint64 offset, guint64 bytes)
{
    guint64 size = (guint64)region->pages * KSM_PAGE_BYTES;

    g_return_val_if_fail(offset <= size && bytes <= size - offset, FALSE);
    g_return_val_if_fail(offset % KSM_PAGE_BYTES == 0 &&
                             bytes % KSM_PAGE_BYTES == 0,
                         FALSE);
    return bytes > 0;
}

void ksm_region_discard(KsmRegion *region, guint64 offset, guint64 bytes)
{
    KsmEngine *engine = region->engine;
    guint32 first = (guint32)(offset / KSM_PAGE_BYTES);
    guint32 end = first + (guint32)(bytes / KSM_PAGE_BYTES);
    gboolean empty;

    if (!is_range(region, offset, bytes)) {
        return;
    }
    g_mutex_lock(&engine->place_lock);
    empty = !ksm_sys->advise(region->addr + offset, bytes, MADV_DONTNEED);
    empty = replace(engine, region, first, end) && empty;
    g_mutex_unlock(&engine->place_lock);
    if (!empty) {
        clear(region->addr + offset, bytes);
    }
}

/*
 * Maps the range again, to make it like the pages around it: empty, with the
 * region's advice, and of the shadow's anon_vma if there is a shadow.  If that
 * fails, the pages are still usable, but in a mapping of their own.  The
 * earlier pages are recorded as discarded; registering turns write tracking on
 * again.
 */
void ksm_region_remapped(KsmRegion *region, guint64 offset, guint64 bytes)
{
    KsmEngine *engine = region->engine;
    guint32 first = (guint32)(offset / KSM_PAGE_BYTES);
    guint32 count = (guint32)(bytes / KSM_PAGE_BYTES);

    if (!is_range(region, offset, bytes)) {
        return;
    }
    g_mutex_lock(&engine->place_lock);
    if (!make_empty(region, first, count)) {
        ksm_ram_advise(region, first, first + count);
        ksm_sys->advise(ksm_ram_address(region, first), bytes,
                        MADV_UNMERGEABLE);
    }
    note(region, first, count);
    g_mutex_unlock(&engine->place_lock);
}

static void record_discarded(KsmEngine *engine, KsmRegion *region, guint32 page)
{
    guint8 word = region->state[page];

    if (!(word & KSM_PAGE_ORPHANED)) {
        ksm_releases_add(engine, region, page);
    }
    if (ksm_page_state(word) == KSM_PAGE_SHARED) {
        ksm_ram_set_state(region, page, KSM_PAGE_UNTOUCHED);
    } else {
        /* It was found written: before it was discarded, or very soon after. */
        ksm_ram_set_state(region, page, KSM_PAGE_PRIVATE);
        ksm_waits_anew(engine, region, page);
    }
}

static void record_discarded_range(KsmEngine *engine, KsmRegion *region,
                                   const KsmRange *range)
{
    guint32 first = range->first, end = first + range->count, page;
    KsmAccountChange change = ksm_account_begin(region, first, end);

    for (page = first; page < end; page++) {
        if (ksm_page_in_store(region->state[page])) {
            record_discarded(engine, region, page);
            continue;
        }
        if (ksm_page_state(region->state[page]) == KSM_PAGE_CANDIDATE) {
            ksm_releases_withdraw(engine, region, page);
            ksm_ram_set_state(region, page, KSM_PAGE_UNTOUCHED);
        } else if (region->state[page] & KSM_PAGE_HWPOISON) {
            ksm_ram_set_state(region, page, KSM_PAGE_UNTOUCHED);
        }
    }
    ksm_account_end(region, &change);
    ksm_ram_needs_register(region, first, end);
}

static gboolean flush_locked(KsmEngine *engine)
{
    gboolean any = FALSE;
    guint i, j;

    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);

        for (j = 0; j < region->discarded->len; j++) {
            record_discarded_range(engine, region,
                                   &g_array_index(region->discarded, KsmRange,
                                                  j));
            any = TRUE;
        }
        g_array_set_size(region->discarded, 0);
    }
    return any;
}

void ksm_discard_lock(KsmEngine *engine)
{
    g_mutex_lock(&engine->place_lock);
    flush_locked(engine);
}

/* Discarding takes from it; recording the discard corrects the count. */
static void count_spare(KsmEngine *engine)
{
    engine->budget.spare = (gint64)engine->budget.allowed -
                           (gint64)ksm_budget_used(engine);
    ksm_budget_tell(engine);
}

void ksm_discard_unlock(KsmEngine *engine)
{
    count_spare(engine);
    g_mutex_unlock(&engine->place_lock);
}

gboolean ksm_discard_flush(KsmEngine *engine)
{
    gboolean any;

    g_mutex_lock(&engine->place_lock);
    any = flush_locked(engine);
    count_spare(engine);
    g_mutex_unlock(&engine->place_lock);
    return any;
}

gboolean ksm_discard_still(const KsmRegion *region, guint32 first,
                           guint32 count, KsmPageState state)
{
    guint32 page = first;

    while (page < first + count &&
           ksm_page_state(region->state[page]) == state) {
        page++;
    }
    return page == first + count;
}
