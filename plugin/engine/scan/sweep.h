/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sweep.h: idle pages, from finding them to having them merged.
 */
#ifndef KSM_SWEEP_H
#define KSM_SWEEP_H

#include "core/engine-private.h"

/*
 * Counts the rest of private pages down, and looks up and merges those whose
 * time has come.  Ends early when the engine is interrupted.  FALSE: the
 * broker is lost.
 */
gboolean ksm_sweep_region(KsmEngine *engine, KsmRegion *region);

#endif /* KSM_SWEEP_H */
