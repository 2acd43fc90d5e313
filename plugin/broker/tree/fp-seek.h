/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fp-seek.h: many searches in a fingerprint tree at once. */
#ifndef KSM_FP_SEEK_H
#define KSM_FP_SEEK_H

#include <glib.h>

#include "tree/fp-tree.h"

/** Most searches that ksm_fp_tree_seek() has under way at a time. */
#define KSM_FP_TREE_LANES 16

/** Where a key is or would be; its fields are the tree's. */
typedef struct KsmFpPlace {
    struct KsmFpNode *leaf;
    guint64 low, high;
    guint64 shape;
    guint at;
} KsmFpPlace;

/**
 * Finds the places of @count <= KSM_FP_TREE_LANES keys, with the memory
 * accesses of all of them overlapping.  Places may be used as long as the
 * tree lives, also after changes of it; but then they may be searched anew.
 */
void ksm_fp_tree_seek(const KsmFpTree *tree, const guint64 *keys, guint count,
                      KsmFpPlace *places);

/* The same as find and insert, for a key whose place is known. */
gboolean ksm_fp_tree_find_at(const KsmFpTree *tree, KsmFpPlace *place,
                             guint64 key, guint64 *value);
gboolean ksm_fp_tree_insert_at(KsmFpTree *tree, KsmFpPlace *place,
                               guint64 key, guint64 value);

#endif /* KSM_FP_SEEK_H */
