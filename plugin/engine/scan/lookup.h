/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lookup.h: asking the broker who else has a content.
 */
#ifndef KSM_LOOKUP_H
#define KSM_LOOKUP_H

#include "core/engine-private.h"

/*
 * Looks up pages of the batch's region, KSM_BATCH_LOOKUPS at most, and files
 * the answers: slots in engine->batch.matches, contents that are wanted in
 * engine->batch.publishable.  FALSE: the broker is lost.
 */
gboolean ksm_lookup_send(KsmEngine *engine, const KsmFingerprinted *items,
                         guint32 count);

#endif /* KSM_LOOKUP_H */
