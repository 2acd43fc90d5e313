/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* notice.h: what KsmOptions.notify reports to the program. */
#ifndef KSM_NOTICE_H
#define KSM_NOTICE_H

#include "core/engine-private.h"

/* Updates the degraded state from the refusals since the last call. */
void ksm_notice_update(KsmEngine *engine);

/* Reports the changes between the last reported snapshot and the newest. */
void ksm_notice_tell(KsmEngine *engine);

/*
 * Publishes the statistics and notifies the program if the last time was a
 * while ago (in a long round).  Scanner thread, outside of windows and of the
 * fork lock.
 */
void ksm_notice_refresh(KsmEngine *engine);

#endif /* KSM_NOTICE_H */
