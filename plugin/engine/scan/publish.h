/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* publish.h: sends pages to the broker that other pages duplicate. */
#ifndef KSM_PUBLISH_H
#define KSM_PUBLISH_H

#include "core/engine-private.h"

/*
 * Publishes the pages of engine->batch.publishable and adds those that got a
 * slot to engine->batch.matches.  `repeated` (KsmFingerprinted) gets the pages
 * whose content was published for the page before them; they usually get a
 * slot when they are looked up again.  FALSE: the broker is lost.
 */
gboolean ksm_publish_all(KsmEngine *engine, GArray *repeated);

#endif /* KSM_PUBLISH_H */
