/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* discard.h: pages whose content was discarded by their owner. */
#ifndef KSM_DISCARD_H
#define KSM_DISCARD_H

#include "core/engine-private.h"

/*
 * Must enclose any code that takes pages away or replaces them and then
 * records the new state.  Nothing is discarded while the lock is held, and
 * everything discarded before is recorded.  Scanner thread.
 */
void ksm_discard_lock(KsmEngine *engine);
void ksm_discard_unlock(KsmEngine *engine);

/* Records what was discarded; FALSE: nothing was.  Scanner thread. */
gboolean ksm_discard_flush(KsmEngine *engine);

/* Whether pages [first, first + count) are all in this state. */
gboolean ksm_discard_still(const KsmRegion *region, guint32 first,
                           guint32 count, KsmPageState state);

#endif /* KSM_DISCARD_H */
