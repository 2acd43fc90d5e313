/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * merge.c: from matches to mappings: runs, longest first, window by window.
 *
 * A run is a row of matches whose pages and slots are both adjacent.  Only the
 * comparison in the window decides (isolation.c, verify.c).  If guests write
 * what is being merged, each piece of a run is also compared with its slots
 * before its window (precheck): a page that differs then costs no window.
 * Otherwise a precheck would find nothing, so it is done only for some pieces
 * after a page has differed.
 *
 * Every match holds a reference (the page is bound at the broker) from before
 * it is mapped until after it no longer is: a page whose merge fails is
 * released only by ksm_releases_add() here, when it is certain that it is not
 * mapped.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "pages/merge.h"

#include <string.h>

#include "core/budget.h"
#include "core/pace.h"
#include "core/releases.h"
#include "core/slots.h"
#include "memory/account.h"
#include "memory/fork-guard.h"
#include "memory/page-state.h"
#include "memory/isolation.h"
#include "memory/ram.h"
#include "memory/region.h"
#include "memory/tracker.h"
#include "memory/verify.h"
#include "memory/writers.h"
#include "pages/discard.h"
#include "pages/hwpoison.h"
#include "page-scan.h"
#include "sys.h"

/* Pieces that are also prechecked, after a page that differed. */
#define KSM_DOUBT_PIECES 256u
/* Maximum windows between two registrations; limits how long fork() waits. */
#define KSM_BATCH_WINDOWS 128u

typedef struct KsmRun {
    guint32 match; /* index of its first match */
    guint32 pages;
} KsmRun;

static gint compare_matches(gconstpointer a, gconstpointer b)
{
    guint32 x = ((const KsmMatch *)a)->page, y = ((const KsmMatch *)b)->page;

    return x < y ? -1 : x > y;
}

/*
 * Sorts by length in powers of two, and by address within one: a batch of
 * windows is then close together, so that registering it walks few mappings.
 */
static gint longer_first(gconstpointer a, gconstpointer b)
{
    const KsmRun *x = a, *y = b;
    guint x_class = g_bit_storage(x->pages), y_class = g_bit_storage(y->pages);

    if (x_class != y_class) {
        return x_class > y_class ? -1 : 1;
    }
    return x->match < y->match ? -1 : x->match > y->match;
}

static GArray *find_runs(KsmEngine *engine)
{
    GArray *runs = g_array_new(FALSE, FALSE, sizeof(KsmRun));
    const KsmMatch *m = (const KsmMatch *)(gpointer)engine->batch.matches->data;
    guint i;

    for (i = 0; i < engine->batch.matches->len; i++) {
        KsmRun *last = runs->len ? &g_array_index(runs, KsmRun, runs->len - 1) :
                                   NULL;

        if (last && m[i].page == m[i - 1].page + 1 &&
            m[i].slot == m[i - 1].slot + 1) {
            last->pages++;
        } else {
            KsmRun run = { .match = i, .pages = 1 };

            g_array_append_val(runs, run);
        }
    }
    g_array_sort(runs, longer_first);
    return runs;
}

/* Keeps the page private for a while and releases its slot. */
static void refuse(KsmEngine *engine, KsmRegion *region, guint32 page,
                   KsmPageState state)
{
    ksm_ram_back_off(region, page, state);
    ksm_releases_add(engine, region, page);
}

/* Leaves a page as it is, because of a window's verdict. */
static void keep(KsmEngine *engine, KsmRegion *region, guint32 page,
                 KsmVerdict verdict)
{
    KsmStats *c = &engine->stats.counters;

    switch (verdict) {
    case KSM_VERDICT_DONE:
    case KSM_VERDICT_CHANGED:
        c->rollbacks++;
        ksm_ram_back_off(region, page, KSM_PAGE_PRIVATE);
        return;
    case KSM_VERDICT_HOLE:
        ksm_ram_set_state(region, page, KSM_PAGE_UNTOUCHED);
        return;
    case KSM_VERDICT_PINNED:
        c->refused_pinned++;
        break;
    case KSM_VERDICT_DMA:
        c->refused_dma++;
        break;
    case KSM_VERDICT_ERROR:
        if (ksm_hwpoison_probe(engine, region, page, 1)) {
            return;
        }
        c->refused_error++;
        break;
    }
    ksm_ram_back_off(region, page, KSM_PAGE_EXCLUDED);
}

static void refuse_by(KsmEngine *engine, KsmRegion *region, guint32 page,
                      KsmVerdict verdict)
{
    keep(engine, region, page, verdict);
    ksm_releases_add(engine, region, page);
}

/* Records pages as shared, and the change in mappings. */
static void record_shared(KsmEngine *engine, KsmRegion *region, guint32 first,
                          guint32 count, guint32 slot)
{
    KsmAccountChange change = ksm_account_begin(region, first, first + count);
    guint32 i;

    for (i = 0; i < count; i++) {
        ksm_ram_set_state(region, first + i, KSM_PAGE_SHARED);
        region->slot[first + i] = slot + i;
        region->wait[first + i] = engine->turn.round;
    }
    ksm_account_end(region, &change);
    engine->stats.counters.merges += count;
}

/*
 * Until it is registered, each window leaves up to two additional mappings,
 * which the budget does not count: a small budget registers more often.
 */
static gboolean register_is_due(KsmEngine *engine)
{
    return engine->isolation.windows - engine->merge.registered_windows >=
           CLAMP(engine->budget.allowed / 50, 1, KSM_BATCH_WINDOWS);
}

void ksm_register_pending(KsmEngine *engine)
{
    guint i;

    engine->merge.registered_windows = engine->isolation.windows;
    ksm_isolation_drop(&engine->isolation);
    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);

        if (ksm_tracker_register(&engine->tracker, region)) {
            engine->stats.counters.refused_error++;
        }
    }
}

/*
 * Reads the slots of a piece, and compares them with its pages if they may
 * differ; a torn read of the pages costs only savings.  Returns the number of
 * leading pages that are worth a window.
 */
static guint32 precheck(KsmEngine *engine, KsmRegion *region, guint32 first,
                        guint32 count, guint64 offset, KsmVerdict *verdict)
{
    KsmVerify *verify = &engine->isolation.verify;
    gboolean failed;
    guint32 equal;

    if (ksm_verify_load(verify, ksm_slots_fd(engine), offset, count)) {
        *verdict = KSM_VERDICT_ERROR;
        return 0;
    }
    if (!engine->merge.precheck_left) {
        return count;
    }
    engine->merge.precheck_left--;
    equal = ksm_read_equal(ksm_ram_address(region, first), verify->content,
                           count, &failed);
    *verdict = failed ? KSM_VERDICT_ERROR : KSM_VERDICT_CHANGED;
    return equal;
}

static void refuse_for_budget(KsmEngine *engine, KsmRegion *region,
                              guint32 first, guint32 count)
{
    guint32 i;

    engine->stats.counters.refused_budget += count;
    for (i = 0; i < count; i++) {
        refuse(engine, region, first + i, KSM_PAGE_EXCLUDED);
    }
    if (!engine->budget.warned) {
        engine->budget.warned = TRUE;
        g_warning("'%s' has used up its budget of %" G_GUINT64_FORMAT
                  " memory mappings: some duplicates stay private; raise "
                  "vm.max_map_count (now %u) or max-mappings to share them",
                  engine->link.name, engine->budget.allowed,
                  ksm_sys_max_map_count());
    }
}

/*
 * Merges one window of a run; returns the number of pages dealt with, at least
 * one.  If the window stops short, the page that stopped it is refused.
 */
static guint32 merge_piece(KsmEngine *engine, KsmRegion *region, guint32 first,
                           guint32 count, guint32 slot)
{
    guint64 offset = (guint64)slot * KSM_PAGE_BYTES;
    KsmVerdict verdict = KSM_VERDICT_CHANGED, doubt;
    guint32 worth, merged = 0;

    if (!ksm_writers_allow(&engine->isolation.writers, KSM_EXCHANGE_SHARE,
                           ksm_ram_address(region, first), count)) {
        for (; merged < count; merged++) {
            refuse_by(engine, region, first + merged, KSM_VERDICT_DMA);
        }
        return count;
    }
    worth = precheck(engine, region, first, count, offset, &verdict);
    if (!worth && verdict == KSM_VERDICT_ERROR && count > 1) {
        /* One of the slots may have failed: do not give up all the pages. */
        return merge_piece(engine, region, first, 1, slot);
    }
    doubt = verdict;
    if (worth) {
        ksm_discard_lock(engine);
        /* Check again: recent discards may have used up the budget. */
        if (!ksm_budget_allows(engine, KSM_BUDGET_LONG,
                               ksm_account_delta(region, first, worth, slot))) {
            ksm_discard_unlock(engine);
            refuse_for_budget(engine, region, first, count);
            return count;
        }
        merged = ksm_isolation_share(&engine->isolation, region, first, worth,
                                     engine->isolation.verify.content,
                                     ksm_slots_fd(engine), offset, &verdict);
        if (merged) {
            record_shared(engine, region, first, merged, slot);
        }
        ksm_discard_unlock(engine);
    }
    if (merged == count) {
        return merged;
    }
    if (worth && merged == worth) {
        verdict = doubt;
    }
    if (verdict == KSM_VERDICT_CHANGED) {
        engine->merge.precheck_left = KSM_DOUBT_PIECES;
    }
    refuse_by(engine, region, first + merged, verdict);
    return merged + 1;
}

/*
 * Whether a match is plausible: a misbehaving broker must not corrupt the
 * engine's bookkeeping.
 */
static gboolean match_valid(KsmEngine *engine, const KsmMatch *match)
{
    guint8 word = engine->batch.region->state[match->page];
    KsmPageState state = ksm_page_state(word);

    return (state == KSM_PAGE_PRIVATE || state == KSM_PAGE_CANDIDATE ||
            state == KSM_PAGE_EXCLUDED) &&
           !(word & KSM_PAGE_HWPOISON) && ksm_slots_have(engine, match->slot);
}

/* Drops implausible matches; keeps the order. */
static void filter_matches(KsmEngine *engine)
{
    KsmMatch *m = (KsmMatch *)(gpointer)engine->batch.matches->data;
    KsmRegion *region = engine->batch.region;
    guint i, kept = 0;

    for (i = 0; i < engine->batch.matches->len; i++) {
        if (kept && m[kept - 1].page == m[i].page) {
            continue;
        }
        if (match_valid(engine, &m[i])) {
            m[kept++] = m[i];
        } else if (!ksm_page_in_store(region->state[m[i].page])) {
            ksm_releases_add(engine, region, m[i].page);
        }
    }
    g_array_set_size(engine->batch.matches, kept);
}

/* Releases matches that there is no time for; they are looked up again. */
static void put_off(KsmEngine *engine, const KsmMatch *match, guint32 count)
{
    guint32 i;

    for (i = 0; i < count; i++) {
        ksm_ram_retry(engine->batch.region, match[i].page);
        ksm_releases_add(engine, engine->batch.region, match[i].page);
    }
}

static void merge_run(KsmEngine *engine, const KsmMatch *match, guint32 pages)
{
    KsmRegion *region = engine->batch.region;
    guint32 done = 0;

    while (done < pages) {
        guint32 first = match[done].page, slot = match[done].slot;
        guint32 count = MIN(pages - done, KSM_WINDOW_PAGES);

        if (ksm_pace_interrupted(engine)) {
            put_off(engine, match + done, pages - done);
            return;
        }
        if (!ksm_budget_allows(engine, pages - done,
                               ksm_account_delta(region, first, count, slot))) {
            refuse_for_budget(engine, region, first, count);
            done += count;
            continue;
        }
        if (register_is_due(engine)) {
            ksm_register_pending(engine);
            ksm_fork_guard_unlock();
            ksm_pace_safe_point(engine);
            ksm_fork_guard_lock();
        }
        ksm_ram_follow_policy(region);
        ksm_pace_before_window(engine);
        done += merge_piece(engine, region, first, count, slot);
    }
}

void ksm_merge_matches(KsmEngine *engine)
{
    g_autoptr(GArray) runs = NULL;
    guint i;

    if (!engine->batch.matches->len) {
        return;
    }
    engine->budget.allowed = ksm_budget_compute(engine);
    g_array_sort(engine->batch.matches, compare_matches);
    filter_matches(engine);
    runs = find_runs(engine);
    ksm_fork_guard_lock();
    for (i = 0; i < runs->len; i++) {
        const KsmRun *run = &g_array_index(runs, KsmRun, i);

        merge_run(engine,
                  &g_array_index(engine->batch.matches, KsmMatch, run->match),
                  run->pages);
    }
    ksm_register_pending(engine);
    ksm_fork_guard_unlock();
    g_array_set_size(engine->batch.matches, 0);
}

static void record_zero(KsmEngine *engine, KsmRegion *region, guint32 first,
                        guint32 count)
{
    guint32 i;

    for (i = 0; i < count; i++) {
        ksm_ram_set_state(region, first + i, KSM_PAGE_ZERO);
        region->wait[first + i] = engine->turn.round;
    }
    engine->stats.counters.zero_merges += count;
}

void ksm_merge_zeros(KsmEngine *engine, KsmRegion *region, guint32 first,
                     guint32 count)
{
    while (count) {
        guint32 n = MIN(count, KSM_WINDOW_PAGES);
        KsmVerdict verdict;
        guint32 done;

        ksm_pace_before_window(engine);
        ksm_discard_lock(engine);
        done = ksm_isolation_zero(&engine->isolation, region, first, n,
                                  &verdict);
        record_zero(engine, region, first, done);
        ksm_discard_unlock(engine);
        if (done < n) {
            keep(engine, region, first + done, verdict);
            done++;
        }
        first += done;
        count -= done;
        if (register_is_due(engine)) {
            ksm_register_pending(engine);
        }
    }
}
