/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shrink.c: gives mappings up when there are fewer than is used.
 *
 * vm.max_map_count was lowered, or the program has mapped more meanwhile.
 * What is left free is the program's; without it, its next mmap() may fail,
 * and with it whatever cannot go on then.  So the engines give back what saves
 * the most mappings for the fewest pages: stretches of store mappings between
 * anonymous memory, those first that have many mappings for their pages.  Such
 * a stretch becomes one mapping with what is around it; giving it back divides
 * nothing, so the budget, which forbids giving back in the midst of a mapping
 * when it is used up, has no say here.
 *
 * A kernel that is at its limit already refuses even this: it wants two
 * mappings in between.  Then the pages stay, until there are some.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "pages/shrink.h"

#include "core/budget.h"
#include "core/pace.h"
#include "memory/account.h"
#include "memory/page-state.h"
#include "pages/giveback.h"

/* Pages that are given back for a mapping: at first, and at most. */
#define KSM_SHRINK_PAGES_FIRST  1u
#define KSM_SHRINK_PAGES_MAX    256u

static guint32 stretch_in_store(const KsmRegion *region, guint32 first)
{
    guint32 page = first;

    while (page < region->pages && ksm_page_in_store(region->state[page])) {
        page++;
    }
    return page - first;
}

/* TRUE: the engine has given up its part, or must do something else. */
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

    /* Copies in store mappings save nothing but mappings. */
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

void ksm_shrink(KsmEngine *engine)
{
    guint64 budget = engine->budget.allowed;

    if (!ksm_budget_excess(engine)) {
        return;
    }
    engine->budget.shrinking = TRUE;
    engine->budget.allowed = G_MAXUINT32;
    shrink_all(engine);
    engine->budget.allowed = budget;
    engine->budget.shrinking = FALSE;
}
