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

#endif /* KSM_WAITS_H */
