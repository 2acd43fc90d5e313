/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* round.h: one round over all regions. */
#ifndef KSM_ROUND_H
#define KSM_ROUND_H

#include "core/engine-private.h"

/*
 * Runs a round; ends early if interrupted or if the broker is lost.  With `scan`
 * FALSE, nothing has been written since the last scan.
 */
void ksm_round_run(KsmEngine *engine, gboolean scan);

/* Whether fetching results has brought nothing for a while. */
gboolean ksm_round_is_quiet(KsmEngine *engine);

/* Merges listed pages that have got a slot since, without a round. */
void ksm_round_results(KsmEngine *engine);

/* Records the writes since the last call; FALSE: the broker is lost. */
gboolean ksm_round_track(KsmEngine *engine);

#endif /* KSM_ROUND_H */
