/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock.h: taking the engine from its scanner, and waking the scanner. */
#ifndef KSM_LOCK_H
#define KSM_LOCK_H

#include "core/engine-private.h"

/* Takes the work lock; the scanner releases it at its next safe point. */
void ksm_engine_lock(KsmEngine *engine);
void ksm_engine_unlock(KsmEngine *engine);

/* Whether another thread wants the work lock. */
gboolean ksm_lock_waited_for(KsmEngine *engine);

/* Wakes the scanner from a sleep; `poke` also ends the sleep between rounds. */
void ksm_lock_wake(KsmEngine *engine, gboolean poke);

/* Ends the scanner's sleep, if there is a reason to; under lock.sleep. */
void ksm_lock_rouse(KsmEngine *engine);

#endif /* KSM_LOCK_H */
