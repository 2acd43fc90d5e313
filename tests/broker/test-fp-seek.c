/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-fp-seek.c: searches by places in the tree, against single ones. */
#include <glib.h>

#include "tree/fp-seek.h"
#include "tree/fp-tree.h"
#include "tree-pair.h"

/* Places found together answer as single searches do. */
static void test_seek(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(13);
    g_autoptr(KsmFpTree) tree = ksm_fp_tree_new();
    guint round, i;

    for (round = 0; round < 4000; round++) {
        guint64 keys[KSM_FP_TREE_LANES], value, wanted;
        KsmFpPlace places[KSM_FP_TREE_LANES];
        guint count = (guint)g_rand_int_range(rand, 0, KSM_FP_TREE_LANES + 1);

        for (i = 0; i < count; i++) {
            keys[i] = tree_random(rand) % 40000 << 40;
        }
        ksm_fp_tree_seek(tree, keys, count, places);
        for (i = 0; i < count; i++) {
            gboolean found = ksm_fp_tree_find(tree, keys[i], &wanted);

            g_assert_cmpint(ksm_fp_tree_find_at(tree, &places[i], keys[i],
                                                &value),
                            ==, found);
            g_assert_true(!found || value == wanted);
        }
        for (i = 0; i < count; i++) {
            ksm_fp_tree_insert(tree, keys[i], tree_random(rand));
        }
    }
}

/*
 * Places are used long after they were found, while the tree is filled,
 * emptied and swept under them: the answers are the oracle's all the same.
 */
static void test_old_places(void)
{
    enum { KEPT = 64, STEPS = 200000, NAMES = 20000 };
    g_autoptr(GRand) rand = g_rand_new_with_seed(17);
    TreePair pair = tree_pair_new();
    guint64 keys[KEPT];
    KsmFpPlace places[KEPT];
    guint step, i, found = 0;

    for (i = 0; i < KEPT; i++) {
        keys[i] = tree_random(rand) % NAMES << 44;
        ksm_fp_tree_seek(pair.tree, &keys[i], 1, &places[i]);
    }
    for (step = 0; step < STEPS; step++) {
        gboolean filling = step / 25000 % 2 == 0;
        guint64 key = tree_random(rand) % NAMES << 44;

        i = (guint)g_rand_int_range(rand, 0, KEPT);
        if (g_rand_int_range(rand, 0, 4) == (filling ? 0 : 1)) {
            tree_pair_remove(&pair, key);
        } else if (filling) {
            tree_pair_insert(&pair, key, step);
        } else {
            tree_pair_remove(&pair, key);
        }
        if (step % 3 == 0) {
            tree_pair_insert_at(&pair, &places[i], keys[i], step);
        } else if (step % 3 == 1) {
            found += tree_pair_find_at(&pair, &places[i], keys[i]);
        } else if (step % 30 == 2) {
            keys[i] = key;
            ksm_fp_tree_seek(pair.tree, &key, 1, &places[i]);
        }
    }
    g_assert_cmpuint(found, >, STEPS / 20);
    g_assert_cmpuint(found, <, STEPS / 3);
    tree_pair_check(&pair);
    tree_pair_free(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fp-seek/alike", test_seek);
    g_test_add_func("/fp-seek/old-places", test_old_places);
    return g_test_run();
}
