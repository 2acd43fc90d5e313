/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * publish.h: hand pages to the broker that someone else lists too.
 */
#ifndef KSM_PUBLISH_H
#define KSM_PUBLISH_H

#include "core/engine-private.h"

/*
 * Publishes the pages of engine->batch.publishable; those that got a slot join
 * engine->batch.matches.  FALSE: the broker is lost.
 */
gboolean ksm_publish_all(KsmEngine *engine);

#endif /* KSM_PUBLISH_H */
