/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-node-pool.c: nodes come and go, and their memory with them.
 */
#include "tree/node-pool.h"

#include <string.h>
#include <sys/mman.h>

#define NODES 5000u /* some chunks */

/* Bytes of a node's page that are in memory. */
static gsize resident(gpointer node)
{
    unsigned char in = 0;

    g_assert_cmpint(mincore(node, KSM_NODE_BYTES, &in), ==, 0);
    return in & 1 ? KSM_NODE_BYTES : 0;
}

static void fill(gpointer node, guint number)
{
    memset(node, (int)(number % 251) + 1, KSM_NODE_BYTES);
}

static gboolean holds(const guint8 *node, guint number)
{
    guint8 byte = (guint8)(number % 251 + 1);

    return node[0] == byte && node[KSM_NODE_BYTES / 2] == byte &&
           node[KSM_NODE_BYTES - 1] == byte;
}

/* Every node is somebody's alone, whatever was handed out before. */
static void test_apart(void)
{
    KsmNodePool *pool = ksm_node_pool_new();
    g_autofree gpointer *nodes = g_new0(gpointer, NODES);
    guint i, turn;

    for (turn = 0; turn < 20 * NODES; turn++) {
        i = (guint)g_test_rand_int_range(0, NODES);
        if (nodes[i]) {
            g_assert_true(holds(nodes[i], i));
            ksm_node_pool_put(pool, nodes[i]);
            nodes[i] = NULL;
        } else {
            nodes[i] = ksm_node_pool_get(pool);
            fill(nodes[i], i);
        }
    }
    for (i = 0; i < NODES; i++) {
        g_assert_true(!nodes[i] || holds(nodes[i], i));
    }
    ksm_node_pool_free(pool);
}

/* What was put back does not stay in memory, and counts no more. */
static void test_shrinks(void)
{
    enum { FEW = 400 };
    KsmNodePool *pool = ksm_node_pool_new();
    gpointer nodes[FEW];
    guint64 full, half;
    gsize left = 0;
    guint i;

    for (i = 0; i < FEW; i++) {
        nodes[i] = ksm_node_pool_get(pool);
        fill(nodes[i], i);
    }
    full = ksm_node_pool_bytes(pool);
    g_assert_cmpuint(full, >=, FEW * KSM_NODE_BYTES);
    for (i = 0; i < FEW; i += 2) {
        ksm_node_pool_put(pool, nodes[i]);
    }
    for (i = 0; i < FEW; i += 2) {
        left += resident(nodes[i]);
    }
    half = ksm_node_pool_bytes(pool);
    g_assert_cmpuint(left, <, FEW / 2 * KSM_NODE_BYTES / 8);
    g_assert_cmpuint(half, <, full * 5 / 8);
    for (i = 1; i < FEW; i += 2) {
        g_assert_true(holds(nodes[i], i));
    }
    for (i = 0; i < FEW; i += 2) {
        nodes[i] = ksm_node_pool_get(pool);
        fill(nodes[i], i);
    }
    g_assert_cmpuint(ksm_node_pool_bytes(pool), ==, full);
    for (i = 0; i < FEW; i++) {
        g_assert_true(holds(nodes[i], i));
    }
    ksm_node_pool_free(pool);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/node-pool/apart", test_apart);
    g_test_add_func("/node-pool/shrinks", test_shrinks);
    return g_test_run();
}
