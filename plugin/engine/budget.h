/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * budget.h: how many kernel mappings the regions use, and may use.
 */
#ifndef KSM_BUDGET_H
#define KSM_BUDGET_H

#include "ram.h"

/*
 * Places between pages first - 1 and end where one mapping ends and another
 * begins; *stores counts those where a store mapping begins.
 */
guint32 ksm_budget_borders(const KsmRegion *region, guint32 first,
                           guint32 end, guint32 *stores);

/*
 * Whether a run of `length` pages that adds `delta` mappings still fits: short
 * runs leave room for longer ones that come later.
 */
gboolean ksm_budget_allows(guint64 used, guint64 budget, guint32 length,
                           gint64 delta);

/*
 * Mappings that the change of pages [first, first + count) from anonymous to
 * slots from `slot` on would add (or save, when negative).
 */
gint64 ksm_budget_delta(const KsmRegion *region, guint32 first, guint32 count,
                        guint32 slot);

/* Mappings of all regions of the engine. */
guint64 ksm_budget_used(KsmEngine *engine);

/*
 * The budget in force: the option, or 15/16 of what vm.max_map_count leaves
 * this process beside its other mappings.  Those are counted every 64 rounds
 * (milliseconds).
 */
guint64 ksm_budget_compute(KsmEngine *engine);

#endif /* KSM_BUDGET_H */
