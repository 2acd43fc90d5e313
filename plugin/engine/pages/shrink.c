/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shrink.c: gives mappings up if fewer are available than are used.
 *
 * This happens if vm.max_map_count was lowered, or the program has mapped more
 * meanwhile.  What the engines leave free is for the program; without it, its
 * next mmap() may fail, and anything that depends on it.  So the engines give
 * back what frees the most mappings for the fewest pages: rows of store
 * mappings between anonymous memory, first those with many mappings for their
 * pages.  Such a row becomes one mapping with the memory around it.  Giving it
 * back divides nothing, so the budget, which forbids giving back in the middle
 * of a mapping when it is used up, is not checked here.
 *
 * A kernel that is already at its limit refuses even this, because it needs
 * two more mappings in between.  The pages then stay until mappings are
 * available.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "pages/shrink.h"

#include "core/budget.h"
#include "core/pace.h"
#include "memory/account.h"
#include "memory/page-state.h"
#include "pages/giveback.h"

/* Pages given back for each mapping freed: initially, and at most. */
#define KSM_SHRINK_PAGES_FIRST 1u
#define KSM_SHRINK_PAGES_MAX 256u

static guint32 stretch_in_store(const KsmRegion *region, guint32 first)
{
    guint32 page = first;

    while (page < region->pages && ksm_page_in_store(region->state[page])) {
        page++;
    }
    return page - first;
}

/* TRUE: the engine has given up its share, or must do something else. */
static gboolean shrink_region(KsmEngine *engine, KsmRegion *region,
                              guint32 pages_each)
{
    guint32 page = 0, stores;

    while (page < region->pages && region->shadow) {
        guint32 count = stretch_in_store(region, page);

        if (!count) {
            page++;
            continue;
        }
        ksm_account_borders(region, page, page + count - 1, &stores);
        if (count <= stores * pages_each) {
            if (!ksm_budget_excess(engine) || ksm_pace_interrupted(engine)) {
                return TRUE;
            }
            engine->stats.counters.refused_budget += count;
            ksm_giveback_range(engine, region, page, count);
            ksm_pace_safe_point(engine);
        }
        page += count;
    }
    return FALSE;
}

static void shrink_all(KsmEngine *engine)
{
    guint32 pages_each;
    guint i;

    /* Copies in store mappings only cost mappings, so start with them. */
    for (i = 0; i < engine->ram.regions->len; i++) {
        ksm_giveback_broken(engine, g_ptr_array_index(engine->ram.regions, i));
    }
    for (pages_each = KSM_SHRINK_PAGES_FIRST;
         pages_each <= KSM_SHRINK_PAGES_MAX; pages_each *= 4) {
        for (i = 0; i < engine->ram.regions->len; i++) {
            if (shrink_region(engine, g_ptr_array_index(engine->ram.regions, i),
                              pages_each)) {
                return;
            }
        }
    }
}

void ksm_shrink_begin(KsmEngine *engine)
{
    engine->budget.shrinking = TRUE;
}

void ksm_shrink_end(KsmEngine *engine)
{
    engine->budget.shrinking = FALSE;
}

void ksm_shrink(KsmEngine *engine)
{
    if (!ksm_budget_excess(engine)) {
        return;
    }
    ksm_shrink_begin(engine);
    shrink_all(engine);
    ksm_shrink_end(engine);
}
