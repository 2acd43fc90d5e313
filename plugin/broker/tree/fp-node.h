/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp-node.h: one node of a fingerprint tree, and the search in it.  Private
 * to fp-tree.c, fp-balance.c and fp-seek.c.
 *
 * Leaves and inner nodes have the same layout.  In an inner node keys[i] is a
 * lower bound of everything below children[i], and greater than everything
 * below children[i - 1].  keys[0] is not used: children[0] takes every key
 * below keys[1].
 *
 * A leaf takes new entries at its head, unsorted, and merges them into its
 * sorted arrays when there are too many.  Inserting each one in place would
 * move half of the array, some 1.7 KiB that are not in any cache.  The new keys
 * share the two cache lines that every search reads first.
 */
#ifndef KSM_FP_NODE_H
#define KSM_FP_NODE_H

#include <glib.h>

#include "tree/node-pool.h"

#define KSM_FP_NODE_MAX 241u   /* sorted entries */
#define KSM_FP_NODE_RECENT 14u /* unsorted entries */
#define KSM_FP_TREE_MAX_LEVELS 12

typedef struct KsmFpNode KsmFpNode;
struct KsmFpNode {
    guint32 count;  /* sorted entries */
    guint32 level;  /* 0: a leaf */
    guint64 recent; /* unsorted entries; leaves only */
    guint64 recent_keys[KSM_FP_NODE_RECENT];
    guint64 keys[KSM_FP_NODE_MAX];
    union {
        guint64 values[KSM_FP_NODE_MAX];
        KsmFpNode *children[KSM_FP_NODE_MAX];
    };
    guint64 recent_values[KSM_FP_NODE_RECENT];
};

G_STATIC_ASSERT(sizeof(KsmFpNode) == KSM_NODE_BYTES);
G_STATIC_ASSERT(sizeof(KsmFpNode *) == sizeof(guint64));

typedef struct KsmFpTree KsmFpTree;
struct KsmFpTree {
    KsmNodePool *pool;
    KsmFpNode *root;
    guint64 count;
    guint64 shape; /* changes whenever nodes are rearranged */
};

/*
 * Where @key should be if the keys between the bounds are spread evenly, as
 * fingerprints are.  Only a guess: it affects the cost, not the result.
 */
static inline guint ksm_fp_node_guess(const KsmFpNode *node, guint64 key,
                                      guint64 low, guint64 high)
{
    double part;

    if (key <= low || node->count == 0) {
        return 0;
    }
    if (key >= high) {
        return node->count - 1;
    }
    part = (double)(key - low) / (double)(high - low);
    return MIN((guint)(part * node->count), node->count - 1);
}

/*
 * The number of keys <= @key.  Gallops from the guess, then bisects: about two
 * cache lines for evenly spread keys, O(log n) for any keys.
 */
static inline guint ksm_fp_node_upper(const KsmFpNode *node, guint64 key,
                                      guint guess)
{
    const guint64 *keys = node->keys;
    guint low = 0, high = node->count, step = 4;

    if (high == 0) {
        return 0;
    }
    if (keys[guess] <= key) {
        low = guess + 1;
        while (low + step < high && keys[low + step] <= key) {
            low += step + 1;
            step *= 2;
        }
        high = MIN(high, low + step);
    } else {
        high = guess;
        while (high > step && keys[high - step - 1] > key) {
            high -= step + 1;
            step *= 2;
        }
        low = high > step ? high - step : 0;
    }
    while (low < high) {
        guint middle = (low + high) / 2;

        if (keys[middle] <= key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The child to descend into for @key; narrows the bounds to that child's. */
static inline guint ksm_fp_node_child(const KsmFpNode *node, guint64 key,
                                      guint64 *low, guint64 *high)
{
    guint i = ksm_fp_node_upper(node, key,
                                ksm_fp_node_guess(node, key, *low, *high));

    i = i > 0 ? i - 1 : 0;
    if (i > 0) {
        *low = node->keys[i];
    }
    if (i + 1 < node->count) {
        *high = node->keys[i + 1];
    }
    return i;
}

/* Index of @key among a leaf's recent entries, or KSM_FP_NODE_RECENT. */
static inline guint ksm_fp_leaf_recent(const KsmFpNode *leaf, guint64 key)
{
    guint i;

    for (i = 0; i < leaf->recent; i++) {
        if (leaf->recent_keys[i] == key) {
            return i;
        }
    }
    return KSM_FP_NODE_RECENT;
}

/* Index among a leaf's sorted entries where @key is or belongs. */
static inline guint ksm_fp_leaf_seek(const KsmFpNode *leaf, guint64 key,
                                     guint64 low, guint64 high)
{
    guint i = ksm_fp_node_upper(leaf, key,
                                ksm_fp_node_guess(leaf, key, low, high));

    return i > 0 && leaf->keys[i - 1] == key ? i - 1 : i;
}

/* Whether @at is the index where @key is or belongs. */
static inline gboolean ksm_fp_leaf_is_at(const KsmFpNode *leaf, guint64 key,
                                         guint at)
{
    return at <= leaf->count && (at == 0 || leaf->keys[at - 1] < key) &&
           (at == leaf->count || leaf->keys[at] >= key);
}

/* The value of @key, which is or belongs at @at; NULL: the key is absent. */
static inline guint64 *ksm_fp_leaf_value(KsmFpNode *leaf, guint64 key, guint at)
{
    if (at < leaf->count && leaf->keys[at] == key) {
        return leaf->values + at;
    }
    at = ksm_fp_leaf_recent(leaf, key);
    return at < KSM_FP_NODE_RECENT ? leaf->recent_values + at : NULL;
}

static inline guint ksm_fp_node_entries(const KsmFpNode *node)
{
    return node->count + (guint)node->recent;
}

/* Whether there is no room for another entry. */
static inline gboolean ksm_fp_node_is_full(const KsmFpNode *node)
{
    return node->count == KSM_FP_NODE_MAX &&
           (node->level > 0 || node->recent == KSM_FP_NODE_RECENT);
}

/** Puts a new key into a leaf that is not full. */
void ksm_fp_leaf_insert(KsmFpNode *leaf, guint64 key, guint64 value);

/** Removes the entry that ksm_fp_leaf_value() found with the same @at. */
void ksm_fp_leaf_remove(KsmFpNode *leaf, const guint64 *value, guint at);

/** Same as KsmFpTreeKeep (fp-tree.h). */
typedef gboolean (*KsmFpNodeKeep)(guint64 key, guint64 value, gpointer opaque);

/**
 * Removes the entries from key @from on for which @keep returns FALSE.  Returns
 * the number of entries visited.
 */
guint ksm_fp_leaf_sweep(KsmFpNode *leaf, guint64 from, KsmFpNodeKeep keep,
                        gpointer opaque);

/** Copies all entries of a node, sorted by key; returns their number. */
guint ksm_fp_node_copy(const KsmFpNode *node, guint64 *keys, guint64 *values);

#endif /* KSM_FP_NODE_H */
