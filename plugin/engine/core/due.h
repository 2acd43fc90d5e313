/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * due.h: how much of a round is needed.  Thread: the scanner's, under the work
 * lock.
 */
#ifndef KSM_DUE_H
#define KSM_DUE_H

#include "core/engine-private.h"

typedef enum KsmDueWork {
    KSM_DUE_NOTHING, /* a round would find nothing */
    KSM_DUE_LATER,   /* deferred: too little was written */
    KSM_DUE_SWEEP,   /* nothing was written, but a wait is over */
    KSM_DUE_SCAN,    /* a full round */
} KsmDueWork;

/* Something other than rounds may have changed pages: the next round scans. */
static inline void ksm_due_forget(KsmEngine *engine)
{
    engine->due.known = FALSE;
}

/* What the round that is due has to do.  To be called once per interval. */
KsmDueWork ksm_due_judge(KsmEngine *engine);

/* Starts a round, which counts as one interval at least. */
void ksm_due_begin_round(KsmEngine *engine);

/* To be called before tracking: later writes are for the next scan to find. */
void ksm_due_begin_scan(KsmEngine *engine);

/* Adds pages that this scan found written. */
static inline void ksm_due_note_written(KsmEngine *engine, guint32 pages)
{
    engine->due.hot += pages;
}

/* To be called before regions are swept: forgets which pages waited. */
void ksm_due_begin_sweep(KsmEngine *engine);

/* Notes a page whose wait is over in `rounds` rounds. */
static inline void ksm_due_note_waiting(KsmEngine *engine, guint8 rounds)
{
    engine->due.soonest = MIN(engine->due.soonest, rounds);
}

/* Ends a round; `scanned`: it did, `whole`: it was not interrupted. */
void ksm_due_end(KsmEngine *engine, gboolean scanned, gboolean whole);

#endif /* KSM_DUE_H */
