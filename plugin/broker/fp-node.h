/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp-node.h: one node of a fingerprint tree, and the search in it.  Private
 * to fp-tree.c, fp-balance.c and fp-seek.c.
 *
 * Leaves and inner nodes look alike.  In an inner node keys[i] is a lower
 * bound of everything below children[i] and above everything below
 * children[i - 1]; keys[0] is not looked at: children[0] takes all that is
 * smaller than keys[1].
 */
#ifndef KSM_FP_NODE_H
#define KSM_FP_NODE_H

#include <glib.h>

#include "fp-tree.h"
#include "node-pool.h"

#define KSM_FP_NODE_MAX 255u
#define KSM_FP_TREE_MAX_LEVELS 12

typedef struct KsmFpNode KsmFpNode;
struct KsmFpNode {
    guint32 count;
    guint32 level;              /* 0: a leaf */
    guint64 unused;             /* keeps the arrays at 16 bytes */
    guint64 keys[KSM_FP_NODE_MAX];
    union {
        guint64 values[KSM_FP_NODE_MAX];
        KsmFpNode *children[KSM_FP_NODE_MAX];
    };
};

G_STATIC_ASSERT(sizeof(KsmFpNode) == KSM_NODE_BYTES);
G_STATIC_ASSERT(sizeof(KsmFpNode *) == sizeof(guint64));

struct KsmFpTree {
    KsmNodePool *pool;
    KsmFpNode *root;
    guint64 count;
    guint64 shape;              /* another one after each change of it */
};

/** Makes room in the full child @i of @parent, which is not full itself. */
void ksm_fp_balance_grow(KsmNodePool *pool, KsmFpNode *parent, guint i);

/** After a removal in child @i of @parent: merges or borrows if need be. */
void ksm_fp_balance_shrink(KsmNodePool *pool, KsmFpNode *parent, guint i);

/*
 * Where key should be if the keys between the bounds are spread evenly, as
 * fingerprints are.  Only a guess: it decides the cost, not the result.
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
 * The number of keys <= key.  Gallops from the guess, then halves: about two
 * cache lines for even keys, O(log n) for any.
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

/* Child to take for @key; narrows the bounds to that child's. */
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

/* Position of @key in a leaf, or where it belongs; TRUE when it is there. */
static inline gboolean ksm_fp_leaf_find(const KsmFpNode *leaf, guint64 key,
                                        guint64 low, guint64 high, guint *at)
{
    guint i = ksm_fp_node_upper(leaf, key,
                                ksm_fp_node_guess(leaf, key, low, high));

    if (i > 0 && leaf->keys[i - 1] == key) {
        *at = i - 1;
        return TRUE;
    }
    *at = i;
    return FALSE;
}

/** Puts a new key into a leaf that is not full, where it belongs. */
void ksm_fp_leaf_insert(KsmFpTree *tree, KsmFpNode *leaf, guint at,
                        guint64 key, guint64 value);

#endif /* KSM_FP_NODE_H */
