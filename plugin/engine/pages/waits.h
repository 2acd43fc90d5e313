/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * waits.h: the waits of pages, counted in rounds.
 */
#ifndef KSM_WAITS_H
#define KSM_WAITS_H

#include "core/due.h"
#include "memory/ram.h"

/*
 * Whether the page's wait is over in this round; counts it down otherwise, once
 * a round, and lets due.c know how long it still is.
 */
static inline gboolean ksm_waits_over(KsmEngine *engine, KsmRegion *region,
                                      guint32 page)
{
    /* Also asked outside of rounds (unmerge): that counts as one. */
    if (ksm_ram_wait_over(region, page, MAX(engine->due.rounds, 1))) {
        return TRUE;
    }
    if (!(region->state[page] & KSM_PAGE_HWPOISON)) {
        ksm_due_note_waiting(engine, region->wait[page]);
    }
    return FALSE;
}

/*
 * The page waits until the sweep after the next one, or the next if that counts
 * for more rounds than the last: like a page that was just written.
 */
static inline void ksm_waits_anew(KsmEngine *engine, KsmRegion *region,
                                  guint32 page)
{
    /* What the next sweep will subtract, and one more. */
    region->wait[page] = (guint8)MIN(MAX(engine->due.rounds, 1) + 1u,
                                     G_MAXUINT8);
    ksm_due_note_waiting(engine, region->wait[page]);
}

#endif /* KSM_WAITS_H */
