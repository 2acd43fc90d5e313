/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * account.c: counts a region's mappings.
 *
 * Two neighbouring pages share a mapping if both are anonymous, or if both are
 * in the store in neighbouring slots.  The count is updated by examining the
 * borders of the changed range before and after the change.
 */
#include "memory/account.h"

#include "memory/page-state.h"

static gboolean one_mapping(const KsmRegion *region, guint32 page)
{
    gboolean left = ksm_page_in_store(region->state[page - 1]);
    gboolean right = ksm_page_in_store(region->state[page]);

    if (left != right) {
        return FALSE;
    }
    return !left || (region->slot[page - 1] + 1 == region->slot[page] &&
                     !((region->state[page - 1] ^ region->state[page]) &
                       KSM_PAGE_ORPHANED));
}

guint32 ksm_account_borders(const KsmRegion *region, guint32 first, guint32 end,
                            guint32 *stores)
{
    guint32 page, borders = 0;

    *stores = 0;
    for (page = first; page <= end && page < region->pages; page++) {
        if (page == 0) {
            *stores += ksm_page_in_store(region->state[0]);
        } else if (!one_mapping(region, page)) {
            borders++;
            *stores += ksm_page_in_store(region->state[page]);
        }
    }
    return borders;
}

gint64 ksm_account_delta(const KsmRegion *region, guint32 first, guint32 count,
                         guint32 slot)
{
    gint64 delta = 0;
    guint32 end = first + count;

    if (first > 0) {
        guint8 left = region->state[first - 1];
        gboolean joins = ksm_page_in_store(left) &&
                         !(left & KSM_PAGE_ORPHANED) &&
                         region->slot[first - 1] + 1 == slot;

        delta += (joins ? 0 : 1) - (one_mapping(region, first) ? 0 : 1);
    }
    if (end < region->pages) {
        guint8 right = region->state[end];
        gboolean joins = ksm_page_in_store(right) &&
                         !(right & KSM_PAGE_ORPHANED) &&
                         region->slot[end] == slot + count;

        delta += (joins ? 0 : 1) - (one_mapping(region, end) ? 0 : 1);
    }
    return delta;
}

KsmAccountChange ksm_account_begin(const KsmRegion *region, guint32 first,
                                   guint32 end)
{
    KsmAccountChange change = { .first = first, .end = end };

    change.borders = ksm_account_borders(region, first, end, &change.stores);
    return change;
}

void ksm_account_end(KsmRegion *region, const KsmAccountChange *change)
{
    guint32 stores;
    guint32 borders = ksm_account_borders(region, change->first, change->end,
                                          &stores);

    region->mappings += (guint64)borders - change->borders;
    region->store_mappings += (guint64)stores - change->stores;
}
