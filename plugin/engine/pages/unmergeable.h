/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unmergeable.h: keeping ksmd off the memory of guests and of the engine.
 */
#ifndef KSM_UNMERGEABLE_H
#define KSM_UNMERGEABLE_H

#include "core/engine-private.h"

/*
 * To be called each round: takes all mappings out again where the process has
 * just made them mergeable.
 */
void ksm_unmergeable_check(KsmEngine *engine);

#endif /* KSM_UNMERGEABLE_H */
