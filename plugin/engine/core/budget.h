/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * budget.h: how many kernel mappings the regions use, and may use.
 */
#ifndef KSM_BUDGET_H
#define KSM_BUDGET_H

#include "memory/ram.h"

/*
 * Whether a run of `length` pages that adds `delta` mappings still fits, in the
 * engine's budget and in what all engines of the process may use together.
 * Short runs leave room for longer ones that come later; those of
 * KSM_BUDGET_LONG pages leave none.
 *
 * Asked twice about each exchange.  First before anything is prepared, with the
 * length of the whole run, so that a refusal costs nothing.  Then under
 * ksm_discard_lock(), with KSM_BUDGET_LONG: taking that lock enters what was
 * discarded since, and that, or another engine, may have taken the room; that
 * the run is worth its mappings was decided before.
 */
gboolean ksm_budget_allows(KsmEngine *engine, guint32 length, gint64 delta);

#define KSM_BUDGET_LONG 64u

/* Mappings of all regions of the engine. */
guint64 ksm_budget_used(KsmEngine *engine);

/*
 * The budget in force: what is left to this engine of what all engines of the
 * process may use together, and no more than the option.  All together it is
 * 15/16 of what vm.max_map_count leaves the process beside its other mappings,
 * but for KSM_BUDGET_SPARE of them at least.  Counts those now and then
 * (milliseconds); outside of windows, under the work lock.
 */
guint64 ksm_budget_compute(KsmEngine *engine);

#define KSM_BUDGET_SPARE 1000u

/*
 * Takes so many from what all engines may use, if they are left, for whoever
 * discards; under place_lock.  ksm_budget_tell() gives them back.
 */
gboolean ksm_budget_claim(KsmEngine *engine, guint mappings);

/*
 * Enters in the process's account what the engine's regions use; under the work
 * lock and place_lock, when all that was discarded has been recorded.
 */
void ksm_budget_tell(KsmEngine *engine);

/* The same, when only a region was added or removed; under the work lock. */
void ksm_budget_tell_regions(KsmEngine *engine);

/* The engine ends: it uses nothing any more. */
void ksm_budget_leave(KsmEngine *engine);

/*
 * How many mappings this engine has to give up for its part, as all engines
 * together use more than they may: the limit was lowered, or the program has
 * mapped more.
 */
guint64 ksm_budget_excess(KsmEngine *engine);

/* In the child of a fork(): nothing of the parent's engines is mapped here. */
void ksm_budget_reset_in_child(void);

#endif /* KSM_BUDGET_H */
