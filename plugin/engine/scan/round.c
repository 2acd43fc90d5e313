/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * round.c: one round: find written pages, find idle pages, look up, merge.
 *
 *   1. The tracker reports the written pages; listings of written candidates
 *      are withdrawn; hot blocks are parked (huge.c).
 *   2. Broken pages whose back-off is over are given back to anonymous memory.
 *      Pages that were not written for their number of rounds are idle: zeros
 *      are given back at once (but see zero.c), the others are fingerprinted
 *      and looked up.
 *   3. According to the answers, pages are published (publish.c), and all pages
 *      with a slot are merged, longest runs first (merge.c).
 *   4. Deferred results of the broker (listed pages that have got a slot) are
 *      merged in the same way, also between rounds: the comparison detects a
 *      page that was written meanwhile.
 *   5. Bindings that were not used are released.
 * After the first pass the work is proportional to what was written: the sweep
 * reads one byte per page, and only in regions with waiting pages.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "scan/round.h"

#include <string.h>

#include "client/broker-client.h"
#include "core/budget.h"
#include "core/due.h"
#include "core/pace.h"
#include "core/stats.h"
#include "memory/page-state.h"
#include "memory/isolation.h"
#include "memory/ram.h"
#include "memory/region.h"
#include "memory/tracker.h"
#include "pages/discard.h"
#include "pages/giveback.h"
#include "pages/huge.h"
#include "pages/merge.h"
#include "pages/shrink.h"
#include "pages/written.h"
#include "scan/sweep.h"
#include "session/release.h"
#include "session/report.h"
#include "sys.h"

/* After this many fetches in vain, results are fetched when there are some. */
#define KSM_VAIN_FETCHES 8u
/* Pages with results that are merged together, so that runs are complete. */
#define KSM_RESULT_PAGES 32768u

/* Shared pages [first, end) are now private copies. */
static void broken(KsmRegion *region, guint32 first, guint32 end,
                   G_GNUC_UNUSED gboolean huge, void *opaque)
{
    KsmEngine *engine = opaque;
    guint32 page;

    for (page = first; page < end; page++) {
        guint8 lost = region->state[page] & KSM_PAGE_ORPHANED;

        if (ksm_page_state(region->state[page]) == KSM_PAGE_SHARED) {
            engine->stats.counters.breaks++;
            ksm_ram_note_written(region, page, engine->turn.round,
                                 engine->due.rounds);
            ksm_ram_set_state(region, page, KSM_PAGE_BROKEN);
            region->state[page] |= lost;
        }
    }
}

/* The tracker's report: anonymous pages one by one, shared ones together. */
static void written(KsmRegion *region, guint32 first, guint32 end,
                    gboolean huge, void *opaque)
{
    KsmEngine *engine = opaque;
    guint32 page = first;

    ksm_due_note_written(engine, end - first);
    ksm_huge_note_written(region, first, end, huge);
    while (page < end) {
        guint32 from = page;

        while (page < end &&
               ksm_page_state(region->state[page]) == KSM_PAGE_SHARED) {
            page++;
        }
        if (page > from &&
            ksm_tracker_find_copies(&engine->tracker, region, from, page,
                                    broken, engine)) {
            engine->stats.counters.refused_error++;
        }
        if (page < end) {
            ksm_written_note(engine, region, page++);
        }
    }
}

gboolean ksm_round_track(KsmEngine *engine)
{
    guint64 start_ns = ksm_sys_thread_cpu_ns();
    guint i;

    ksm_discard_flush(engine);
    ksm_due_begin_scan(engine);
    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);

        ksm_huge_wake(engine, region);
        if (ksm_tracker_register(&engine->tracker, region) ||
            ksm_tracker_scan(&engine->tracker, region, written, engine)) {
            engine->stats.counters.refused_error++;
        }
        ksm_huge_judge(engine, region);
        ksm_pace_safe_point(engine);
    }
    engine->turn.track_ns = ksm_sys_thread_cpu_ns() - start_ns;
    return ksm_release_send(engine);
}

/*
 * Collects the results of one region in the batch.  Results of no region come
 * from a misbehaving broker, which must not corrupt the bookkeeping.
 */
static void file_results(KsmEngine *engine, KsmRegion *region,
                         const GArray *results)
{
    guint i;

    engine->batch.region = region;
    for (i = 0; i < results->len; i++) {
        const KsmResult *result = &g_array_index(results, KsmResult, i);
        KsmMatch match = {
            .page = ksm_ram_page(region, result->page),
            .slot = result->slot,
        };

        if (match.page >= region->pages) {
            continue;
        }
        if (match.slot != KSM_SLOT_NONE) {
            g_array_append_val(engine->batch.matches, match);
        } else if (ksm_page_state(region->state[match.page]) ==
                   KSM_PAGE_CANDIDATE) {
            ksm_ram_retry(region, match.page);
        }
    }
}

/*
 * Fetches results (KsmResult), at most about KSM_RESULT_PAGES; FALSE: the
 * broker is lost.  *left: the number of results still possible.  A page has at
 * most one, because none is looked up meanwhile: a broker that sends more
 * would keep the engine here forever.
 */
static gboolean fetch_results(KsmEngine *engine, GArray *results, guint64 *left,
                              gboolean *more)
{
    guint32 count;

    g_array_set_size(results, 0);
    do {
        if (!ksm_broker_client_call(&engine->broker, KSM_MSG_FETCH_RESULTS, 0,
                                    &count)) {
            return FALSE;
        }
        if (count > *left) {
            ksm_broker_client_reject(&engine->broker,
                                     "more results than there are pages");
            return FALSE;
        }
        *left -= count;
        g_array_append_vals(results, ksm_broker_client_reply(&engine->broker),
                            count);
        engine->stats.counters.deferred_results += count;
        *more = count == KSM_BATCH_RESULTS;
    } while (*more && results->len < KSM_RESULT_PAGES);
    return TRUE;
}

/* Merges listed pages that have got a slot meanwhile. */
static gboolean take_results(KsmEngine *engine)
{
    g_autoptr(GArray) results = g_array_new(FALSE, FALSE, sizeof(KsmResult));
    guint64 left = engine->ram.session_pages;
    gboolean more = TRUE;
    guint i;

    while (more && !ksm_pace_interrupted(engine)) {
        if (!fetch_results(engine, results, &left, &more)) {
            return FALSE;
        }
        /* Some may wait for others: only the next report tells. */
        engine->report.results_waiting = KSM_RESULTS_UNKNOWN;
        engine->turn.vain_fetches = results->len ?
                                        0 :
                                        engine->turn.vain_fetches + 1;
        for (i = 0; i < engine->ram.regions->len; i++) {
            file_results(engine, g_ptr_array_index(engine->ram.regions, i),
                         results);
            ksm_huge_weigh(engine, NULL);
            ksm_merge_matches(engine);
        }
        if (!ksm_release_send(engine)) {
            return FALSE;
        }
        ksm_pace_safe_point(engine);
    }
    return TRUE;
}

/* Steps 1, 2 and 3. */
static gboolean scan_and_sweep(KsmEngine *engine, gboolean scan)
{
    gboolean ok = TRUE;
    guint i;

    if (scan) {
        ok = ksm_round_track(engine);
        if (ok && engine->lost) {
            ksm_giveback_orphaned(engine);
        }
        if (ok) {
            ksm_shrink(engine);
        }
    }
    ksm_due_begin_sweep(engine);
    for (i = 0; ok && i < engine->ram.regions->len; i++) {
        ksm_giveback_broken(engine, g_ptr_array_index(engine->ram.regions, i));
        ok = ksm_sweep_region(engine,
                              g_ptr_array_index(engine->ram.regions, i));
    }
    return ok;
}

void ksm_round_run(KsmEngine *engine, gboolean scan)
{
    guint64 start_ns = ksm_sys_now_ns();
    gboolean ok;

    ksm_due_begin_round(engine);
    engine->turn.round += engine->due.rounds;
    engine->budget.allowed = ksm_budget_compute(engine);
    ok = scan_and_sweep(engine, scan) &&
         (engine->turn.quiet ?
              ksm_report_if_due(engine) :
              take_results(engine) && ksm_report_exchange(engine));
    engine->link.was_useful = engine->link.was_useful || ok;
    ksm_isolation_trim(&engine->isolation);
    ksm_stats_measure(engine);
    ksm_due_end(engine, scan, ok && !engine->pace.interrupted);
    if (engine->due.soonest == 1) {
        engine->turn.vain_fetches = 0;
    }
    engine->stats.counters.full_scans++;
    engine->turn.round_end_ns = ksm_sys_now_ns();
    engine->stats.counters.round_ns = engine->turn.round_end_ns - start_ns;
}

gboolean ksm_round_is_quiet(KsmEngine *engine)
{
    return engine->turn.vain_fetches >= KSM_VAIN_FETCHES;
}

void ksm_round_results(KsmEngine *engine)
{
    guint i;

    if (ksm_round_is_quiet(engine) &&
        (!ksm_report_if_due(engine) || !engine->report.results_waiting)) {
        return;
    }
    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);

        if (region->counts[KSM_PAGE_CANDIDATE]) {
            take_results(engine);
            ksm_isolation_trim(&engine->isolation);
            return;
        }
    }
    /* Nothing is listed, so there is nothing to fetch. */
    engine->turn.vain_fetches = MIN(engine->turn.vain_fetches + 1,
                                    KSM_VAIN_FETCHES);
    engine->report.results_waiting = 0;
}
