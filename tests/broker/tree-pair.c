/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree-pair.c: a fingerprint tree and GTree as its oracle, kept alike. */
#include "tree-pair.h"

static gint compare_keys(gconstpointer a, gconstpointer b, gpointer unused)
{
    guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;

    (void)unused;
    return x < y ? -1 : x > y;
}

guint64 tree_random(GRand *rand)
{
    return (guint64)g_rand_int(rand) << 32 | g_rand_int(rand);
}

static gpointer boxed(guint64 value)
{
    guint64 *box = g_new(guint64, 1);

    *box = value;
    return box;
}

TreePair tree_pair_new(void)
{
    TreePair pair = {
        ksm_fp_tree_new(),
        g_tree_new_full(compare_keys, NULL, g_free, g_free),
    };
    return pair;
}

void tree_pair_free(TreePair *pair)
{
    ksm_fp_tree_free(pair->tree);
    g_tree_unref(pair->oracle);
}

void tree_pair_insert(TreePair *pair, guint64 key, guint64 value)
{
    gboolean is_new = g_tree_lookup(pair->oracle, &key) == NULL;

    g_assert_cmpint(ksm_fp_tree_insert(pair->tree, key, value), ==, is_new);
    g_tree_replace(pair->oracle, boxed(key), boxed(value));
}

void tree_pair_insert_at(TreePair *pair, KsmFpPlace *place, guint64 key,
                         guint64 value)
{
    gboolean is_new = g_tree_lookup(pair->oracle, &key) == NULL;

    g_assert_cmpint(ksm_fp_tree_insert_at(pair->tree, place, key, value), ==,
                    is_new);
    g_tree_replace(pair->oracle, boxed(key), boxed(value));
}

gboolean tree_pair_find_at(const TreePair *pair, KsmFpPlace *place, guint64 key)
{
    const guint64 *wanted = g_tree_lookup(pair->oracle, &key);
    guint64 value = 0;

    g_assert_cmpint(ksm_fp_tree_find_at(pair->tree, place, key, &value), ==,
                    wanted != NULL);
    if (wanted != NULL) {
        g_assert_cmpuint(value, ==, *wanted);
    }
    return wanted != NULL;
}

void tree_pair_remove(TreePair *pair, guint64 key)
{
    gboolean there = g_tree_remove(pair->oracle, &key);

    g_assert_cmpint(ksm_fp_tree_remove(pair->tree, key), ==, there);
}

static gboolean same_entry(gpointer key, gpointer value, gpointer opaque)
{
    guint64 found = 0;

    g_assert_true(ksm_fp_tree_find(opaque, *(guint64 *)key, &found));
    g_assert_cmpuint(found, ==, *(guint64 *)value);
    return FALSE;
}

void tree_pair_check(TreePair *pair)
{
    g_assert_true(ksm_fp_tree_check(pair->tree));
    g_assert_cmpuint(ksm_fp_tree_count(pair->tree), ==,
                     (guint64)g_tree_nnodes(pair->oracle));
    g_tree_foreach(pair->oracle, same_entry, pair->tree);
}
