/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * page-map.c: a map of the guest pages by state, for the broker.
 *
 * One byte for each page, or for as many consecutive pages as it takes to stay
 * within KSM_BATCH_CELLS.  Reads only the engine's own bookkeeping, one byte a
 * page (0.3 ms for a gigabyte), and no guest memory.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "session/page-map.h"

#include <string.h>

#include "client/broker-client.h"
#include "memory/page-state.h"

G_STATIC_ASSERT((int)KSM_MAP_UNTOUCHED == (int)KSM_PAGE_UNTOUCHED);
G_STATIC_ASSERT((int)KSM_MAP_PRIVATE == (int)KSM_PAGE_PRIVATE);
G_STATIC_ASSERT((int)KSM_MAP_CANDIDATE == (int)KSM_PAGE_CANDIDATE);
G_STATIC_ASSERT((int)KSM_MAP_ZERO == (int)KSM_PAGE_ZERO);
G_STATIC_ASSERT((int)KSM_MAP_SHARED == (int)KSM_PAGE_SHARED);
G_STATIC_ASSERT((int)KSM_MAP_BROKEN == (int)KSM_PAGE_BROKEN);
G_STATIC_ASSERT((int)KSM_MAP_EXCLUDED == (int)KSM_PAGE_EXCLUDED);
G_STATIC_ASSERT((int)KSM_MAP_NONE == (int)KSM_PAGE_STATES);

/* Counts the states of pages [first, end) of the session. */
static void count_states(KsmEngine *engine, guint64 first, guint64 end,
                         guint32 counts[KSM_MAP_STATES])
{
    guint64 known = 0;
    guint i;

    memset(counts, 0, KSM_MAP_STATES * sizeof(counts[0]));
    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);
        guint64 base = region->base;
        guint64 from = MAX(first, base), to = MIN(end, base + region->pages);
        guint64 page;

        for (page = from; page < to; page++) {
            counts[ksm_page_state(region->state[page - base])]++;
        }
        known += to > from ? to - from : 0;
    }
    counts[KSM_MAP_NONE] = (guint32)(end - first - known);
}

static guint8 make_cell(const guint32 counts[KSM_MAP_STATES], guint32 pages)
{
    guint32 most = 0, share, i;

    for (i = 1; i < KSM_MAP_STATES; i++) {
        if (counts[i] > counts[most]) {
            most = i;
        }
    }
    share = (guint32)((guint64)counts[most] * KSM_MAP_SHARE_ALL / pages);
    return (guint8)(most | MAX(share, 1) << KSM_MAP_SHARE_SHIFT);
}

gboolean ksm_page_map_send(KsmEngine *engine, guint32 serial)
{
    guint8 *cells = ksm_broker_client_items(&engine->broker);
    guint64 pages = MAX(engine->ram.session_pages, 1), first;
    KsmMsgMap map = {
        .pages = pages,
        .pages_per_cell = 1,
        .map_serial = serial,
    };

    while ((pages - 1) / map.pages_per_cell >= KSM_BATCH_CELLS) {
        map.pages_per_cell *= 2;
    }
    for (first = 0; first < pages; first += map.pages_per_cell) {
        guint64 end = MIN(first + map.pages_per_cell, pages);
        guint32 counts[KSM_MAP_STATES];

        count_states(engine, first, end, counts);
        cells[map.msg.count++] = make_cell(counts, (guint32)(end - first));
    }
    return ksm_broker_client_map(&engine->broker, &map);
}
