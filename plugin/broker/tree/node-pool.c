/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * node-pool.c: allocates 4 KiB tree nodes from 2 MiB chunks.
 *
 * A chunk is 2 MiB of address space aligned to its size, so that a node's chunk
 * is found by masking its address.  Nodes are allocated in address order and
 * only touched then, so a small tree costs what it uses.  From 32 MiB on,
 * chunks use huge pages: random lookups in a tree of hundreds of megabytes
 * otherwise cost a TLB miss per level, and the unused part of the last huge
 * page matters little.  A chunk is unmapped when its last node is freed,
 * except for one that is kept as a spare.  In chunks of small pages the memory
 * of free nodes is released to the host, except for a few nodes: so a tree
 * that has shrunk (because listed pages got slots) also costs what it uses.
 *
 * Single-threaded.  Never sees data of a client.
 */
#include "tree/node-pool.h"

#include <sys/mman.h>

#include "host/headroom.h"

#define CHUNK_BYTES (2u * 1024 * 1024)
#define CHUNK_NODES (CHUNK_BYTES / KSM_NODE_BYTES)
#define SMALL_POOL_CHUNKS 16
#define KEPT_NODES 8u /* free nodes of a chunk that keep memory */
#define WORD_BITS 64u

/* Metadata of a chunk, on the heap; found by the chunk's address. */
typedef struct Chunk {
    guint8 *base;
    guint in_use;
    guint touched;      /* nodes 0 .. touched - 1 were allocated */
    gpointer free_list; /* through the first word of each free node */
    guint kept;         /* nodes in the free list */
    guint given;        /* free nodes whose memory was released: */
    guint64 given_nodes[CHUNK_NODES / WORD_BITS];
    gboolean small_pages;
    GList link; /* in pool->open while it has free nodes */
    gboolean is_open;
} Chunk;

struct KsmNodePool {
    GHashTable *chunks;     /* base -> Chunk */
    GQueue open;            /* chunks that have free nodes */
    guint64 resident_nodes; /* over all chunks */
    guint64 nodes_in_use;
    guint empty_chunks;
};

KsmNodePool *ksm_node_pool_new(void)
{
    KsmNodePool *pool = g_new0(KsmNodePool, 1);

    pool->chunks = g_hash_table_new(NULL, NULL);
    g_queue_init(&pool->open);
    return pool;
}

static guint8 *map_aligned(void)
{
    guint8 *raw = mmap(NULL, 2 * (gsize)CHUNK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    gsize head;

    if (raw == MAP_FAILED) {
        g_error("no address space for a tree chunk");
    }
    head = (CHUNK_BYTES - (gsize)raw % CHUNK_BYTES) % CHUNK_BYTES;
    if (head > 0) {
        munmap(raw, head);
    }
    munmap(raw + head + CHUNK_BYTES, CHUNK_BYTES - head);
    return raw + head;
}

static void set_open(KsmNodePool *pool, Chunk *chunk, gboolean open)
{
    if (open == chunk->is_open) {
        return;
    }
    chunk->is_open = open;
    if (open) {
        g_queue_push_tail_link(&pool->open, &chunk->link);
    } else {
        g_queue_unlink(&pool->open, &chunk->link);
    }
}

static Chunk *chunk_new(KsmNodePool *pool)
{
    Chunk *chunk = g_new0(Chunk, 1);

    chunk->base = map_aligned();
    chunk->link.data = chunk;
    chunk->small_pages = g_hash_table_size(pool->chunks) < SMALL_POOL_CHUNKS;
    /* Where the host makes all memory huge, a node would take 2 MiB. */
    madvise(chunk->base, CHUNK_BYTES,
            chunk->small_pages ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    g_hash_table_insert(pool->chunks, chunk->base, chunk);
    pool->empty_chunks++;
    set_open(pool, chunk, TRUE);
    return chunk;
}

static void chunk_free(KsmNodePool *pool, Chunk *chunk)
{
    set_open(pool, chunk, FALSE);
    pool->resident_nodes -= chunk->touched - chunk->given;
    munmap(chunk->base, CHUNK_BYTES);
    g_free(chunk);
}

/* Takes a free node whose memory was released; there must be one. */
static gpointer take_given(Chunk *chunk)
{
    guint word = 0, bit;

    while (!chunk->given_nodes[word]) {
        word++;
    }
    bit = (guint)__builtin_ctzll(chunk->given_nodes[word]);
    chunk->given_nodes[word] &= chunk->given_nodes[word] - 1;
    chunk->given--;
    return chunk->base + (gsize)(word * WORD_BITS + bit) * KSM_NODE_BYTES;
}

/* Releases a free node's memory if the chunk keeps enough other ones. */
static gboolean give(Chunk *chunk, gpointer node)
{
    guint i = (guint)(((guint8 *)node - chunk->base) / KSM_NODE_BYTES);

    if (!chunk->small_pages || chunk->kept < KEPT_NODES ||
        madvise(node, KSM_NODE_BYTES, MADV_DONTNEED) != 0) {
        return FALSE;
    }
    chunk->given_nodes[i / WORD_BITS] |= (guint64)1 << i % WORD_BITS;
    chunk->given++;
    return TRUE;
}

gboolean ksm_node_pool_ready(KsmNodePool *pool, guint nodes)
{
    guint64 all = (guint64)g_hash_table_size(pool->chunks) * CHUNK_NODES;

    if (all - pool->nodes_in_use >= nodes) {
        return TRUE;
    }
    g_assert(nodes <= CHUNK_NODES);
    if (!ksm_headroom_left()) {
        return FALSE;
    }
    chunk_new(pool);
    return TRUE;
}

gpointer ksm_node_pool_get(KsmNodePool *pool)
{
    Chunk *chunk = g_queue_peek_head(&pool->open);
    gpointer node;

    if (chunk == NULL) {
        chunk = chunk_new(pool);
    }
    if (chunk->in_use++ == 0) {
        pool->empty_chunks--;
    }
    pool->nodes_in_use++;
    node = chunk->free_list;
    if (node != NULL) {
        chunk->free_list = *(gpointer *)node;
        chunk->kept--;
    } else {
        node = chunk->given ?
                   take_given(chunk) :
                   chunk->base + (gsize)chunk->touched++ * KSM_NODE_BYTES;
        pool->resident_nodes++;
    }
    set_open(pool, chunk, chunk->in_use < CHUNK_NODES);
    return node;
}

void ksm_node_pool_put(KsmNodePool *pool, gpointer node)
{
    gpointer base = (guint8 *)node - (gsize)node % CHUNK_BYTES;
    Chunk *chunk = g_hash_table_lookup(pool->chunks, base);

    g_assert(chunk != NULL && chunk->in_use > 0);
    if (give(chunk, node)) {
        pool->resident_nodes--;
    } else {
        *(gpointer *)node = chunk->free_list;
        chunk->free_list = node;
        chunk->kept++;
    }
    set_open(pool, chunk, TRUE);
    pool->nodes_in_use--;
    if (--chunk->in_use > 0) {
        return;
    }
    if (++pool->empty_chunks > 1) {
        pool->empty_chunks--;
        g_hash_table_remove(pool->chunks, base);
        chunk_free(pool, chunk);
    }
}

gboolean ksm_node_pool_drop(KsmNodePool *pool, guint chunks)
{
    GHashTableIter iter;
    gpointer chunk;

    g_hash_table_iter_init(&iter, pool->chunks);
    while (chunks-- > 0 && g_hash_table_iter_next(&iter, NULL, &chunk)) {
        g_hash_table_iter_remove(&iter);
        chunk_free(pool, chunk);
    }
    return g_hash_table_size(pool->chunks) > 0;
}

void ksm_node_pool_free(KsmNodePool *pool)
{
    ksm_node_pool_drop(pool, G_MAXUINT);
    g_hash_table_destroy(pool->chunks);
    g_free(pool);
}

guint64 ksm_node_pool_bytes(const KsmNodePool *pool)
{
    return pool->resident_nodes * KSM_NODE_BYTES +
           g_hash_table_size(pool->chunks) * sizeof(Chunk);
}
