/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * due.h: how much of a round is needed.
 *
 * Thread: the scanner's, under the work lock.
 */
#ifndef KSM_DUE_H
#define KSM_DUE_H

#include "core/engine-private.h"

typedef enum KsmDueWork {
    KSM_DUE_NOTHING, /* as good as a round that found nothing */
    KSM_DUE_LATER,   /* too little was written to look for it */
    KSM_DUE_SWEEP,   /* nothing was written; some page's wait is over */
    KSM_DUE_SCAN,    /* all of it */
} KsmDueWork;

/* Once an interval: what the round that is due has to do. */
KsmDueWork ksm_due_judge(KsmEngine *engine);

/* Before all else in a round: it counts as one, however it came about. */
static inline void ksm_due_begin_round(KsmEngine *engine)
{
    engine->due.rounds = MAX(engine->due.rounds, 1);
}

/* Before tracking: writes from here on are the next scan's to find. */
void ksm_due_begin_scan(KsmEngine *engine);

/* Pages found written by this scan. */
static inline void ksm_due_note_written(KsmEngine *engine, guint32 pages)
{
    engine->due.hot += pages;
}

/* Before regions are swept: what waits is to be noted anew. */
void ksm_due_begin_sweep(KsmEngine *engine);

/* A page was found whose wait is over in so many rounds. */
static inline void ksm_due_note_waiting(KsmEngine *engine, guint8 rounds)
{
    engine->due.soonest = MIN(engine->due.soonest, rounds);
}

/* The round is over; with `whole` it was not interrupted. */
void ksm_due_end(KsmEngine *engine, gboolean scanned, gboolean whole);

#endif /* KSM_DUE_H */
