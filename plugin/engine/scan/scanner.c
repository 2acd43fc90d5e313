/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scanner.c: the engine's thread: turns, and the sleep between them.
 *
 * A turn runs a round, or unshares what is shared (`unmerge`), or only keeps
 * the connection up (`pause`), or stands aside: while something needs memory
 * that does not move, tracking is off and guest memory is not touched.
 *
 * Every turn keeps the connection up, whatever else it does: a broker that
 * takes over a store waits for all clients that map it, and frees nothing of
 * it before.  Reconnecting only needs the bookkeeping: no guest memory is
 * read, and no system call is made on it.
 *
 * Rounds run once an interval, and so rarely that write tracking takes at most
 * a tenth of the time; due.c decides how much of a round is needed.  In between,
 * the broker is asked for results: what another VM finds is then shared without
 * waiting for the next round.  If that brings nothing for a while, the reply to
 * the periodic report says whether results wait.
 *
 * Threads: the scanner's; ksm_scanner_detach() and ksm_scanner_attach(): any,
 * under the work lock.
 */
#include "scan/scanner.h"

#include "client/broker-client.h"
#include "core/budget.h"
#include "core/due.h"
#include "core/kernel-guard.h"
#include "core/lock.h"
#include "core/notice.h"
#include "core/pace.h"
#include "core/stats.h"
#include "memory/tracker.h"
#include "pages/discard.h"
#include "pages/giveback.h"
#include "pages/merge.h"
#include "pages/shrink.h"
#include "pages/unmergeable.h"
#include "scan/round.h"
#include "session/connection.h"
#include "session/release.h"
#include "session/report.h"
#include "safe-read.h"
#include "sys.h"

#define KSM_PARKED_MS 1000u
#define KSM_UNMERGE_RETRY_MS 5000u
/* Delay until detaching continues after it gave way to another thread. */
#define KSM_DETACH_MS 1u
#define KSM_RESULTS_PER_ROUND 4
#define KSM_TRACK_SHARE 9u

/* FALSE: a thread waits for the engine, and must not wait for this. */
static gboolean detach_region(KsmEngine *engine, KsmRegion *region,
                              gboolean at_once)
{
    while (region->detached_pages < region->pages) {
        if (!at_once && ksm_lock_waited_for(engine)) {
            return FALSE;
        }
        /* Fails only for lack of kernel memory. */
        if (ksm_tracker_detach_piece(&engine->tracker, region)) {
            engine->stats.counters.refused_error++;
            g_usleep(1000);
        }
    }
    return TRUE;
}

void ksm_scanner_detach(KsmEngine *engine, gboolean at_once)
{
    gboolean all = TRUE;
    guint i;

    for (i = 0; i < engine->ram.regions->len && all && !engine->turn.detached;
         i++) {
        all = detach_region(engine, g_ptr_array_index(engine->ram.regions, i),
                            at_once);
    }
    engine->turn.detached = all;
}

void ksm_scanner_attach(KsmEngine *engine)
{
    guint i;

    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);

        region->detached_pages = 0;
    }
    engine->turn.detached = FALSE;
}

/* A reason to leave the memory alone, or NULL. */
static const char *reason_to_stand_aside(KsmEngine *engine)
{
    const char *reason = NULL;

    if (engine->turn.suspended) {
        reason = engine->turn.suspend_reason;
    } else if (engine->program.stand_aside) {
        reason = engine->program.stand_aside(engine->program.opaque);
    }
    return reason ? reason : ksm_kernel_guard_reason(&engine->kernel);
}

static void unmerge(KsmEngine *engine)
{
    gboolean all = TRUE;
    guint i;

    /* Pages written recently are broken, and must be known to be. */
    ksm_round_track(engine);
    engine->budget.allowed = ksm_budget_compute(engine);
    ksm_shrink_begin(engine);
    for (i = 0; i < engine->ram.regions->len; i++) {
        all = ksm_giveback_region(engine,
                                  g_ptr_array_index(engine->ram.regions, i)) &&
              all;
    }
    ksm_shrink_end(engine);
    ksm_release_send(engine);
    engine->turn.unmerged = all;
}

/* Unmerges as much as can be now; returns how long to sleep after that. */
static guint64 unmerge_turn(KsmEngine *engine)
{
    const KsmStats *counters = &engine->stats.counters;
    guint64 done = counters->given_back;

    unmerge(engine);
    if (engine->turn.unmerged) {
        return KSM_PARKED_MS;
    }
    /* If nothing could be done, a device or the kernel stands in the way. */
    return counters->given_back != done || engine->pace.interrupted ?
               (guint)g_atomic_int_get(&engine->tunables.scan_interval_ms) :
               KSM_UNMERGE_RETRY_MS;
}

/* Milliseconds until the next round is due; 0: it is. */
static guint64 due_ms(KsmEngine *engine)
{
    guint64 interval = g_atomic_int_get(&engine->tunables.scan_interval_ms),
            since;

    engine->turn.interval_ms =
        MAX(interval, engine->turn.track_ns * KSM_TRACK_SHARE / 1000000);
    if (!engine->turn.round_end_ns) {
        return 0;
    }
    since = (ksm_sys_now_ns() - engine->turn.round_end_ns) / 1000000;
    return since < engine->turn.interval_ms ? engine->turn.interval_ms - since :
                                              0;
}

/* Runs as much of a round as is needed; all of it if it was asked for. */
static void make_round(KsmEngine *engine, gboolean asked)
{
    KsmDueWork work;

    ksm_unmergeable_check(engine);
    work = ksm_due_judge(engine);

    if (asked || work == KSM_DUE_SCAN || work == KSM_DUE_SWEEP) {
        ksm_round_run(engine, asked || work == KSM_DUE_SCAN);
        return;
    }
    /* A round would do nothing, or nothing yet. */
    engine->stats.counters.full_scans += work == KSM_DUE_NOTHING;
    engine->turn.round_end_ns = ksm_sys_now_ns();
    ksm_round_results(engine);
}

/* Runs a round if one is due, else fetches results; returns the sleep time. */
static guint64 run_turn(KsmEngine *engine, gboolean asked)
{
    guint64 result_ms =
        MAX(g_atomic_int_get(&engine->tunables.scan_interval_ms) /
                KSM_RESULTS_PER_ROUND,
            1);

    if (engine->broker.woken) {
        /* Ask why: for results, settings, a map. */
        engine->broker.woken = FALSE;
        engine->turn.vain_fetches = 0;
        engine->report.reported_ns = 0;
    }
    if (asked || !due_ms(engine)) {
        make_round(engine, asked);
    } else {
        ksm_round_results(engine);
    }
    engine->turn.quiet = ksm_round_is_quiet(engine) &&
                         !engine->report.results_waiting;
    if (ksm_round_is_quiet(engine)) {
        /* The report says whether there is anything to fetch. */
        result_ms = MAX(result_ms, KSM_REPORT_MS);
    }
    return CLAMP(due_ms(engine), 1, result_ms);
}

/* Keeps the connection up if no round is to run; TRUE: connected. */
static gboolean only_connect(KsmEngine *engine)
{
    /* Report at once what a new connection changed about the pages. */
    return ksm_connection_keep(engine) && ksm_release_send(engine);
}

/* How long to sleep: `ms`, or less if the next connection attempt is sooner. */
static guint64 sleep_connected(KsmEngine *engine, gboolean connected,
                               guint64 ms)
{
    return connected ? ms : MIN(ms, ksm_connection_retry_ms(engine));
}

/* Before anything but rounds: what is known of pages and broker may change. */
static void not_quiet(KsmEngine *engine)
{
    ksm_due_forget(engine);
    engine->turn.quiet = FALSE;
}

/* One turn under the work lock; returns how long to sleep after it. */
static guint64 turn(KsmEngine *engine, gboolean asked)
{
    KsmRunMode run = g_atomic_int_get(&engine->tunables.run);
    guint64 ms;

    engine->turn.run = run;
    if (ksm_discard_flush(engine)) {
        ksm_release_send(engine);
    }
    engine->turn.standing_aside = reason_to_stand_aside(engine);
    if (engine->turn.standing_aside) {
        not_quiet(engine);
        ksm_scanner_detach(engine, FALSE);
        return sleep_connected(engine, only_connect(engine),
                               !engine->turn.detached ?
                                   KSM_DETACH_MS :
                                   (guint)g_atomic_int_get(
                                       &engine->tunables.scan_interval_ms));
    }
    ksm_scanner_attach(engine);
    ksm_pace_begin(engine, asked);
    if (run == KSM_RUN_UNMERGE && !engine->turn.unmerged) {
        not_quiet(engine);
        ms = unmerge_turn(engine);
        return sleep_connected(engine, only_connect(engine), ms);
    }
    if (run != KSM_RUN_RUN && !(run == KSM_RUN_PAUSE && asked)) {
        not_quiet(engine);
        return sleep_connected(engine, only_connect(engine), KSM_PARKED_MS);
    }
    if (!ksm_connection_keep(engine)) {
        engine->turn.quiet = FALSE;
        return ksm_connection_retry_ms(engine);
    }
    engine->turn.unmerged = FALSE;
    return run_turn(engine, asked);
}

static guint requested(KsmEngine *engine, gboolean *stop)
{
    guint rounds;

    g_mutex_lock(&engine->lock.sleep);
    rounds = engine->lock.rounds_requested;
    *stop = engine->lock.stop;
    g_mutex_unlock(&engine->lock.sleep);
    return rounds;
}

static void report_done(KsmEngine *engine, guint rounds)
{
    g_mutex_lock(&engine->lock.sleep);
    engine->lock.rounds_done = rounds;
    g_cond_broadcast(&engine->lock.sleep_cond);
    g_mutex_unlock(&engine->lock.sleep);
}

/* Lets threads go first that waited for the engine. */
static void yield_to_others(KsmEngine *engine)
{
    while (ksm_lock_waited_for(engine)) {
        g_usleep(50);
    }
}

/* Sleeps until the next turn or until the broker sends something. */
static void sleep_and_listen(KsmEngine *engine, guint64 ms)
{
    if (ksm_pace_listen(engine, MIN(ms, KSM_REPORT_QUIET_MS))) {
        g_mutex_lock(&engine->lock.work);
        if (ksm_broker_client_connected(&engine->broker)) {
            ksm_broker_client_hear(&engine->broker);
        }
        g_mutex_unlock(&engine->lock.work);
    }
}

/* Sleeps between turns, and reports to the broker from time to time. */
static void sleep_and_report(KsmEngine *engine, guint64 ms)
{
    gboolean there;

    while (ms > KSM_REPORT_MS && ksm_pace_sleep(engine, KSM_REPORT_MS)) {
        ms -= KSM_REPORT_MS;
        g_mutex_lock(&engine->lock.work);
        there = ksm_report_if_due(engine);
        ksm_stats_publish(engine);
        g_mutex_unlock(&engine->lock.work);
        yield_to_others(engine);
        if (!there) {
            return; /* the next turn tries another broker */
        }
    }
    if (ms <= KSM_REPORT_MS) {
        ksm_pace_sleep(engine, ms);
    }
}

gpointer ksm_scanner_thread(gpointer data)
{
    KsmEngine *engine = data;
    gboolean stop = FALSE;

    ksm_safe_read_admit();
    for (;;) {
        guint rounds = requested(engine, &stop);
        gboolean listen;
        guint64 ms;

        if (stop) {
            break;
        }
        g_mutex_lock(&engine->lock.work);
        ms = turn(engine, rounds != engine->lock.rounds_done);
        ksm_report_if_due(engine);
        ksm_notice_update(engine);
        ksm_stats_publish(engine);
        ksm_notice_tell(engine);
        listen = engine->turn.quiet && !engine->broker.woken &&
                 ksm_broker_client_is_woken(&engine->broker);
        g_mutex_unlock(&engine->lock.work);
        report_done(engine, rounds);
        yield_to_others(engine);
        if (listen) {
            sleep_and_listen(engine, ms);
        } else {
            sleep_and_report(engine, ms);
        }
    }
    return NULL;
}
