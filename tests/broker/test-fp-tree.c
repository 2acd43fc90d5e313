/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-fp-tree.c: the fingerprint tree against GTree as the oracle. */
#include <glib.h>

#include "tree/fp-tree.h"
#include "tree-pair.h"

/* How the keys of a run are chosen. */
typedef enum Shape {
    SHAPE_EVEN,
    SHAPE_FEW,
    SHAPE_RISING,
    SHAPE_FALLING,
    SHAPE_CLUSTERS,
} Shape;

static guint64 shape_key(Shape shape, GRand *rand, guint64 i)
{
    switch (shape) {
    case SHAPE_EVEN:
        return tree_random(rand);
    case SHAPE_FEW:
        return tree_random(rand) % 3000;
    case SHAPE_RISING:
        return i;
    case SHAPE_FALLING:
        return G_MAXUINT64 - i;
    case SHAPE_CLUSTERS:
        return (tree_random(rand) % 5) << 60 | tree_random(rand) % 2000;
    default:
        g_assert_not_reached();
    }
}

static void test_shape(gconstpointer data)
{
    Shape shape = GPOINTER_TO_INT(data);
    g_autoptr(GRand) rand = g_rand_new_with_seed(7 + shape);
    TreePair pair = tree_pair_new();
    guint64 i;

    for (i = 0; i < 60000; i++) {
        tree_pair_insert(&pair, shape_key(shape, rand, i), i);
        if (i % 4 == 3) {
            tree_pair_remove(&pair, shape_key(shape, rand, i / 2));
        }
        if (i % 20000 == 0) {
            tree_pair_check(&pair);
        }
    }
    tree_pair_check(&pair);
    for (i = 0; i < 60000; i++) {
        tree_pair_remove(&pair, shape_key(shape, rand, i));
    }
    tree_pair_check(&pair);
    tree_pair_free(&pair);
}

static gboolean collect_key(gpointer key, gpointer value, gpointer keys)
{
    (void)value;
    g_array_append_vals(keys, key, 1);
    return FALSE;
}

/* Everything is removed again, in random order, and the tree lives on. */
static void test_empty_again(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(11);
    g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, 8);
    TreePair pair = tree_pair_new();
    guint i;

    for (i = 0; i < 50000; i++) {
        tree_pair_insert(&pair, tree_random(rand), i);
    }
    g_tree_foreach(pair.oracle, collect_key, keys);
    while (keys->len > 0) {
        i = (guint)g_rand_int_range(rand, 0, (gint)keys->len);
        tree_pair_remove(&pair, g_array_index(keys, guint64, i));
        g_array_remove_index_fast(keys, i);
        if (keys->len % 10000 == 0) {
            tree_pair_check(&pair);
        }
    }
    g_assert_cmpuint(ksm_fp_tree_count(pair.tree), ==, 0);
    tree_pair_insert(&pair, 5, 6);
    tree_pair_check(&pair);
    tree_pair_free(&pair);
}

static void test_extreme_keys(void)
{
    TreePair pair = tree_pair_new();
    guint64 i;

    for (i = 0; i < 600; i++) {
        tree_pair_insert(&pair, i % 2 ? i : G_MAXUINT64 - i, i);
    }
    tree_pair_insert(&pair, 0, 1);
    tree_pair_insert(&pair, G_MAXUINT64, 2);
    tree_pair_check(&pair);
    tree_pair_remove(&pair, 0);
    tree_pair_remove(&pair, G_MAXUINT64);
    tree_pair_remove(&pair, G_MAXUINT64 / 2);
    tree_pair_check(&pair);
    tree_pair_free(&pair);
}

static gboolean keep_some(guint64 key, guint64 value, gpointer opaque)
{
    (void)key;
    return value % 8 < *(guint *)opaque;
}

static gboolean oracle_some(gpointer key, gpointer value, gpointer opaque)
{
    gpointer *args = opaque;

    if (*(guint64 *)value % 8 >= *(guint *)args[1]) {
        g_array_append_vals(args[0], key, 1);
    }
    return FALSE;
}

static void oracle_sweep(GTree *oracle, guint limit)
{
    g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, 8);
    gpointer args[] = { keys, &limit };
    guint i;

    g_tree_foreach(oracle, oracle_some, args);
    for (i = 0; i < keys->len; i++) {
        g_tree_remove(oracle, &g_array_index(keys, guint64, i));
    }
}

/* Sweeps in small steps: all that must go goes, the rest stays. */
static void test_sweep(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(17);
    TreePair pair = tree_pair_new();
    guint limit, i;

    for (i = 0; i < 50000; i++) {
        tree_pair_insert(&pair, tree_random(rand), tree_random(rand));
    }
    for (limit = 7; limit + 1 > 0; limit--) {
        guint64 cursor = 0, before = ksm_fp_tree_count(pair.tree);
        guint64 visited = 0;

        do {
            guint step = ksm_fp_tree_sweep(pair.tree, &cursor, 100, keep_some,
                                           &limit);

            g_assert_cmpuint(step, <=, 100 + 255);
            visited += step;
        } while (cursor != 0);
        g_assert_cmpuint(visited, ==, before);
        oracle_sweep(pair.oracle, limit);
        tree_pair_check(&pair);
    }
    g_assert_cmpuint(ksm_fp_tree_count(pair.tree), ==, 0);
    tree_pair_free(&pair);
}

/* The sweep loses and repeats nothing while the tree changes between steps. */
static void test_sweep_among_changes(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(19);
    TreePair pair = tree_pair_new();
    guint64 cursor = 0;
    guint limit = 4, i;

    for (i = 0; i < 30000; i++) {
        tree_pair_insert(&pair, tree_random(rand), tree_random(rand));
    }
    do {
        ksm_fp_tree_sweep(pair.tree, &cursor, 50, keep_some, &limit);
        for (i = 0; i < 40; i++) {
            tree_pair_insert(&pair, tree_random(rand), 0);
        }
    } while (cursor != 0);
    oracle_sweep(pair.oracle, limit);
    tree_pair_check(&pair);
    tree_pair_free(&pair);
}

/* 24 bytes for a listed page are promised: 20 here, 4 in its page table. */
static void test_fill(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(23);
    g_autoptr(KsmFpTree) tree = ksm_fp_tree_new();
    g_autoptr(GQueue) keys = g_queue_new();
    double filled, churned;
    guint i;

    for (i = 0; i < 400000; i++) {
        guint64 *key = g_new(guint64, 1);

        *key = tree_random(rand);
        g_queue_push_tail(keys, key);
        ksm_fp_tree_insert(tree, *key, i);
    }
    filled = (double)ksm_fp_tree_bytes(tree) / 400000;
    for (i = 0; i < 800000; i++) {
        guint64 *key = g_queue_pop_head(keys);

        g_assert_true(ksm_fp_tree_remove(tree, *key));
        *key = tree_random(rand);
        g_queue_push_tail(keys, key);
        ksm_fp_tree_insert(tree, *key, i);
    }
    churned = (double)ksm_fp_tree_bytes(tree) / 400000;
    g_test_message("bytes per key: %.1f filled, %.1f after churn", filled,
                   churned);
    g_assert_cmpfloat(filled, <, 20.0);
    g_assert_cmpfloat(churned, <, 23.0);
    g_queue_foreach(keys, (GFunc)(void (*)(void))g_free, NULL);
}

/* A tree that shrinks gives its memory back; dropping takes small steps. */
static void test_memory_returns(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(29);
    g_autoptr(KsmFpTree) tree = ksm_fp_tree_new();
    guint64 cursor = 0, full;
    guint limit = 0, steps = 0, i;

    for (i = 0; i < 600000; i++) {
        ksm_fp_tree_insert(tree, tree_random(rand), i);
    }
    full = ksm_fp_tree_bytes(tree);
    do {
        ksm_fp_tree_sweep(tree, &cursor, 1000, keep_some, &limit);
    } while (cursor != 0);
    g_assert_cmpuint(ksm_fp_tree_count(tree), ==, 0);
    g_assert_cmpuint(ksm_fp_tree_bytes(tree), <, full / 2);
    for (i = 0; i < 600000; i++) {
        ksm_fp_tree_insert(tree, tree_random(rand), i);
    }
    while (ksm_fp_tree_drop(tree, 1)) {
        steps++;
    }
    g_assert_cmpuint(steps, >=, 4);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        Shape shape;
    } shapes[] = {
        { "even", SHAPE_EVEN },         { "few", SHAPE_FEW },
        { "rising", SHAPE_RISING },     { "falling", SHAPE_FALLING },
        { "clusters", SHAPE_CLUSTERS },
    };
    guint i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(shapes); i++) {
        g_autofree char *path = g_strdup_printf("/fp-tree/random/%s",
                                                shapes[i].name);

        g_test_add_data_func(path, GINT_TO_POINTER(shapes[i].shape),
                             test_shape);
    }
    g_test_add_func("/fp-tree/empty-again", test_empty_again);
    g_test_add_func("/fp-tree/extreme-keys", test_extreme_keys);
    g_test_add_func("/fp-tree/sweep", test_sweep);
    g_test_add_func("/fp-tree/sweep-among-changes", test_sweep_among_changes);
    g_test_add_func("/fp-tree/fill", test_fill);
    g_test_add_func("/fp-tree/memory-returns", test_memory_returns);
    return g_test_run();
}
