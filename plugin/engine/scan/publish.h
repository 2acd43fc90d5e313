/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * publish.h: hand pages to the broker that someone else lists too.
 */
#ifndef KSM_PUBLISH_H
#define KSM_PUBLISH_H

#include "core/engine-private.h"

/*
 * Publishes the pages of engine->batch.publishable; those that got a slot join
 * engine->batch.matches.  `repeated` (KsmFingerprinted) gets those whose
 * content the page before them has had published: looked up again, they have a
 * slot, as a rule.  FALSE: the broker is lost.
 */
gboolean ksm_publish_all(KsmEngine *engine, GArray *repeated);

#endif /* KSM_PUBLISH_H */
