/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp-tree.c: the map from fingerprints to slots and pages.
 *
 * Why a B+-tree of our own (figures in README.md, made by bench-tree):
 * entries take 16 bytes at about 84 % fill, where a balanced binary tree
 * takes 40 to 64; a look-up among ten million keys touches two cold nodes
 * instead of two dozen; and a batch of look-ups overlaps those misses.  A
 * hash table would be as quick, but it cannot be swept in small steps while it
 * changes, grows by one long rehash, and loses the order.
 *
 * Going down for an insert, a full node is made room in before it is
 * entered, so that its parent always has room for one more.  A removal
 * repairs on the way up.  Neither recurses.
 *
 * Only the single thread of the broker may touch a tree.  All memory comes
 * from the tree's own pool; running out of it ends the process, as with GLib.
 */
#include "fp-tree.h"

#include <string.h>

#include "fp-node.h"

/* Fill is looked after at one in so many removals: it reads neighbours. */
#define LOOK_EVERY 4

/* The way to a leaf: nodes[i] is child index[i] of nodes[i + 1]. */
typedef struct Path {
    KsmFpNode *nodes[KSM_FP_TREE_MAX_LEVELS];
    guint index[KSM_FP_TREE_MAX_LEVELS];
    guint64 low, high;          /* what the leaf is responsible for */
} Path;

static KsmFpNode *node_new(KsmFpTree *tree, guint level)
{
    KsmFpNode *node = ksm_node_pool_get(tree->pool);

    g_assert(level < KSM_FP_TREE_MAX_LEVELS);
    node->count = 0;
    node->level = level;
    node->unused = 0;
    return node;
}

KsmFpTree *ksm_fp_tree_new(void)
{
    KsmFpTree *tree = g_new0(KsmFpTree, 1);

    tree->pool = ksm_node_pool_new();
    tree->root = node_new(tree, 0);
    return tree;
}

void ksm_fp_tree_free(KsmFpTree *tree)
{
    ksm_node_pool_free(tree->pool);
    g_free(tree);
}

gboolean ksm_fp_tree_drop(KsmFpTree *tree, guint chunks)
{
    tree->root = NULL;
    tree->count = 0;
    return ksm_node_pool_drop(tree->pool, chunks);
}

guint64 ksm_fp_tree_count(const KsmFpTree *tree)
{
    return tree->count;
}

guint64 ksm_fp_tree_bytes(const KsmFpTree *tree)
{
    return sizeof(KsmFpTree) + ksm_node_pool_bytes(tree->pool);
}

static void path_find(const KsmFpTree *tree, guint64 key, Path *path)
{
    KsmFpNode *node = tree->root;

    path->low = 0;
    path->high = G_MAXUINT64;
    while (node->level > 0) {
        guint i = ksm_fp_node_child(node, key, &path->low, &path->high);

        path->nodes[node->level] = node;
        path->index[node->level - 1] = i;
        node = node->children[i];
    }
    path->nodes[0] = node;
}

gboolean ksm_fp_tree_find(const KsmFpTree *tree, guint64 key, guint64 *value)
{
    Path path;
    guint at;

    path_find(tree, key, &path);
    if (!ksm_fp_leaf_find(path.nodes[0], key, path.low, path.high, &at)) {
        return FALSE;
    }
    if (value != NULL) {
        *value = path.nodes[0]->values[at];
    }
    return TRUE;
}

/* Puts a new root above a full one, so that the old one can be split. */
static void root_grow(KsmFpTree *tree)
{
    KsmFpNode *root = node_new(tree, tree->root->level + 1);

    root->count = 1;
    root->keys[0] = 0;
    root->children[0] = tree->root;
    tree->root = root;
    tree->shape++;
}

void ksm_fp_leaf_insert(KsmFpTree *tree, KsmFpNode *leaf, guint at,
                        guint64 key, guint64 value)
{
    guint tail = leaf->count - at;

    memmove(leaf->keys + at + 1, leaf->keys + at, tail * 8);
    memmove(leaf->values + at + 1, leaf->values + at, tail * 8);
    leaf->keys[at] = key;
    leaf->values[at] = value;
    leaf->count++;
    tree->count++;
}

gboolean ksm_fp_tree_insert(KsmFpTree *tree, guint64 key, guint64 value)
{
    guint64 low = 0, high = G_MAXUINT64;
    KsmFpNode *node;
    guint at;

    if (tree->root->count == KSM_FP_NODE_MAX) {
        root_grow(tree);
    }
    for (node = tree->root; node->level > 0; node = node->children[at]) {
        guint64 low_before = low, high_before = high;

        at = ksm_fp_node_child(node, key, &low, &high);
        if (node->children[at]->count == KSM_FP_NODE_MAX) {
            ksm_fp_balance_grow(tree->pool, node, at);
            tree->shape++;
            low = low_before;
            high = high_before;
            at = ksm_fp_node_child(node, key, &low, &high);
        }
    }
    if (ksm_fp_leaf_find(node, key, low, high, &at)) {
        node->values[at] = value;
        return FALSE;
    }
    ksm_fp_leaf_insert(tree, node, at, key, value);
    return TRUE;
}

/* Something was taken out of the leaf of @path: repairs fill up to the root. */
static void path_shrink(KsmFpTree *tree, const Path *path)
{
    guint level = tree->root->level;
    guint i;

    tree->shape++;
    for (i = 0; i < level; i++) {
        ksm_fp_balance_shrink(tree->pool, path->nodes[i + 1], path->index[i]);
    }
    while (tree->root->level > 0 && tree->root->count == 1) {
        KsmFpNode *root = tree->root;

        tree->root = root->children[0];
        ksm_node_pool_put(tree->pool, root);
    }
}

gboolean ksm_fp_tree_remove(KsmFpTree *tree, guint64 key)
{
    KsmFpNode *leaf;
    Path path;
    guint at, tail;

    path_find(tree, key, &path);
    leaf = path.nodes[0];
    if (!ksm_fp_leaf_find(leaf, key, path.low, path.high, &at)) {
        return FALSE;
    }
    tail = leaf->count - at - 1;
    memmove(leaf->keys + at, leaf->keys + at + 1, tail * 8);
    memmove(leaf->values + at, leaf->values + at + 1, tail * 8);
    leaf->count--;
    tree->count--;
    if (leaf->count % LOOK_EVERY == 0) {
        path_shrink(tree, &path);
    }
    return TRUE;
}

/* Drops what @keep does not want; returns how many entries were visited. */
static guint leaf_sweep(KsmFpNode *leaf, guint64 from, KsmFpTreeKeep keep,
                        gpointer opaque)
{
    guint i, kept, start = 0;

    if (from > 0) {
        start = ksm_fp_node_upper(leaf, from - 1, leaf->count / 2);
    }
    start = MIN(start, leaf->count);
    kept = start;
    for (i = start; i < leaf->count; i++) {
        if (keep(leaf->keys[i], leaf->values[i], opaque)) {
            leaf->keys[kept] = leaf->keys[i];
            leaf->values[kept] = leaf->values[i];
            kept++;
        }
    }
    i -= start;
    leaf->count = kept;
    return i;
}

guint ksm_fp_tree_sweep(KsmFpTree *tree, guint64 *cursor, guint max,
                        KsmFpTreeKeep keep, gpointer opaque)
{
    guint visited = 0;

    do {
        Path path;
        KsmFpNode *leaf;
        guint before;

        path_find(tree, *cursor, &path);
        leaf = path.nodes[0];
        before = leaf->count;
        visited += leaf_sweep(leaf, *cursor, keep, opaque);
        tree->count -= before - leaf->count;
        *cursor = path.high == G_MAXUINT64 ? 0 : path.high;
        if (leaf->count < before) {
            path_shrink(tree, &path);
        }
    } while (*cursor != 0 && visited < max);
    return visited;
}

/* Checks the subtree of @node, whose keys must lie in [low, high). */
static gboolean node_check(const KsmFpNode *node, guint64 low, guint64 high,
                           gboolean is_last, guint64 *count)
{
    guint start = node->level > 0 ? 1 : 0;
    guint i;

    if (node->count > KSM_FP_NODE_MAX) {
        return FALSE;
    }
    for (i = start; i < node->count; i++) {
        if (node->keys[i] < low || (!is_last && node->keys[i] >= high) ||
            (i > start && node->keys[i] <= node->keys[i - 1])) {
            return FALSE;
        }
    }
    *count += node->level == 0 ? node->count : 0;
    for (i = 0; node->level > 0 && i < node->count; i++) {
        gboolean last = i + 1 == node->count;

        if (node->children[i]->level + 1 != node->level ||
            !node_check(node->children[i], i > 0 ? node->keys[i] : low,
                        last ? high : node->keys[i + 1], last && is_last,
                        count)) {
            return FALSE;
        }
    }
    return node->level == 0 || node->count > 0;
}

gboolean ksm_fp_tree_check(const KsmFpTree *tree)
{
    guint64 count = 0;

    return node_check(tree->root, 0, G_MAXUINT64, TRUE, &count) &&
        count == tree->count;
}
