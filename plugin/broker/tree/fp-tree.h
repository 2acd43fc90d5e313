/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp-tree.h: an ordered map of 64-bit keys to 64-bit values, made for
 * fingerprints: a B+-tree of 4 KiB nodes.  Keys are unique.
 *
 * One thread.  Keys may come from a client: any choice of keys keeps every
 * operation at O(log n) and the fill above 60 %.
 */
#ifndef KSM_FP_TREE_H
#define KSM_FP_TREE_H

#include <glib.h>

typedef struct KsmFpTree KsmFpTree;

KsmFpTree *ksm_fp_tree_new(void);
void ksm_fp_tree_free(KsmFpTree *tree);

/**
 * Whether there is memory for one more key, wherever it belongs.  Asked before
 * each insertion; FALSE at a limit of the host's.
 */
gboolean ksm_fp_tree_has_room(KsmFpTree *tree);

/** Sets the value of @key; TRUE when the key was not there before. */
gboolean ksm_fp_tree_insert(KsmFpTree *tree, guint64 key, guint64 value);

/** TRUE when @key is there; its value then goes to @value (may be NULL). */
gboolean ksm_fp_tree_find(const KsmFpTree *tree, guint64 key, guint64 *value);

/** TRUE when @key was there; it is no more. */
gboolean ksm_fp_tree_remove(KsmFpTree *tree, guint64 key);

/** Says whether an entry stays; must not touch the tree. */
typedef gboolean (*KsmFpTreeKeep)(guint64 key, guint64 value, gpointer opaque);

/**
 * Visits entries in key order from *cursor on, about @max of them (at least
 * one node, never more than one node above), and removes those that @keep
 * does not want.  *cursor is moved on; 0 when the end was reached, so that
 * the next call starts anew.  Returns the number of entries visited.
 */
guint ksm_fp_tree_sweep(KsmFpTree *tree, guint64 *cursor, guint max,
                        KsmFpTreeKeep keep, gpointer opaque);

/** Number of keys. */
guint64 ksm_fp_tree_count(const KsmFpTree *tree);

/** Nodes that a search goes through. */
guint ksm_fp_tree_levels(const KsmFpTree *tree);

/** Bytes of memory that the tree has. */
guint64 ksm_fp_tree_bytes(const KsmFpTree *tree);

/**
 * Throws a tree away in steps, @chunks (2 MiB) at a time.  After the first
 * call nothing but this and ksm_fp_tree_free() may be called.  FALSE when
 * all memory has gone and only ksm_fp_tree_free() is left.
 */
gboolean ksm_fp_tree_drop(KsmFpTree *tree, guint chunks);

/** For tests: whether all rules of the structure hold. */
gboolean ksm_fp_tree_check(const KsmFpTree *tree);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmFpTree, ksm_fp_tree_free)

#endif /* KSM_FP_TREE_H */
