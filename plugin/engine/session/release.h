/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * release.h: telling the broker of pages that need it no more.
 */
#ifndef KSM_RELEASE_H
#define KSM_RELEASE_H

#include "core/engine-private.h"

/*
 * Withdraws listings and releases slots of what has gathered in
 * engine->releases.withdrawn and ->released, and empties both; FALSE: the broker is lost.
 */
gboolean ksm_release_send(KsmEngine *engine);

#endif /* KSM_RELEASE_H */
