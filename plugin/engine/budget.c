/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * budget.c: counting mappings, the scarce resource (vm.max_map_count).
 *
 * Two neighbouring pages need one mapping together when both are anonymous, or
 * both lie in the store in neighbouring slots.  The count is kept by looking
 * at the borders of what changes.  The kernel can have more mappings than
 * that: two neighbours with copies made by different writers (anon_vma) do not
 * always merge, and unsettled parts are not registered yet; the sixteenth that
 * an automatic budget leaves free covers them.  Running into the kernel's own
 * limit is harmless (the window rolls back), but would starve the rest of the
 * program of mappings, hence the budget.
 */
#include "budget.h"

#include "engine-private.h"
#include "sys.h"

/* Counting reads /proc/self/maps: 0.5 us a mapping, so not in each round. */
#define KSM_COUNT_ROUNDS 64u

static gboolean one_mapping(const KsmRegion *region, guint32 page)
{
    gboolean left = ksm_page_in_store(region->state[page - 1]);
    gboolean right = ksm_page_in_store(region->state[page]);

    if (left != right) {
        return FALSE;
    }
    return !left ||
           (region->slot[page - 1] + 1 == region->slot[page] &&
            !((region->state[page - 1] ^ region->state[page]) &
              KSM_PAGE_LOST));
}

guint32 ksm_budget_borders(const KsmRegion *region, guint32 first,
                           guint32 end, guint32 *stores)
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

gboolean ksm_budget_allows(guint64 used, guint64 budget, guint32 length,
                           gint64 delta)
{
    guint64 share = length >= 64 ? 16 : length >= 8 ? 15 : length >= 2 ? 14 :
                    12;

    return delta <= 0 || used + (guint64)delta <= budget * share / 16;
}

gint64 ksm_budget_delta(const KsmRegion *region, guint32 first, guint32 count,
                        guint32 slot)
{
    gint64 delta = 0;
    guint32 end = first + count;

    if (first > 0) {
        guint8 left = region->state[first - 1];
        gboolean joins = ksm_page_in_store(left) && !(left & KSM_PAGE_LOST) &&
                         region->slot[first - 1] + 1 == slot;

        delta += (joins ? 0 : 1) - (one_mapping(region, first) ? 0 : 1);
    }
    if (end < region->pages) {
        guint8 right = region->state[end];
        gboolean joins = ksm_page_in_store(right) &&
                         !(right & KSM_PAGE_LOST) &&
                         region->slot[end] == slot + count;

        delta += (joins ? 0 : 1) - (one_mapping(region, end) ? 0 : 1);
    }
    return delta;
}

guint64 ksm_budget_used(KsmEngine *engine)
{
    guint64 used = 0;
    guint i;

    for (i = 0; i < engine->regions->len; i++) {
        used += ((KsmRegion *)g_ptr_array_index(engine->regions, i))->mappings;
    }
    return used;
}

/* The program's mappings beside the regions', counted every so often. */
static guint64 other_mappings(KsmEngine *engine)
{
    guint64 all, used;

    if (engine->counters.full_scans % KSM_COUNT_ROUNDS == 0 ||
        !engine->other_mappings) {
        all = ksm_sys_count_mappings();
        used = ksm_budget_used(engine);
        engine->other_mappings = all > used ? all - used : 1;
    }
    return engine->other_mappings;
}

guint64 ksm_budget_compute(KsmEngine *engine)
{
    guint option = g_atomic_int_get(&engine->max_mappings);
    guint64 limit, others;

    if (option) {
        return option;
    }
    limit = ksm_sys_max_map_count();
    others = other_mappings(engine);
    return limit > others ? (limit - others) * 15 / 16 : 0;
}
