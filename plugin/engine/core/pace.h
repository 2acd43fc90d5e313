/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pace.h: limits the scanner's CPU time, and tells it when to stop. */
#ifndef KSM_PACE_H
#define KSM_PACE_H

#include "core/engine-private.h"

/* Starts the accounting of CPU time; unlimited: no sleeps. */
void ksm_pace_begin(KsmEngine *engine, gboolean unlimited);

/* A safe point: sleeps until CPU time is within the configured share. */
void ksm_pace_safe_point(KsmEngine *engine);

/*
 * Whether the turn should end now: another thread wants the lock, the run mode
 * has changed, or there is a reason to stand aside.
 */
gboolean ksm_pace_interrupted(KsmEngine *engine);

/* Another broker is connected: what the former one granted is void. */
void ksm_pace_forget_grant(KsmEngine *engine);

/* Sleeps up to `ms`; FALSE: woken early by a request to the scanner. */
gboolean ksm_pace_sleep(KsmEngine *engine, guint64 ms);

/*
 * Called just before a window: yields to waiting threads, so that the
 * scheduler does not preempt the scanner inside the window.  This reduces the
 * longest window of four busy scanners on two processors from 5 ms to 0.8 ms.
 */
void ksm_pace_before_window(KsmEngine *engine);

/* Sleeps as well, but ends when the broker has sent something: TRUE. */
gboolean ksm_pace_listen(KsmEngine *engine, guint64 ms);

#endif /* KSM_PACE_H */
