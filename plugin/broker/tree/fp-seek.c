/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp-seek.c: batched searches in a fingerprint tree.
 *
 * A search is a chain of cache misses, one or two in each node.  So the
 * searches of a batch descend together, level by level, and all of them
 * prefetch the lines that they will read before the first one reads any.
 *
 * A place is the leaf that is responsible for a key.  That is valid until nodes
 * are split, merged or redistributed.  The tree counts those changes, and a
 * place that was found before the last one is searched again when it is used.
 * In the meantime entries in the leaf may be added or removed, so the position
 * of the key in the leaf is only a guess as well, and is verified.
 */
#include "tree/fp-seek.h"

#include "tree/fp-node.h"

/* Prefetches the keys that the search in this node will most likely read. */
static inline void prefetch_keys(const KsmFpPlace *place, guint64 key)
{
    const KsmFpNode *node = place->leaf;
    guint i = ksm_fp_node_guess(node, key, place->low, place->high);

    __builtin_prefetch(node->keys + i);
    __builtin_prefetch(node->keys + MIN(i + 8, KSM_FP_NODE_MAX - 1));
    __builtin_prefetch(node->keys + (i > 8 ? i - 8 : 0));
}

/* Descends one level; each step is done for all searches before the next. */
static inline void seek_children(const guint64 *keys, guint count,
                                 KsmFpPlace *places)
{
    guint i;

    for (i = 0; i < count; i++) {
        prefetch_keys(&places[i], keys[i]);
    }
    for (i = 0; i < count; i++) {
        KsmFpPlace *place = &places[i];

        place->at = ksm_fp_node_child(place->leaf, keys[i], &place->low,
                                      &place->high);
        __builtin_prefetch(place->leaf->children + place->at);
    }
    for (i = 0; i < count; i++) {
        places[i].leaf = places[i].leaf->children[places[i].at];
        __builtin_prefetch(places[i].leaf);
    }
}

/* Finds the keys in the leaves, and prefetches their values. */
static inline void seek_entries(const guint64 *keys, guint count,
                                KsmFpPlace *places)
{
    guint i;

    for (i = 0; i < count; i++) {
        prefetch_keys(&places[i], keys[i]);
    }
    for (i = 0; i < count; i++) {
        KsmFpPlace *place = &places[i];
        const KsmFpNode *leaf = place->leaf;

        place->at = ksm_fp_leaf_seek(leaf, keys[i], place->low, place->high);
        if (place->at < leaf->count && leaf->keys[place->at] == keys[i]) {
            __builtin_prefetch(leaf->values + place->at);
        } else {
            __builtin_prefetch(leaf->recent_keys + KSM_FP_NODE_RECENT - 1);
            __builtin_prefetch(leaf->recent_values + leaf->recent);
        }
    }
}

void ksm_fp_tree_seek(const KsmFpTree *tree, const guint64 *keys, guint count,
                      KsmFpPlace *places)
{
    guint level, i;

    g_assert(count <= KSM_FP_TREE_LANES);
    for (i = 0; i < count; i++) {
        places[i] = (KsmFpPlace) {
            tree->root, 0, G_MAXUINT64, tree->shape, 0,
        };
    }
    for (level = tree->root->level; level > 0; level--) {
        seek_children(keys, count, places);
    }
    seek_entries(keys, count, places);
}

/* Makes a place valid again; returns the value of @key there, or NULL. */
static guint64 *place_find(const KsmFpTree *tree, KsmFpPlace *place,
                           guint64 key)
{
    if (place->shape != tree->shape) {
        ksm_fp_tree_seek(tree, &key, 1, place);
    }
    if (!ksm_fp_leaf_is_at(place->leaf, key, place->at)) {
        place->at = ksm_fp_leaf_seek(place->leaf, key, place->low, place->high);
    }
    return ksm_fp_leaf_value(place->leaf, key, place->at);
}

gboolean ksm_fp_tree_find_at(const KsmFpTree *tree, KsmFpPlace *place,
                             guint64 key, guint64 *value)
{
    const guint64 *found = place_find(tree, place, key);

    if (found == NULL) {
        return FALSE;
    }
    *value = *found;
    return TRUE;
}

gboolean ksm_fp_tree_insert_at(KsmFpTree *tree, KsmFpPlace *place, guint64 key,
                               guint64 value)
{
    guint64 *found = place_find(tree, place, key);

    if (found != NULL) {
        *found = value;
        return FALSE;
    }
    if (ksm_fp_node_is_full(place->leaf)) {
        return ksm_fp_tree_insert(tree, key, value);
    }
    ksm_fp_leaf_insert(place->leaf, key, value);
    tree->count++;
    return TRUE;
}
