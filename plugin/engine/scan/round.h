/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * round.h: one round over all regions.
 */
#ifndef KSM_ROUND_H
#define KSM_ROUND_H

#include "core/engine-private.h"

/*
 * Runs a round; ends early when interrupted or when the broker is lost.  Without
 * `scan`, nothing has been written since the last one.
 */
void ksm_round_run(KsmEngine *engine, gboolean scan);

/* Whether nothing has come of fetching results for a while. */
gboolean ksm_round_is_quiet(KsmEngine *engine);

/* Merges the listed pages that have got a slot since, without a round. */
void ksm_round_results(KsmEngine *engine);

/* Enters what was written since the last time; FALSE: the broker is lost. */
gboolean ksm_round_track(KsmEngine *engine);

#endif /* KSM_ROUND_H */
