/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lookup.h: asks the broker which other pages have the same content. */
#ifndef KSM_LOOKUP_H
#define KSM_LOOKUP_H

#include "core/engine-private.h"

/*
 * Looks up pages of the batch's region, at most KSM_BATCH_LOOKUPS, and files
 * the answers: slots in engine->batch.matches, pages to publish in
 * engine->batch.publishable.  FALSE: the broker is lost.
 */
gboolean ksm_lookup_send(KsmEngine *engine, const KsmFingerprinted *items,
                         guint32 count);

#endif /* KSM_LOOKUP_H */
