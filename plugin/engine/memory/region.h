/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* region.h: a range of guest RAM, as all rooms see it. */
#ifndef KSM_REGION_H
#define KSM_REGION_H

#include "memory/block.h"
#include "memory/page-state.h"
#include "guest-ksm.h"

/*
 * Pages [first, end) that need registration or advice.  The maximum number of
 * separate parts is the number of windows in a batch.  It is an array, because
 * a window cannot allocate.
 */
typedef struct KsmUnregistered {
    guint32 first;
    guint32 end;
} KsmUnregistered;

#define KSM_UNREGISTERED_MAX 128u

/*
 * A range of guest RAM.  Unless noted otherwise, written by the engine's
 * scanner thread, or by others under the engine's work lock.
 */
struct KsmRegion {
    KsmEngine *engine;
    char *name;
    guint8 *addr;
    guint8 *shadow; /* same size plus one page; NULL: none */
    guint32 pages;
    guint32 base; /* session page of its first page */
    KsmRegionFlags flags;
    gboolean huge; /* anonymous parts are MADV_HUGEPAGE */
    KsmUnregistered unregistered[KSM_UNREGISTERED_MAX + 1]; /* in order */
    guint unregistered_count; /* number of those parts */
    guint32 detached_pages;   /* pages unregistered so far: scanner.c */
    guint64 mappings;         /* that the region's pages need: account.h */
    guint64 store_mappings;   /* those of them that map a store */
    guint8 *state;            /* page-state.h; `pages` of them */
    guint8 *wait;
    guint32 *slot; /* for shared and broken pages */
    guint64 counts[KSM_PAGE_STATES];
    guint64 hwpoison;       /* pages with KSM_PAGE_HWPOISON */
    guint64 metadata_bytes; /* as last measured: stats.c */
    KsmBlock *blocks;       /* block.h; block_count of them */
    guint32 block_count;
    guint32 block_first;      /* first page of the first block */
    guint32 parked;           /* blocks that are not armed */
    guint32 kept;             /* pages with KSM_PAGE_SPARED_HUGE */
    gboolean policy_followed; /* the shadow has the RAM's NUMA policy */
    GArray *discarded;        /* KsmRange, under place_lock: discard.c */
};

static inline guint8 *ksm_ram_address(KsmRegion *region, guint32 page)
{
    return region->addr + (gsize)page * KSM_PAGE_BYTES;
}

/* The number of a page in messages; not used anywhere else. */
static inline guint32 ksm_ram_session_page(const KsmRegion *region,
                                           guint32 page)
{
    return region->base + page;
}

/* The page that a message names; >= `pages` if not in this region. */
static inline guint32 ksm_ram_page(const KsmRegion *region,
                                   guint32 session_page)
{
    return session_page - region->base;
}

/* The block that holds a page; NULL near the region's ends. */
static inline KsmBlock *ksm_ram_block(KsmRegion *region, guint32 page)
{
    guint32 block_index = (page - region->block_first) / KSM_BLOCK_PAGES;

    return block_index < region->block_count ? &region->blocks[block_index] :
                                               NULL;
}

/* Where the page's block ends, or where the first block begins. */
static inline guint32 ksm_ram_next_block(const KsmRegion *region, guint32 page)
{
    return page < region->block_first ?
               region->block_first :
               page + KSM_BLOCK_PAGES -
                   (page - region->block_first) % KSM_BLOCK_PAGES;
}

#endif /* KSM_REGION_H */
