/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * due.c: decides how much of a round is needed.
 *
 * A scan asks the kernel about every mapping of the guest, and every page that
 * it arms costs the guest one more fault.  If nothing was written, a scan finds
 * nothing, and the kernel counts writes: the first write to an armed page is a
 * page fault of the thread that makes it, whether by the CPU, by a system call
 * that copies to the page, or by O_DIRECT (tried on Linux 6.12, 6.18 and 7.3;
 * findings/writes-and-fault-counts.sh).  So
 *  - no fault of other threads since the last scan began: nothing was written.
 *    Waits are counted down without a scan.  If no page waits, the round is
 *    skipped;
 *  - n faults: at most n pages were written (or parts of huge ones).  About as
 *    many of them as the last scan found are pages that are written all the
 *    time.  As long as there are too few others to be worth a scan, and no
 *    page's wait is over, the scan is deferred.  Pages that are written all the
 *    time cause no more faults in the meantime.
 *
 * A page that was moved back to its place (given back, or rolled back) is not
 * armed before the next scan, so writes to it are no fault: after such moves,
 * everything is scanned.
 *
 * Some writes are no fault of a thread of this process: those by another process
 * (process_vm_writev) and those by kernel threads.  Therefore everything is
 * scanned from time to time regardless of the count, and less and less often
 * while that finds nothing.  Other faults, such as first touches of the program's
 * own memory, only cause a scan that finds nothing.
 *
 * No byte depends on this.  A page that was written unnoticed is compared in the
 * window like any other, is found different, and is left alone.
 *
 * A scan interval other than the default is obeyed: only rounds that would find
 * nothing are skipped.
 */
#include "core/due.h"

#include "core/budget.h"
#include "core/options.h"
#include "memory/tracker.h"
#include "sys.h"

/* Maximum time between two scans: initially, and after doubling in vain. */
#define KSM_DUE_FIRST_MS 2000u
#define KSM_DUE_VAIN_MS 64000u
/* The same if anything was written, however little. */
#define KSM_DUE_WRITTEN_MS 20000u
/* CPU time that finding one written page is worth. */
#define KSM_DUE_PAGE_NS 20000u

/* A sum that changes when pages were moved back, and so are not armed. */
static guint64 unarmed_so_far(const KsmEngine *engine)
{
    const KsmStats *s = &engine->stats.counters;

    return s->given_back + s->collapses + s->rollbacks + s->refused_pinned +
           s->refused_torn + s->refused_error + s->refused_dma;
}

/* A sum that changes if a round did anything to a page, or failed to. */
static guint64 work_so_far(const KsmEngine *engine)
{
    const KsmStats *s = &engine->stats.counters;

    return unarmed_so_far(engine) + s->fingerprints + s->deferred_results +
           s->merges + s->zero_merges + s->publishes + s->refused_budget +
           s->refused_broker;
}

/* Inputs of a round that others can change. */
static KsmDueGiven given_now(const KsmEngine *engine)
{
    return (KsmDueGiven) {
        .connected_ns = engine->link.connected_ns,
        .session_pages = engine->ram.session_pages,
        .max_mappings = g_atomic_int_get(&engine->tunables.max_mappings),
        .keep_huge = g_atomic_int_get(&engine->tunables.keep_huge),
        .interval_ms = g_atomic_int_get(&engine->tunables.scan_interval_ms),
    };
}

static gboolean is_given(const KsmDueGiven *a, const KsmDueGiven *b)
{
    return a->connected_ns == b->connected_ns &&
           a->session_pages == b->session_pages &&
           a->max_mappings == b->max_mappings && a->keep_huge == b->keep_huge &&
           a->interval_ms == b->interval_ms;
}

/* Whether a part is not registered: writes to it are not reported. */
static gboolean is_unsettled(const KsmEngine *engine)
{
    guint i;

    for (i = 0; i < engine->ram.regions->len; i++) {
        const KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);

        if (region->unregistered_count) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean is_set(const KsmEngine *engine)
{
    return g_atomic_int_get(&engine->tunables.scan_interval_ms) !=
           KSM_SCAN_INTERVAL_MS;
}

/* Maximum time from one scan to the next, in milliseconds. */
static guint64 patience_ms(const KsmEngine *engine, guint64 faults)
{
    if (is_set(engine)) {
        return KSM_DUE_FIRST_MS;
    }
    if (faults) {
        return KSM_DUE_WRITTEN_MS;
    }
    return MIN((guint64)KSM_DUE_FIRST_MS << MIN(engine->due.vain, 16),
               KSM_DUE_VAIN_MS);
}

static gboolean must_scan(KsmEngine *engine, guint64 faults)
{
    const KsmDue *due = &engine->due;
    KsmDueGiven now = given_now(engine);

    return !due->known || engine->lost || now.keep_huge ||
           ksm_budget_excess(engine) || !is_given(&due->given, &now) ||
           is_unsettled(engine) || unarmed_so_far(engine) != due->unarmed ||
           ksm_sys_now_ns() - due->scan_ns >=
               patience_ms(engine, faults) * 1000000;
}

void ksm_due_begin_round(KsmEngine *engine)
{
    engine->due.rounds = MAX(engine->due.rounds, 1);
    /* What changes during the round is for the next one. */
    engine->due.given = given_now(engine);
}

KsmDueWork ksm_due_judge(KsmEngine *engine)
{
    KsmDue *due = &engine->due;
    guint64 faults = ksm_tracker_faults() - due->faults;
    gboolean over;

    due->rounds = (guint8)MIN(due->rounds + 1u, G_MAXUINT8);
    if (work_so_far(engine) != due->work) {
        due->soonest = 1;
    }
    over = due->rounds >= due->soonest;
    if (must_scan(engine, faults)) {
        return KSM_DUE_SCAN;
    }
    if (!faults) {
        return over ? KSM_DUE_SWEEP : KSM_DUE_NOTHING;
    }
    return over || is_set(engine) ||
                   faults >=
                       due->hot + engine->turn.track_ns / KSM_DUE_PAGE_NS ?
               KSM_DUE_SCAN :
               KSM_DUE_LATER;
}

void ksm_due_begin_scan(KsmEngine *engine)
{
    engine->due.faults = ksm_tracker_faults();
    engine->due.unarmed = unarmed_so_far(engine);
    engine->due.hot = 0;
}

void ksm_due_begin_sweep(KsmEngine *engine)
{
    engine->due.soonest = KSM_DUE_NEVER;
}

void ksm_due_end(KsmEngine *engine, gboolean scanned, gboolean whole)
{
    KsmDue *due = &engine->due;
    guint64 work = work_so_far(engine);

    if (scanned) {
        due->scan_ns = ksm_sys_now_ns();
        due->vain = due->hot || work != due->work ? 0 : due->vain + 1;
    }
    if (work != due->work) {
        due->soonest = 1;
    }
    due->work = work;
    due->rounds = 0;
    due->known = whole;
}
