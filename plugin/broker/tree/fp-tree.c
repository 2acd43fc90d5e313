/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp-tree.c: the map from fingerprints to slots and pages.
 *
 * Why a B+-tree of our own (measured by bench-tree): entries take 16 bytes at
 * about 87 % fill, where a balanced binary tree takes 40 to 64; a lookup among
 * ten million keys touches two cold nodes instead of two dozen; and a batch of
 * lookups overlaps those misses.  A hash table would be as fast, but it cannot
 * be swept in small steps while it changes, grows by one long rehash, and
 * loses the order.
 *
 * An insertion makes room in each full node on its way down before it enters
 * the node, so that the parent always has room for one more.  A removal
 * repairs the fill on the way up.  Neither is recursive.
 *
 * Only the single thread of the broker may access a tree.  All memory comes
 * from the tree's own pool.  Like GLib, the pool aborts the process if it is
 * out of memory, so callers check ksm_fp_tree_has_room() before they insert.
 */
#include "tree/fp-tree.h"

#include "tree/fp-balance.h"
#include "tree/fp-node.h"
#include "tree/node-pool.h"

/* Only one in this many removals checks the fill, which reads neighbours. */
#define MERGE_CHECK_EVERY 4

/* The path to a leaf: nodes[i] is child index[i] of nodes[i + 1]. */
typedef struct Path {
    KsmFpNode *nodes[KSM_FP_TREE_MAX_LEVELS];
    guint index[KSM_FP_TREE_MAX_LEVELS];
    guint64 low, high; /* the leaf's range of keys */
} Path;

static KsmFpNode *node_new(KsmFpTree *tree, guint level)
{
    KsmFpNode *node = ksm_node_pool_get(tree->pool);

    g_assert(level < KSM_FP_TREE_MAX_LEVELS);
    node->count = 0;
    node->level = level;
    node->recent = 0;
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

guint ksm_fp_tree_levels(const KsmFpTree *tree)
{
    return tree->root->level + 1;
}

guint64 ksm_fp_tree_bytes(const KsmFpTree *tree)
{
    return sizeof(KsmFpTree) + ksm_node_pool_bytes(tree->pool);
}

/* Finds the path to the leaf, and the index where @key is or belongs. */
static guint path_find(const KsmFpTree *tree, guint64 key, Path *path)
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
    return ksm_fp_leaf_seek(node, key, path->low, path->high);
}

gboolean ksm_fp_tree_find(const KsmFpTree *tree, guint64 key, guint64 *value)
{
    Path path;
    guint at = path_find(tree, key, &path);
    const guint64 *found = ksm_fp_leaf_value(path.nodes[0], key, at);

    if (found != NULL && value != NULL) {
        *value = *found;
    }
    return found != NULL;
}

/* A node at each level may be split, and a new root added above them. */
gboolean ksm_fp_tree_has_room(KsmFpTree *tree)
{
    return ksm_node_pool_ready(tree->pool, tree->root->level + 2);
}

/* Adds a new root above a full one, so that the old one can be split. */
static void root_grow(KsmFpTree *tree)
{
    KsmFpNode *root = node_new(tree, tree->root->level + 1);

    root->count = 1;
    root->keys[0] = 0;
    root->children[0] = tree->root;
    tree->root = root;
    tree->shape++;
}

gboolean ksm_fp_tree_insert(KsmFpTree *tree, guint64 key, guint64 value)
{
    guint64 low = 0, high = G_MAXUINT64;
    KsmFpNode *node;
    guint64 *found;
    guint at;

    if (ksm_fp_node_is_full(tree->root)) {
        root_grow(tree);
    }
    for (node = tree->root; node->level > 0; node = node->children[at]) {
        guint64 low_before = low, high_before = high;

        at = ksm_fp_node_child(node, key, &low, &high);
        if (ksm_fp_node_is_full(node->children[at])) {
            ksm_fp_balance_grow(tree->pool, node, at);
            tree->shape++;
            low = low_before;
            high = high_before;
            at = ksm_fp_node_child(node, key, &low, &high);
        }
    }
    found = ksm_fp_leaf_value(node, key,
                              ksm_fp_leaf_seek(node, key, low, high));
    if (found != NULL) {
        *found = value;
        return FALSE;
    }
    ksm_fp_leaf_insert(node, key, value);
    tree->count++;
    return TRUE;
}

/* An entry was removed from the leaf of @path: repairs fill up to the root. */
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
    Path path;
    guint at = path_find(tree, key, &path);
    KsmFpNode *leaf = path.nodes[0];
    const guint64 *found = ksm_fp_leaf_value(leaf, key, at);

    if (found == NULL) {
        return FALSE;
    }
    ksm_fp_leaf_remove(leaf, found, at);
    tree->count--;
    if (ksm_fp_node_entries(leaf) % MERGE_CHECK_EVERY == 0) {
        path_shrink(tree, &path);
    }
    return TRUE;
}

guint ksm_fp_tree_sweep(KsmFpTree *tree, guint64 *cursor, guint max,
                        KsmFpTreeKeep keep, gpointer opaque)
{
    guint visited = 0;

    do {
        Path path;
        KsmFpNode *leaf;
        guint before, removed;

        path_find(tree, *cursor, &path);
        leaf = path.nodes[0];
        before = ksm_fp_node_entries(leaf);
        visited += ksm_fp_leaf_sweep(leaf, *cursor, keep, opaque);
        removed = before - ksm_fp_node_entries(leaf);
        tree->count -= removed;
        *cursor = path.high == G_MAXUINT64 ? 0 : path.high;
        if (removed > 0) {
            path_shrink(tree, &path);
        }
    } while (*cursor != 0 && visited < max);
    return visited;
}

/* Whether a node's own keys are ascending and in [low, high). */
static gboolean keys_check(const KsmFpNode *node, guint64 low, guint64 high,
                           gboolean is_last)
{
    guint64 keys[KSM_FP_NODE_MAX + KSM_FP_NODE_RECENT];
    guint64 values[KSM_FP_NODE_MAX + KSM_FP_NODE_RECENT];
    guint start = node->level > 0 ? 1 : 0;
    guint i, count;

    if (node->count > KSM_FP_NODE_MAX || node->recent > KSM_FP_NODE_RECENT ||
        (node->level > 0 && (node->count == 0 || node->recent > 0))) {
        return FALSE;
    }
    count = ksm_fp_node_copy(node, keys, values);
    for (i = start; i < count; i++) {
        if (keys[i] < low || (!is_last && keys[i] >= high) ||
            (i > start && keys[i] <= keys[i - 1])) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Checks the subtree of @node, whose keys must be in [low, high). */
static gboolean node_check(const KsmFpNode *node, guint64 low, guint64 high,
                           gboolean is_last, guint64 *count)
{
    guint i;

    if (!keys_check(node, low, high, is_last)) {
        return FALSE;
    }
    *count += node->level == 0 ? ksm_fp_node_entries(node) : 0;
    for (i = 0; node->level > 0 && i < node->count; i++) {
        gboolean last = i + 1 == node->count;

        if (node->children[i]->level + 1 != node->level ||
            !node_check(node->children[i], i > 0 ? node->keys[i] : low,
                        last ? high : node->keys[i + 1], last && is_last,
                        count)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean ksm_fp_tree_check(const KsmFpTree *tree)
{
    guint64 count = 0;

    return node_check(tree->root, 0, G_MAXUINT64, TRUE, &count) &&
           count == tree->count;
}
