/* SPDX-License-Identifier: GPL-2.0-or-later */
/* node-pool.h: 4 KiB tree nodes out of 2 MiB chunks. */
#ifndef KSM_NODE_POOL_H
#define KSM_NODE_POOL_H

#include <glib.h>

#define KSM_NODE_BYTES 4096u

typedef struct KsmNodePool KsmNodePool;

KsmNodePool *ksm_node_pool_new(void);

/** Frees the pool with all of its nodes. */
void ksm_node_pool_free(KsmNodePool *pool);

/**
 * Sees to it that @nodes can be had without further memory.  FALSE when a limit
 * is in the way.
 */
gboolean ksm_node_pool_ready(KsmNodePool *pool, guint nodes);

/** A node, not cleared.  Aborts when the host is out of memory, as GLib. */
gpointer ksm_node_pool_get(KsmNodePool *pool);
void ksm_node_pool_put(KsmNodePool *pool, gpointer node);

/**
 * Unmaps up to @chunks chunks whether or not their nodes are in use: the
 * tree is being thrown away in small steps.  FALSE when nothing is left.
 */
gboolean ksm_node_pool_drop(KsmNodePool *pool, guint chunks);

/** Memory that is resident for nodes: in use, or used once and kept. */
guint64 ksm_node_pool_bytes(const KsmNodePool *pool);

#endif /* KSM_NODE_POOL_H */
