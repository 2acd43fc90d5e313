/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree-pair.h: a fingerprint tree and GTree as its oracle, kept alike. */
#ifndef TEST_TREE_PAIR_H
#define TEST_TREE_PAIR_H

#include <glib.h>

#include "tree/fp-seek.h"
#include "tree/fp-tree.h"

typedef struct TreePair {
    KsmFpTree *tree;
    GTree *oracle;
} TreePair;

TreePair tree_pair_new(void);
void tree_pair_free(TreePair *pair);

/* Each does the same to both, and asserts that both answer alike. */
void tree_pair_insert(TreePair *pair, guint64 key, guint64 value);
void tree_pair_insert_at(TreePair *pair, KsmFpPlace *place, guint64 key,
                         guint64 value);
void tree_pair_remove(TreePair *pair, guint64 key);
gboolean tree_pair_find_at(const TreePair *pair, KsmFpPlace *place,
                           guint64 key);

/** Asserts that the tree is sound and holds what the oracle does. */
void tree_pair_check(TreePair *pair);

/** 64 bits at random. */
guint64 tree_random(GRand *rand);

#endif /* TEST_TREE_PAIR_H */
