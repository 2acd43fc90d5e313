/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fp-balance.h: keeps the nodes of a fingerprint tree full. */
#ifndef KSM_FP_BALANCE_H
#define KSM_FP_BALANCE_H

#include <glib.h>

#include "tree/fp-node.h"
#include "tree/node-pool.h"

/** Makes room in the full child @i of @parent; @parent must not be full. */
void ksm_fp_balance_grow(KsmNodePool *pool, KsmFpNode *parent, guint i);

/** After a removal in child @i of @parent: merges or borrows if necessary. */
void ksm_fp_balance_shrink(KsmNodePool *pool, KsmFpNode *parent, guint i);

#endif /* KSM_FP_BALANCE_H */
