/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * notice.h: what the program is told of by KsmOptions.notify.
 */
#ifndef KSM_NOTICE_H
#define KSM_NOTICE_H

#include "engine-private.h"

/* Enters what limits have done in this turn; under the work lock. */
void ksm_notice_look(KsmEngine *engine);

/* Tells what has changed since the last time; without any lock. */
void ksm_notice_tell(KsmEngine *engine);

#endif /* KSM_NOTICE_H */
