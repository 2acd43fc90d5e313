/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* release.h: reports to the broker the pages that no longer need it. */
#ifndef KSM_RELEASE_H
#define KSM_RELEASE_H

#include "core/engine-private.h"

/*
 * Withdraws the listings in engine->releases.withdrawn and releases the slots
 * in ->released, and empties both arrays.  FALSE: the broker is lost.
 */
gboolean ksm_release_send(KsmEngine *engine);

#endif /* KSM_RELEASE_H */
