/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fp-seek.h: batched searches in a fingerprint tree. */
#ifndef KSM_FP_SEEK_H
#define KSM_FP_SEEK_H

#include <glib.h>

#include "tree/fp-tree.h"

/** Maximum number of searches in one ksm_fp_tree_seek(). */
#define KSM_FP_TREE_LANES 16

/** Where a key is or would be; the fields are private to the tree. */
typedef struct KsmFpPlace {
    struct KsmFpNode *leaf;
    guint64 low, high;
    guint64 shape;
    guint at;
} KsmFpPlace;

/**
 * Finds the places of @count <= KSM_FP_TREE_LANES keys.  The memory accesses of
 * all searches overlap.  Places stay usable as long as the tree exists.  If the
 * tree changes, using a place may repeat its search.
 */
void ksm_fp_tree_seek(const KsmFpTree *tree, const guint64 *keys, guint count,
                      KsmFpPlace *places);

/* Same as find and insert, for a key whose place is known. */
gboolean ksm_fp_tree_find_at(const KsmFpTree *tree, KsmFpPlace *place,
                             guint64 key, guint64 *value);
gboolean ksm_fp_tree_insert_at(KsmFpTree *tree, KsmFpPlace *place, guint64 key,
                               guint64 value);

#endif /* KSM_FP_SEEK_H */
