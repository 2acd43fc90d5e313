/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* zero.h: whether the kernel has a shared zero page, and what to do if not. */
#ifndef KSM_ZERO_H
#define KSM_ZERO_H

#include "core/engine-private.h"

/* Tests the kernel; if there is no zero page, logs that once per process. */
void ksm_zero_ask(KsmEngine *engine);

void ksm_zero_close(KsmEngine *engine);

/*
 * Whether reading a hole in guest memory takes no memory.  The test is
 * repeated in each round in which this is called.
 */
gboolean ksm_zero_has_page(KsmEngine *engine);

#endif /* KSM_ZERO_H */
