/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* unmergeable.h: keeps ksmd off the memory of guests and of the engine. */
#ifndef KSM_UNMERGEABLE_H
#define KSM_UNMERGEABLE_H

#include "core/engine-private.h"

/*
 * Call it each round: makes all mappings unmergeable again if the process has
 * just made them mergeable.
 */
void ksm_unmergeable_check(KsmEngine *engine);

#endif /* KSM_UNMERGEABLE_H */
