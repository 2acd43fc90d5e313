/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pace.c: limits the scanner's CPU time by sleeping, never by priority.
 *
 * Once a window has begun it must end soon, so the scanner keeps its normal
 * priority and sleeps before windows instead of being preempted inside them.
 * Unused CPU time is carried over for at most a fifth of a second.
 *
 * All scanners of the host together have a limit as well.  The broker keeps it:
 * a scanner that has used what it was granted asks for more, and sleeps until
 * there is.  Without a broker, or with one that does not know of this, there
 * is only this engine's own limit.
 */
#include "core/pace.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "client/broker-client.h"
#include "core/kernel-guard.h"
#include "core/lock.h"
#include "core/notice.h"
#include "memory/isolation.h"
#include "memory/region.h"
#include "memory/staging.h"
#include "sys.h"

#define KSM_PACE_SLACK_NS 1000000u
#define KSM_PACE_CREDIT_NS 200000000u
/* What was used beyond a grant counts against the next one, up to this. */
#define KSM_PACE_DEBT_NS 20000000u
#define KSM_PACE_MIN_WAIT_US 1000u
#define KSM_PACE_MAX_WAIT_US 2000000u
/*
 * If the scanner runs for longer than its time slice (some ms), the scheduler
 * is likely to preempt it.  A yield while another thread waits costs two
 * context switches and the cache contents of both, so the scanner yields as
 * rarely as the slice allows.  "Rarely" is measured in the duration of a
 * window, which differs by a factor of ten between machines.
 */
#define KSM_PACE_YIELD_NS 50000u
#define KSM_PACE_YIELD_NS_MAX 2000000u
#define KSM_PACE_YIELD_WINDOWS 8u

void ksm_pace_begin(KsmEngine *engine, gboolean unlimited)
{
    engine->pace.wall_ns = ksm_sys_now_ns();
    engine->pace.cpu_ns = ksm_sys_thread_cpu_ns();
    engine->pace.unlimited = unlimited;
    engine->pace.interrupted = FALSE;
}

/* Whether there is a reason to stand aside that began during this turn. */
static gboolean must_stand_aside(KsmEngine *engine)
{
    return !engine->turn.standing_aside &&
           ((engine->program.stand_aside &&
             engine->program.stand_aside(engine->program.opaque)) ||
            ksm_kernel_guard_reason(&engine->kernel));
}

gboolean ksm_pace_interrupted(KsmEngine *engine)
{
    gboolean interrupted = ksm_lock_waited_for(engine) ||
                           g_atomic_int_get(&engine->tunables.run) !=
                               (gint)engine->turn.run ||
                           must_stand_aside(engine);

    engine->pace.interrupted = engine->pace.interrupted || interrupted;
    return interrupted;
}

/* Under lock.sleep: whether there is a reason not to sleep (any longer). */
static gboolean wanted_locked(KsmEngine *engine, gboolean in_round)
{
    return engine->lock.stop || ksm_pace_interrupted(engine) ||
           (!in_round && (engine->lock.poked || engine->lock.rounds_requested !=
                                                    engine->lock.rounds_done));
}

/* TRUE if the sleep was not ended early. */
static gboolean sleep_ns(KsmEngine *engine, guint64 ns, gboolean in_round)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)(ns / 1000);
    gboolean slept = FALSE;

    g_mutex_lock(&engine->lock.sleep);
    while (!slept && !wanted_locked(engine, in_round)) {
        slept = !g_cond_wait_until(&engine->lock.sleep_cond,
                                   &engine->lock.sleep, deadline);
    }
    if (!in_round) {
        engine->lock.poked = FALSE;
    }
    g_mutex_unlock(&engine->lock.sleep);
    return slept;
}

/* Pages that have yet to be looked at. */
static guint32 pages_waiting(const KsmEngine *engine)
{
    guint64 pages = 0;
    guint i;

    for (i = 0; i < engine->ram.regions->len; i++) {
        const KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);

        pages += region->counts[KSM_PAGE_PRIVATE];
    }
    return (guint32)MIN(pages, G_MAXUINT32);
}

/* Asks the broker for CPU time; FALSE: there is nobody to ask. */
static gboolean ask_for_more(KsmEngine *engine, guint64 cpu_ns)
{
    guint32 cpu_us, wait_us;

    if (!ksm_broker_client_is_woken(&engine->broker) ||
        !ksm_broker_client_ask_cpu(&engine->broker, pages_waiting(engine),
                                   &cpu_us, &wait_us)) {
        return FALSE;
    }
    engine->pace.granted_ns = MAX(engine->pace.granted_ns,
                                  cpu_ns - MIN(cpu_ns, KSM_PACE_DEBT_NS)) +
                              (guint64)cpu_us * 1000;
    engine->pace.ask_ns = ksm_sys_now_ns() +
                          (guint64)CLAMP(wait_us, KSM_PACE_MIN_WAIT_US,
                                         KSM_PACE_MAX_WAIT_US) *
                              1000;
    return TRUE;
}

/*
 * Returns when the scanner may go on within the limit of all scanners.  An
 * interruption ends the wait: what is used then counts against the next grant.
 * Unmerging does not wait: no broker may keep a guest from its own memory.
 */
static void keep_to_grant(KsmEngine *engine)
{
    guint64 cpu_ns = ksm_sys_thread_cpu_ns(), now;

    while (cpu_ns >= engine->pace.granted_ns &&
           engine->turn.run != KSM_RUN_UNMERGE) {
        now = ksm_sys_now_ns();
        if (now < engine->pace.ask_ns) {
            ksm_isolation_drop(&engine->isolation);
            if (!sleep_ns(engine, engine->pace.ask_ns - now, TRUE)) {
                return;
            }
        }
        if (!ask_for_more(engine, cpu_ns)) {
            return;
        }
    }
}

void ksm_pace_forget_grant(KsmEngine *engine)
{
    engine->pace.granted_ns = engine->pace.ask_ns = 0;
}

void ksm_pace_safe_point(KsmEngine *engine)
{
    guint percent = g_atomic_int_get(&engine->tunables.scan_cpu_percent);
    guint64 wall, owed;

    if (ksm_staging_is_old(&engine->isolation.staging)) {
        ksm_isolation_drop(&engine->isolation);
    }
    ksm_notice_refresh(engine);
    if (engine->pace.unlimited) {
        return;
    }
    keep_to_grant(engine);
    if (percent >= 100) {
        return;
    }
    wall = ksm_sys_now_ns() - engine->pace.wall_ns;
    owed = (ksm_sys_thread_cpu_ns() - engine->pace.cpu_ns) * 100 / percent;
    if (owed > wall + KSM_PACE_SLACK_NS) {
        ksm_isolation_drop(&engine->isolation);
        sleep_ns(engine, owed - wall, TRUE);
    } else if (wall > owed + KSM_PACE_CREDIT_NS) {
        engine->pace.wall_ns = ksm_sys_now_ns() - KSM_PACE_CREDIT_NS;
        engine->pace.cpu_ns = ksm_sys_thread_cpu_ns();
    }
}

/* How long to run without yielding: some windows of the usual duration. */
static guint64 patience_ns(const KsmIsolation *q)
{
    guint64 mean_ns = q->window_ns_total / MAX(q->windows, 1);

    return CLAMP(mean_ns * KSM_PACE_YIELD_WINDOWS, KSM_PACE_YIELD_NS,
                 KSM_PACE_YIELD_NS_MAX);
}

void ksm_pace_before_window(KsmEngine *engine)
{
    guint64 now = ksm_sys_now_ns();

    if (now - engine->pace.yielded_ns > patience_ns(&engine->isolation)) {
        sched_yield();
        engine->pace.yielded_ns = ksm_sys_now_ns();
    }
}

gboolean ksm_pace_sleep(KsmEngine *engine, guint64 ms)
{
    return sleep_ns(engine, ms * 1000000, FALSE);
}

/*
 * Waits for the broker, for sleep_fd or for the deadline; TRUE: the broker.
 *
 * The socket is read without the work lock.  Whoever closes it has that lock, and
 * ended this sleep to get it; should the number be that of another file by then,
 * the sleep ends early, or not, and the next turn finds the connection closed.
 */
static gboolean wait_for_broker(KsmEngine *engine, gint64 deadline,
                                gboolean *over)
{
    struct pollfd fds[2] = {
        { .fd = g_atomic_int_get(&engine->broker.sock), .events = POLLIN },
        { .fd = engine->lock.sleep_fd, .events = POLLIN },
    };
    gint64 left = deadline - g_get_monotonic_time();
    guint64 count;
    int n = poll(fds, 2, left > 0 ? (int)(left / 1000) + 1 : 0);

    if (n > 0 && fds[1].revents &&
        read(engine->lock.sleep_fd, &count, sizeof(count)) < 0) {
        g_debug("eventfd: %s", g_strerror(errno));
    }
    *over = n == 0 || (n < 0 && errno != EINTR);
    return n > 0 && fds[0].revents;
}

gboolean ksm_pace_listen(KsmEngine *engine, guint64 ms)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)ms * 1000;
    gboolean over = FALSE, heard = FALSE;

    g_mutex_lock(&engine->lock.sleep);
    while (!over && !heard && !wanted_locked(engine, FALSE)) {
        engine->lock.listening = TRUE;
        g_mutex_unlock(&engine->lock.sleep);
        heard = wait_for_broker(engine, deadline, &over);
        g_mutex_lock(&engine->lock.sleep);
        engine->lock.listening = FALSE;
    }
    engine->lock.poked = FALSE;
    g_mutex_unlock(&engine->lock.sleep);
    return heard;
}
