/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* shrink.h: gives mappings up when the budget drops below what is used. */
#ifndef KSM_SHRINK_H
#define KSM_SHRINK_H

#include "core/engine-private.h"

/* Gives shared pages back until the engine has given up its share. */
void ksm_shrink(KsmEngine *engine);

/*
 * Between these, pages are given back whatever the budget says, because that
 * frees mappings in the end.
 */
void ksm_shrink_begin(KsmEngine *engine);
void ksm_shrink_end(KsmEngine *engine);

#endif /* KSM_SHRINK_H */
