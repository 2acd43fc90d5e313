/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * huge.h: keeps huge pages whole where splitting them would gain little
 * (KsmOptions.keep_huge).
 */
#ifndef KSM_HUGE_H
#define KSM_HUGE_H

#include "core/engine-private.h"

/* The tracker's report, before it is recorded in the pages' states. */
void ksm_huge_note_written(KsmRegion *region, guint32 first, guint32 end,
                           gboolean huge);

/* Before tracking: blocks whose time is over are to be armed again. */
void ksm_huge_wake(KsmEngine *engine, KsmRegion *region);

/* After it: lets blocks that are hot rest, and makes them huge again. */
void ksm_huge_judge(KsmEngine *engine, KsmRegion *region);

/*
 * Before anything is merged or published: takes those pages out of
 * engine->batch.matches, engine->batch.publishable and zeros (guint32 pages of
 * its region, or NULL) whose huge page is worth more than they are.
 */
void ksm_huge_weigh(KsmEngine *engine, GArray *zeros);

/* Whether blocks are weighed at present: so batches should hold whole ones. */
gboolean ksm_huge_weighs(KsmEngine *engine);

#endif /* KSM_HUGE_H */
