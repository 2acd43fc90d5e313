/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* budget.h: how many kernel mappings the regions use, and may use. */
#ifndef KSM_BUDGET_H
#define KSM_BUDGET_H

#include "memory/ram.h"

/*
 * Whether a run of `length` pages that adds `delta` mappings still fits into
 * the engine's budget and into what all engines of the process may use
 * together.  Short runs must leave room for longer ones that come later; runs
 * of KSM_BUDGET_LONG pages may use all of it.
 *
 * Called twice for each exchange.  First before anything is prepared, with the
 * length of the whole run, so that a refusal costs nothing.  Then under
 * ksm_discard_lock(), with KSM_BUDGET_LONG: taking that lock records what was
 * discarded since, and that, or another engine, may have used the room.
 * Whether the run is worth its mappings was already decided.
 */
gboolean ksm_budget_allows(KsmEngine *engine, guint32 length, gint64 delta);

#define KSM_BUDGET_LONG 64u

/* Number of mappings of all regions of the engine. */
guint64 ksm_budget_used(KsmEngine *engine);

/*
 * Computes the budget in force: the part of the process's mappings that other
 * engines leave, but at most the option.  All engines together may use 15/16
 * of what vm.max_map_count leaves beside the process's other mappings, and
 * leave at least KSM_BUDGET_SPARE free.  Counts the other mappings from time
 * to time (milliseconds); call it outside of windows, under the work lock.
 */
guint64 ksm_budget_compute(KsmEngine *engine);

#define KSM_BUDGET_SPARE 1000u

/*
 * Takes `mappings` from what all engines may use, for a discard; FALSE: not
 * enough are left.  Under place_lock.  ksm_budget_tell() returns them.
 */
gboolean ksm_budget_claim(KsmEngine *engine, guint mappings);

/*
 * Records in the process's account what the engine's regions use.  Under the
 * work lock and place_lock, when everything discarded has been recorded.
 */
void ksm_budget_tell(KsmEngine *engine);

/* The same after only a region was added or removed; under the work lock. */
void ksm_budget_tell_regions(KsmEngine *engine);

/* The engine is freed and no longer uses any mappings. */
void ksm_budget_leave(KsmEngine *engine);

/*
 * Number of mappings that this engine must give up as its share, because all
 * engines together use more than they may: the limit was lowered, or the
 * program has mapped more.
 */
guint64 ksm_budget_excess(KsmEngine *engine);

/* For the child of a fork(), which has none of the parent's mappings. */
void ksm_budget_reset_in_child(void);

#endif /* KSM_BUDGET_H */
