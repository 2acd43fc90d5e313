/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shrink.h: the budget of mappings has become smaller than what is used.
 */
#ifndef KSM_SHRINK_H
#define KSM_SHRINK_H

#include "core/engine-private.h"

/* Gives shared pages back until the engine uses no more than its part. */
void ksm_shrink(KsmEngine *engine);

#endif /* KSM_SHRINK_H */
