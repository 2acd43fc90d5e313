/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sweep.h: idle pages, from finding them to merging them. */
#ifndef KSM_SWEEP_H
#define KSM_SWEEP_H

#include "core/engine-private.h"

/*
 * Counts down the wait of private pages, and looks up and merges those that
 * are idle.  Ends early if the engine is interrupted.  FALSE: the broker is
 * lost.
 */
gboolean ksm_sweep_region(KsmEngine *engine, KsmRegion *region);

#endif /* KSM_SWEEP_H */
