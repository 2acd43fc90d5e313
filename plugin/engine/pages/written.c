/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* written.c: how a write changes the state of a page. */
#include "pages/written.h"

#include "core/releases.h"
#include "memory/page-state.h"
#include "memory/ram.h"

void ksm_written_note(KsmEngine *engine, KsmRegion *region, guint32 page)
{
    switch (ksm_page_state(region->state[page])) {
    case KSM_PAGE_BROKEN:
        return;
    case KSM_PAGE_CANDIDATE:
        ksm_releases_withdraw(engine, region, page);
        break;
    case KSM_PAGE_ZERO:
        engine->stats.counters.breaks++;
        break;
    case KSM_PAGE_UNTOUCHED:
        /* No back-off: the page was never processed. */
        region->wait[page] = (guint8)(engine->turn.round - 128);
        break;
    case KSM_PAGE_PRIVATE:
    case KSM_PAGE_EXCLUDED:
    case KSM_PAGE_SHARED:
    case KSM_PAGE_STATES:
        break;
    }
    ksm_ram_note_written(region, page, engine->turn.round, engine->due.rounds);
    ksm_ram_set_state(region, page, KSM_PAGE_PRIVATE);
}
