/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* zero.h: whether the kernel keeps a page of zeros for all, and what if not. */
#ifndef KSM_ZERO_H
#define KSM_ZERO_H

#include "core/engine-private.h"

/* Asks the kernel; if there is none, the process says so once. */
void ksm_zero_ask(KsmEngine *engine);

void ksm_zero_close(KsmEngine *engine);

/*
 * Whether a hole in guest memory costs nothing when it is read; asked anew in
 * each round in which anybody wants to know.
 */
gboolean ksm_zero_has_page(KsmEngine *engine);

#endif /* KSM_ZERO_H */
