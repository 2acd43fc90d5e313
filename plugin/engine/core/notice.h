/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * notice.h: what the program is told of by KsmOptions.notify.
 */
#ifndef KSM_NOTICE_H
#define KSM_NOTICE_H

#include "core/engine-private.h"

/* Enters what limits have done lately. */
void ksm_notice_update(KsmEngine *engine);

/* Tells what the last snapshot has that the one told last had not. */
void ksm_notice_tell(KsmEngine *engine);

/*
 * Publishes the figures and tells the program, if the last time was a while ago (a
 * long round).  Scanner thread, outside of windows and of the fork lock.
 */
void ksm_notice_refresh(KsmEngine *engine);

#endif /* KSM_NOTICE_H */
