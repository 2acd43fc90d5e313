/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * due.c: how much of a round is needed.
 *
 * A scan asks the kernel about every mapping of the guest, and what it arms is
 * another fault of the guest's.  It can find nothing where nothing was written,
 * and the kernel counts: the first write to an armed page, by whatever thread
 * of this process and by whatever means (the CPU, a system call that copies to
 * it, O_DIRECT), is a page fault of that thread (Linux 6.12, 6.18, tried).  So
 *  - no fault of other threads than this one since the last scan began: nothing
 *    was written.  Waits go on without a scan, and where no page waits there is
 *    nothing to do at all;
 *  - n faults: n pages were written at most (or parts of huge ones), and of
 *    these about as many as the last scan found are pages that are written all
 *    the time.  It is put off while there are so few others that finding them
 *    is not worth a scan, and no page's wait is over.  Pages that are written
 *    all the time take no more faults meanwhile.
 *
 * Some writes are nobody's fault here: by another process (process_vm_writev)
 * or by a kernel thread.  Faults of other kinds, as first touches of the
 * program's own memory, only cost a scan that finds nothing.  So all is scanned
 * every now and then whatever was counted, more and more seldom as long as that
 * is in vain.  A page that was written without being found is merged by nobody:
 * it is the window that decides, by comparing (isolation of pages, memory/).
 * Hence no byte depends on any of this.
 *
 * A scan interval that was set is obeyed: then only rounds that would find
 * nothing are left out.
 */
#include "core/due.h"

#include "core/options.h"
#include "memory/tracker.h"
#include "sys.h"

/* All is scanned that often at the least: first so, then twice as long... */
#define KSM_DUE_FIRST_MS 2000u
#define KSM_DUE_VAIN_MS 64000u
/* ... but so often when something was written, however little. */
#define KSM_DUE_WRITTEN_MS 20000u
/* What it is worth to find a page that was written. */
#define KSM_DUE_PAGE_NS 20000u

/* Counts everything that a round does to pages, or fails to do. */
static guint64 work_so_far(const KsmEngine *engine)
{
    const KsmStats *s = &engine->stats.counters;

    return s->fingerprints + s->deferred_results + s->merges + s->zero_merges +
           s->publishes + s->given_back + s->collapses + s->rollbacks +
           s->refused_pinned + s->refused_budget + s->refused_torn +
           s->refused_broker + s->refused_error + s->refused_dma;
}

/* What somebody else can change, and a round looks at. */
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

/* Whether parts lack registration: what is written there is not reported. */
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

/* Until all is scanned, whatever was counted. */
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

static gboolean must_scan(const KsmEngine *engine, guint64 faults)
{
    const KsmDue *due = &engine->due;
    KsmDueGiven now = given_now(engine);

    return !due->known || engine->lost || now.keep_huge ||
           !is_given(&due->given, &now) || is_unsettled(engine) ||
           ksm_sys_now_ns() - due->scan_ns >=
               patience_ms(engine, faults) * 1000000;
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
    due->given = given_now(engine);
}
