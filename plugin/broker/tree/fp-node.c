/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp-node.c: changes of one node of a fingerprint tree.
 *
 * A key is in a leaf only once: either among the sorted entries or among the
 * recent ones.
 */
#include "tree/fp-node.h"

#include <string.h>

/* Sorts the recent entries by their keys. */
static void recent_sort(guint64 *keys, guint64 *values, guint count)
{
    guint i, at;

    for (i = 1; i < count; i++) {
        guint64 key = keys[i], value = values[i];

        for (at = i; at > 0 && keys[at - 1] > key; at--) {
            keys[at] = keys[at - 1];
            values[at] = values[at - 1];
        }
        keys[at] = key;
        values[at] = value;
    }
}

/*
 * Merges @more sorted entries into @count sorted ones, from the largest down,
 * so that each entry is moved only once.
 */
static void merge(guint64 *keys, guint64 *values, guint count,
                  const guint64 *more_keys, const guint64 *more_values,
                  guint more)
{
    guint end = count;

    while (more > 0) {
        guint64 key = more_keys[--more];
        guint at = end, low = 0;

        while (low < at) {
            guint middle = (low + at) / 2;

            if (keys[middle] < key) {
                low = middle + 1;
            } else {
                at = middle;
            }
        }
        memmove(keys + at + more + 1, keys + at, (end - at) * 8);
        memmove(values + at + more + 1, values + at, (end - at) * 8);
        keys[at + more] = key;
        values[at + more] = more_values[more];
        end = at;
    }
}

/* Merges recent entries into the sorted ones, as many as there is room for. */
static void leaf_tidy(KsmFpNode *leaf)
{
    guint recent = (guint)leaf->recent;
    guint move = MIN(recent, KSM_FP_NODE_MAX - leaf->count);
    guint stay = recent - move;

    recent_sort(leaf->recent_keys, leaf->recent_values, recent);
    merge(leaf->keys, leaf->values, leaf->count, leaf->recent_keys + stay,
          leaf->recent_values + stay, move);
    leaf->count += move;
    leaf->recent = stay;
}

void ksm_fp_leaf_insert(KsmFpNode *leaf, guint64 key, guint64 value)
{
    g_assert(!ksm_fp_node_is_full(leaf));
    if (leaf->recent == KSM_FP_NODE_RECENT) {
        leaf_tidy(leaf);
    }
    leaf->recent_keys[leaf->recent] = key;
    leaf->recent_values[leaf->recent++] = value;
}

void ksm_fp_leaf_remove(KsmFpNode *leaf, const guint64 *value, guint at)
{
    guint tail;

    if (value >= leaf->recent_values) {
        at = (guint)(value - leaf->recent_values);
        leaf->recent--;
        leaf->recent_keys[at] = leaf->recent_keys[leaf->recent];
        leaf->recent_values[at] = leaf->recent_values[leaf->recent];
        return;
    }
    tail = leaf->count - at - 1;
    memmove(leaf->keys + at, leaf->keys + at + 1, tail * 8);
    memmove(leaf->values + at, leaf->values + at + 1, tail * 8);
    leaf->count--;
}

/* Keeps the entries before key @from, and those that @keep accepts. */
static guint sweep(guint64 *keys, guint64 *values, guint count, guint64 from,
                   KsmFpNodeKeep keep, gpointer opaque, guint *visited)
{
    guint i, kept = 0;

    for (i = 0; i < count; i++) {
        *visited += keys[i] >= from;
        if (keys[i] < from || keep(keys[i], values[i], opaque)) {
            keys[kept] = keys[i];
            values[kept++] = values[i];
        }
    }
    return kept;
}

guint ksm_fp_leaf_sweep(KsmFpNode *leaf, guint64 from, KsmFpNodeKeep keep,
                        gpointer opaque)
{
    guint visited = 0;

    leaf->count = sweep(leaf->keys, leaf->values, leaf->count, from, keep,
                        opaque, &visited);
    leaf->recent = sweep(leaf->recent_keys, leaf->recent_values,
                         (guint)leaf->recent, from, keep, opaque, &visited);
    return visited;
}

guint ksm_fp_node_copy(const KsmFpNode *node, guint64 *keys, guint64 *values)
{
    guint64 recent_keys[KSM_FP_NODE_RECENT];
    guint64 recent_values[KSM_FP_NODE_RECENT];
    guint recent = (guint)node->recent;

    memcpy(keys, node->keys, node->count * 8);
    memcpy(values, node->values, node->count * 8);
    memcpy(recent_keys, node->recent_keys, recent * 8);
    memcpy(recent_values, node->recent_values, recent * 8);
    recent_sort(recent_keys, recent_values, recent);
    merge(keys, values, node->count, recent_keys, recent_values, recent);
    return node->count + recent;
}
