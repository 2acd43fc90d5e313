/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * notice.c: finds changes, and notifies the program of them.
 *
 * Changes are found by comparing snapshots at the end of a turn and at safe
 * points in a long one, not where they happen.  So no window is open and the
 * fork lock is not held while the program is notified.  A state that appears
 * and disappears between two snapshots is not reported.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "core/notice.h"

#include "core/stats.h"
#include "memory/isolation.h"
#include "sys.h"

/* Interval between snapshots in a long round. */
#define KSM_REFRESH_NS 50000000u
/* After this many rounds every refused page has been retried once. */
#define KSM_QUIET_ROUNDS (2u + (1u << KSM_PAGE_MAX_LEVEL))

void ksm_notice_update(KsmEngine *engine)
{
    const KsmStats *now = &engine->stats.counters,
                   *last = &engine->notice.counted;

    if (now->refused_budget != last->refused_budget) {
        engine->notice.degraded = KSM_DEGRADED_MAPPINGS;
        engine->notice.quiet_rounds = 0;
    } else if (now->refused_broker != last->refused_broker) {
        engine->notice.degraded = KSM_DEGRADED_BROKER;
        engine->notice.quiet_rounds = 0;
    } else if (now->full_scans != last->full_scans &&
               ++engine->notice.quiet_rounds >= KSM_QUIET_ROUNDS) {
        engine->notice.degraded = KSM_DEGRADED_NOT;
    }
    engine->notice.counted = *now;
}

void ksm_notice_tell(KsmEngine *engine)
{
    const KsmStats *told = &engine->notice.last_reported;
    KsmStats now;

    if (!engine->program.notify) {
        return;
    }
    ksm_engine_get_stats(engine, &now);
    if (now.state != told->state || now.broker != told->broker ||
        g_strcmp0(now.stand_aside, told->stand_aside) != 0) {
        engine->program.notify(KSM_NOTICE_STATE, &now, engine->program.opaque);
    }
    if (now.degraded != told->degraded) {
        engine->program.notify(KSM_NOTICE_DEGRADED, &now,
                               engine->program.opaque);
    }
    if (now.full_scans != told->full_scans || now.windows != told->windows) {
        engine->program.notify(KSM_NOTICE_PROGRESS, &now,
                               engine->program.opaque);
    }
    engine->notice.last_reported = now;
}

void ksm_notice_refresh(KsmEngine *engine)
{
    if (ksm_sys_now_ns() - engine->stats.published_ns > KSM_REFRESH_NS) {
        /* The program's own code runs next, and may call mlockall(2). */
        ksm_isolation_drop(&engine->isolation);
        ksm_notice_update(engine);
        ksm_stats_publish(engine);
        ksm_notice_tell(engine);
    }
}
