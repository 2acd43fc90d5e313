/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * giveback.h: turn store mappings into anonymous memory again.
 */
#ifndef KSM_GIVEBACK_H
#define KSM_GIVEBACK_H

#include "engine-private.h"

/*
 * Makes every shared page of the region private (run mode `unmerge`).  Broken
 * pages stay as they are: copying them is only safe where it is known that no
 * DMA is under way into them, which needs help from the program (a device
 * model), not available yet; when it is, they are given back here too.
 *
 * Bindings that are mapped no more go to engine->released.  TRUE when no
 * shared page is left; FALSE when it ended early (interrupted, or the kernel
 * refused): to be called again.
 */
gboolean ksm_giveback_region(KsmEngine *engine, KsmRegion *region);

#endif /* KSM_GIVEBACK_H */
