/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pace.h: how much CPU time the scanner takes, and when it must stop.
 */
#ifndef KSM_PACE_H
#define KSM_PACE_H

#include "engine-private.h"

/* From here on CPU time counts. */
void ksm_pace_begin(KsmEngine *engine, gboolean unlimited);

/* A safe point: sleeps until CPU time is within the share again. */
void ksm_pace_rest(KsmEngine *engine);

/* Whether the round should end now: another thread wants the engine. */
gboolean ksm_pace_interrupted(KsmEngine *engine);

/* Sleeps up to ms, or until something is asked of the scanner. */
void ksm_pace_sleep(KsmEngine *engine, guint64 ms);

#endif /* KSM_PACE_H */
