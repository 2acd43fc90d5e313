/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* giveback.h: turns store mappings into anonymous memory again. */
#ifndef KSM_GIVEBACK_H
#define KSM_GIVEBACK_H

#include "core/engine-private.h"

/*
 * Opens the second userfaultfd, which write-protects the pages while they are
 * exchanged.  FALSE: not possible now; it is retried when needed.  Call it
 * early, because a program may move to where /dev/userfaultfd cannot be
 * reached (-chroot).
 */
gboolean ksm_giveback_open(KsmEngine *engine);
void ksm_giveback_close(KsmEngine *engine);

/*
 * Makes every shared page of the region private (run mode `unmerge`), and
 * broken pages as described below.  Bindings that are no longer mapped are
 * added to engine->releases.released.  TRUE if no shared page is left, and no
 * broken one that can be given back.  FALSE if it ended early (interrupted, or
 * the kernel refused), or mappings or a device stood in the way: call it again.
 */
gboolean ksm_giveback_region(KsmEngine *engine, KsmRegion *region);

/* Makes shared pages of a region with a shadow anonymous, where possible. */
void ksm_giveback_range(KsmEngine *engine, KsmRegion *region, guint32 first,
                        guint32 count);

/*
 * Makes broken pages anonymous again whose back-off after the write is over,
 * provided that KsmOptions.dma_in_flight is set: copying a page during DMA
 * would lose what the device writes.
 */
void ksm_giveback_broken(KsmEngine *engine, KsmRegion *region);

/*
 * Makes some of the shared pages anonymous again whose store no broker has any
 * more (KSM_PAGE_ORPHANED), so that they can be shared again.  It is only
 * some, because each takes memory of its own until it is shared again.  Call
 * it each round while engine->lost is set.
 */
void ksm_giveback_orphaned(KsmEngine *engine);

#endif /* KSM_GIVEBACK_H */
