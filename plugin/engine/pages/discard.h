/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * discard.h: pages whose owner has given their content up.
 */
#ifndef KSM_DISCARD_H
#define KSM_DISCARD_H

#include "core/engine-private.h"

/*
 * Around whatever takes pages away or puts others in their place, and the entry
 * of the new state: nothing is discarded meanwhile, and whatever was discarded
 * before is recorded.  The scanner's.
 */
void ksm_discard_lock(KsmEngine *engine);
void ksm_discard_unlock(KsmEngine *engine);

/* Enters what was discarded; FALSE: nothing was.  The scanner's. */
gboolean ksm_discard_flush(KsmEngine *engine);

/* Whether pages [first, first + count) are all in this state. */
gboolean ksm_discard_still(const KsmRegion *region, guint32 first,
                           guint32 count, KsmPageState state);

#endif /* KSM_DISCARD_H */
