/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fp-balance.c: keeps the nodes of a fingerprint tree full.
 *
 * Both directions take a window of up to five neighbours below one parent and
 * redistribute their entries evenly:
 *   a full node    over the same nodes if they stay below GROW_FILL_* on
 *                  average, otherwise over one node more
 *   a sparse node  over as few nodes as stay below SHRINK_FILL; otherwise, if
 *                  it is nearly empty, over the same nodes
 * So five full nodes become six (83 %), while in a plain B+-tree one becomes
 * two (50 %): random keys fill the tree to about 87 % instead of 69 %.
 * SHRINK_FILL is well below a full node, so that removing and inserting the
 * same entry does not redistribute again and again.
 */
#include "tree/fp-balance.h"

#include <string.h>

#define WINDOW 5u
#define ENTRIES_MAX (KSM_FP_NODE_MAX + KSM_FP_NODE_RECENT)
#define GROW_FILL_LEAF 241u  /* of 255, on average over the window */
#define GROW_FILL_INNER 228u /* of 241 */
#define SHRINK_FILL 225u
#define SPARSE (ENTRIES_MAX * 3 / 4)
#define NEARLY_EMPTY (ENTRIES_MAX / 4)

typedef struct Window {
    KsmNodePool *pool;
    KsmFpNode *parent;
    guint first; /* index of the first child */
    guint nodes;
    guint entries;
    guint64 keys[WINDOW * ENTRIES_MAX];
    guint64 values[WINDOW * ENTRIES_MAX];
} Window;

/* Leaves the arrays unset: gather() fills them. */
static void window_open(Window *window, KsmNodePool *pool, KsmFpNode *parent,
                        guint i)
{
    guint last;

    window->pool = pool;
    window->parent = parent;
    window->first = i > 0 ? i - 1 : 0;
    last = MIN(window->first + WINDOW, parent->count);
    window->first = last > WINDOW ? last - WINDOW : 0;
    window->nodes = last - window->first;
    window->entries = 0;
    for (i = window->first; i < last; i++) {
        window->entries += ksm_fp_node_entries(parent->children[i]);
    }
}

static void gather(Window *window)
{
    guint done = 0;
    guint i;

    for (i = 0; i < window->nodes; i++) {
        KsmFpNode *parent = window->parent;
        KsmFpNode *node = parent->children[window->first + i];
        guint count = ksm_fp_node_copy(node, window->keys + done,
                                       window->values + done);

        if (node->level > 0 && node->count > 0) {
            /* an inner node's first key may be above the true bound */
            window->keys[done] = parent->keys[window->first + i];
        }
        done += count;
    }
}

/* Makes the window @nodes children wide: one more or one less. */
static void resize(Window *window, guint nodes)
{
    KsmFpNode *parent = window->parent;
    guint at = window->first + MIN(nodes, window->nodes);
    guint tail;

    if (nodes > window->nodes) {
        KsmFpNode *node = ksm_node_pool_get(window->pool);

        g_assert(parent->count < KSM_FP_NODE_MAX);
        tail = parent->count - at;
        memmove(parent->keys + at + 1, parent->keys + at, tail * 8);
        memmove(parent->children + at + 1, parent->children + at, tail * 8);
        node->level = parent->children[window->first]->level;
        node->count = 0;
        node->recent = 0;
        parent->children[at] = node;
        parent->count++;
    } else if (nodes < window->nodes) {
        ksm_node_pool_put(window->pool, parent->children[at]);
        tail = parent->count - at - 1;
        memmove(parent->keys + at, parent->keys + at + 1, tail * 8);
        memmove(parent->children + at, parent->children + at + 1, tail * 8);
        parent->count--;
    }
    window->nodes = nodes;
}

static void deal(Window *window)
{
    KsmFpNode *parent = window->parent;
    guint done = 0;
    guint i;

    for (i = 0; i < window->nodes; i++) {
        KsmFpNode *node = parent->children[window->first + i];
        guint share = (window->entries - done) / (window->nodes - i);

        memcpy(node->keys, window->keys + done, share * 8);
        memcpy(node->values, window->values + done, share * 8);
        node->count = share;
        node->recent = 0;
        if (i > 0) {
            parent->keys[window->first + i] = node->keys[0];
        }
        done += share;
    }
}

void ksm_fp_balance_grow(KsmNodePool *pool, KsmFpNode *parent, guint i)
{
    guint fill = parent->level > 1 ? GROW_FILL_INNER : GROW_FILL_LEAF;
    Window window;

    window_open(&window, pool, parent, i);
    gather(&window);
    if (window.nodes == 1 || window.entries > window.nodes * fill) {
        resize(&window, window.nodes + 1);
    }
    deal(&window);
}

void ksm_fp_balance_shrink(KsmNodePool *pool, KsmFpNode *parent, guint i)
{
    guint count = ksm_fp_node_entries(parent->children[i]);
    Window window;
    guint needed;

    if (count >= SPARSE || parent->count < 2) {
        return;
    }
    window_open(&window, pool, parent, i);
    needed = (window.entries + SHRINK_FILL - 1) / SHRINK_FILL;
    needed = MAX(needed, 1);
    if (needed >= window.nodes && count > NEARLY_EMPTY) {
        return;
    }
    gather(&window);
    while (window.nodes > needed) {
        resize(&window, window.nodes - 1);
    }
    deal(&window);
}
