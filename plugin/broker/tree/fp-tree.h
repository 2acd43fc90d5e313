/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp-tree.h: an ordered map of 64-bit keys to 64-bit values, designed for
 * fingerprints: a B+-tree of 4 KiB nodes.  Keys are unique.
 *
 * Single-threaded.  Keys may come from a client: whatever keys it chooses,
 * every operation stays O(log n) and the fill above 60 %.
 */
#ifndef KSM_FP_TREE_H
#define KSM_FP_TREE_H

#include <glib.h>

typedef struct KsmFpTree KsmFpTree;

KsmFpTree *ksm_fp_tree_new(void);
void ksm_fp_tree_free(KsmFpTree *tree);

/**
 * Whether there is memory for one more key, wherever it belongs.  Must be
 * called before each insertion.  FALSE if a memory limit of the broker is
 * nearly reached (headroom.h).
 */
gboolean ksm_fp_tree_has_room(KsmFpTree *tree);

/** Sets the value of @key; TRUE if the key is new. */
gboolean ksm_fp_tree_insert(KsmFpTree *tree, guint64 key, guint64 value);

/** TRUE if @key exists; stores its value in @value (may be NULL). */
gboolean ksm_fp_tree_find(const KsmFpTree *tree, guint64 key, guint64 *value);

/** Removes @key; TRUE if it existed. */
gboolean ksm_fp_tree_remove(KsmFpTree *tree, guint64 key);

/** Returns whether an entry is kept; must not access the tree. */
typedef gboolean (*KsmFpTreeKeep)(guint64 key, guint64 value, gpointer opaque);

/**
 * Visits about @max entries in key order from *cursor on (at least one node,
 * and at most one node more than @max), and removes those for which @keep
 * returns FALSE.  Advances *cursor, or resets it to 0 at the end of the tree,
 * so that the next call starts over.  Returns the number of entries visited.
 */
guint ksm_fp_tree_sweep(KsmFpTree *tree, guint64 *cursor, guint max,
                        KsmFpTreeKeep keep, gpointer opaque);

/** Number of keys. */
guint64 ksm_fp_tree_count(const KsmFpTree *tree);

/** Number of nodes on the path of a search. */
guint ksm_fp_tree_levels(const KsmFpTree *tree);

/** Resident memory of the tree, in bytes. */
guint64 ksm_fp_tree_bytes(const KsmFpTree *tree);

/**
 * Frees a tree in steps of up to @chunks chunks (2 MiB each).  After the first
 * call only this function and ksm_fp_tree_free() may be called.  FALSE when all
 * chunks are freed and only ksm_fp_tree_free() is left to call.
 */
gboolean ksm_fp_tree_drop(KsmFpTree *tree, guint chunks);

/** For tests: whether all invariants of the structure hold. */
gboolean ksm_fp_tree_check(const KsmFpTree *tree);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmFpTree, ksm_fp_tree_free)

#endif /* KSM_FP_TREE_H */
