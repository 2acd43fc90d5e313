/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* merge.h: replaces pages by slots or zeros: runs, windows, bookkeeping. */
#ifndef KSM_MERGE_H
#define KSM_MERGE_H

#include "core/engine-private.h"

/*
 * Merges the pages of engine->batch.matches with their slots, longest runs
 * first, and empties the array.  Pages that cannot be merged stay private, and
 * their bindings are added to engine->releases.released.  Ends early if the
 * engine is interrupted.
 */
void ksm_merge_matches(KsmEngine *engine);

/* Gives zero pages [first, first + count) back to the kernel's zero page. */
void ksm_merge_zeros(KsmEngine *engine, KsmRegion *region, guint32 first,
                     guint32 count);

/*
 * Registers and advises what the windows left unregistered, and frees what is
 * left in staging.  Call it at the end of a batch of windows.
 */
void ksm_register_pending(KsmEngine *engine);

#endif /* KSM_MERGE_H */
