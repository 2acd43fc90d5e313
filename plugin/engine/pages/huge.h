/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * huge.h: keeps huge pages whole if splitting them would gain little
 * (KsmOptions.keep_huge).
 */
#ifndef KSM_HUGE_H
#define KSM_HUGE_H

#include "core/engine-private.h"

/* Takes the tracker's report before the pages' states are updated. */
void ksm_huge_note_written(KsmRegion *region, guint32 first, guint32 end,
                           gboolean huge);

/* Before tracking: marks blocks whose parking is over to be armed again. */
void ksm_huge_wake(KsmEngine *engine, KsmRegion *region);

/* After tracking: parks hot blocks and collapses them to huge pages. */
void ksm_huge_judge(KsmEngine *engine, KsmRegion *region);

/*
 * Call it before anything is merged or published.  Removes from
 * engine->batch.matches, engine->batch.publishable and zeros (guint32 pages of
 * its region, or NULL) the pages whose huge page is worth more than sharing
 * them.
 */
void ksm_huge_weigh(KsmEngine *engine, GArray *zeros);

/* Whether blocks are weighed now; batches should then hold whole blocks. */
gboolean ksm_huge_weighs(KsmEngine *engine);

#endif /* KSM_HUGE_H */
