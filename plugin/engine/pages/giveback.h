/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * giveback.h: turn store mappings into anonymous memory again.
 */
#ifndef KSM_GIVEBACK_H
#define KSM_GIVEBACK_H

#include "core/engine-private.h"

/*
 * Opens the second userfaultfd, which protects the pages while they are
 * exchanged; FALSE: not now, and it is tried again when it is needed.  Early, as
 * a program may go where /dev/userfaultfd is out of sight (-chroot).
 */
gboolean ksm_giveback_open(KsmEngine *engine);
void ksm_giveback_close(KsmEngine *engine);

/*
 * Makes every shared page of the region private (run mode `unmerge`), and broken
 * ones as below.  Bindings that are mapped no more go to engine->releases.released.
 * TRUE when no shared page is left; FALSE when it ended early (interrupted, or
 * the kernel refused): to be called again.
 */
gboolean ksm_giveback_region(KsmEngine *engine, KsmRegion *region);

/* Makes shared pages of a region with a shadow anonymous again, for the most. */
void ksm_giveback_range(KsmEngine *engine, KsmRegion *region, guint32 first,
                        guint32 count);

/*
 * Makes broken pages anonymous again whose rest since they were written is
 * over, as long as it is known whether devices write (KsmOptions.dma_in_flight): copying
 * a page under a DMA would lose what that writes.
 */
void ksm_giveback_broken(KsmEngine *engine, KsmRegion *region);

/*
 * Makes some of the shared pages anonymous again that lie in a store which no
 * broker has any more (KSM_PAGE_ORPHANED), so that they can be shared anew.  Some
 * only: until they are, each takes memory of its own.  To be called each round
 * while engine->lost.
 */
void ksm_giveback_orphaned(KsmEngine *engine);

#endif /* KSM_GIVEBACK_H */
