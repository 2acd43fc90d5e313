/* SPDX-License-Identifier: GPL-2.0-or-later */
/* node-pool.h: allocates 4 KiB tree nodes from 2 MiB chunks. */
#ifndef KSM_NODE_POOL_H
#define KSM_NODE_POOL_H

#include <glib.h>

#define KSM_NODE_BYTES 4096u

typedef struct KsmNodePool KsmNodePool;

KsmNodePool *ksm_node_pool_new(void);

/** Frees the pool and all of its nodes. */
void ksm_node_pool_free(KsmNodePool *pool);

/**
 * Ensures that the next @nodes nodes need no further memory.  FALSE if a memory
 * limit prevents that (headroom.h).
 */
gboolean ksm_node_pool_ready(KsmNodePool *pool, guint nodes);

/** Allocates a node, not cleared.  Like GLib, aborts when out of memory. */
gpointer ksm_node_pool_get(KsmNodePool *pool);
void ksm_node_pool_put(KsmNodePool *pool, gpointer node);

/**
 * Unmaps up to @chunks chunks even if their nodes are in use, to free a tree in
 * small steps.  FALSE when nothing is left.
 */
gboolean ksm_node_pool_drop(KsmNodePool *pool, guint chunks);

/** Resident memory of the nodes in bytes: those in use, and those kept. */
guint64 ksm_node_pool_bytes(const KsmNodePool *pool);

#endif /* KSM_NODE_POOL_H */
