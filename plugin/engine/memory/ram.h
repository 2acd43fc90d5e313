/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ram.h: the guest RAM map: regions, their shadow and their pages' states.
 */
#ifndef KSM_RAM_H
#define KSM_RAM_H

#include "memory/block.h"
#include "guest-ksm.h"
#include "memory/page-state.h"

/*
 * Pages [first, end) that lack registration or advice.  So many parts are kept
 * apart: as many as a batch has windows.  An array, as a window cannot
 * allocate.
 */
typedef struct KsmUnsettled {
    guint32 first;
    guint32 end;
} KsmUnsettled;

#define KSM_UNSETTLED_MAX 128u

/*
 * A range of guest RAM.  Written by the engine's scanner thread, or by others
 * under the engine's work lock, where nothing else is said.
 */
struct KsmRegion {
    KsmEngine *engine;
    char *name;
    guint8 *addr;
    guint8 *shadow;             /* same size, one page more; NULL: none */
    guint32 pages;
    guint32 base;               /* session-wide number of its first page */
    KsmRegionFlags flags;
    gboolean huge;              /* anonymous parts are MADV_HUGEPAGE */
    KsmUnsettled unsettled[KSM_UNSETTLED_MAX + 1];  /* in order */
    guint unsettled_count;      /* the parts that lack it */
    guint32 detached_pages;     /* that have been let go: scanner.c */
    guint64 mappings;           /* that the region's pages need, see runs.h */
    guint64 store_mappings;     /* those of them that are of a store */
    guint8 *state;              /* page-state.h, `pages` of them */
    guint8 *wait;
    guint32 *slot;              /* where shared and broken */
    guint64 counts[KSM_PAGE_STATES];
    guint64 hwpoison;           /* pages so marked */
    guint64 metadata_bytes;     /* as measured last: stats.c */
    KsmBlock *blocks;           /* block.h; block_count of them */
    guint32 block_count;
    guint32 block_first;        /* first page of the first one */
    guint32 resting;            /* blocks that are not armed */
    guint32 kept;               /* pages with KSM_PAGE_KEPT */
    gboolean policy_followed;   /* the shadow has the RAM's NUMA policy */
    GArray *discarded;          /* KsmRange, under place_lock: discard.c */
};

/*
 * Makes the bookkeeping of a range, advises the kernel about it and, for
 * KSM_REGION_FRESH, gives it a shadow.  Nothing is registered yet.
 */
KsmRegion *ksm_ram_new(KsmEngine *engine, const char *name, void *addr,
                       guint64 bytes, KsmRegionFlags flags, GError **errp);

/*
 * Replaces the range by empty anonymous memory, so that no slot is mapped any
 * more, and frees the bookkeeping.  Returns FALSE when the kernel would not
 * map: then slots may still be mapped, and must stay bound.
 */
gboolean ksm_ram_free(KsmRegion *region);

/* Frees the bookkeeping of a range that was never shared: its content stays. */
void ksm_ram_abandon(KsmRegion *region);

static inline guint8 *ksm_ram_address(KsmRegion *region, guint32 page)
{
    return region->addr + (gsize)page * KSM_PAGE_BYTES;
}

/* The block that holds a page; NULL near the region's ends. */
static inline KsmBlock *ksm_ram_block(KsmRegion *region, guint32 page)
{
    guint32 number = (page - region->block_first) / KSM_BLOCK_PAGES;

    return number < region->block_count ? &region->blocks[number] : NULL;
}

/* Where the block of a page ends, or what lies before the first one. */
static inline guint32 ksm_ram_next_block(const KsmRegion *region,
                                         guint32 page)
{
    return page < region->block_first ? region->block_first :
           page + KSM_BLOCK_PAGES -
           (page - region->block_first) % KSM_BLOCK_PAGES;
}

/*
 * The first page from `page` on that is in no block at rest, and in *end where
 * such pages end; the region's end if there is none.
 */
guint32 ksm_ram_find_armed(KsmRegion *region, guint32 page, guint32 *end);

/* All that is armed is so no more: what is written next is nothing new. */
void ksm_ram_disarmed(KsmRegion *region);

/* A duplicate that is left unshared for the sake of its block. */
void ksm_ram_keep(KsmRegion *region, guint32 page);

/* Enters a state; keeps LOST and HWPOISON clear, the level, and the counts. */
void ksm_ram_set_state(KsmRegion *region, guint32 page, KsmPageState state);

/* Marks a page whose memory failed; the next state takes the mark off. */
void ksm_ram_set_hwpoison(KsmRegion *region, guint32 page);

/* The page was found written: the consequences for its back-off. */
void ksm_ram_note_written(KsmRegion *region, guint32 page, guint8 round);

/* Makes the page private or excluded for some rounds, one level up. */
void ksm_ram_back_off(KsmRegion *region, guint32 page, KsmPageState state);

/* The page is private, and to be looked up with the next sweep. */
void ksm_ram_look_again(KsmRegion *region, guint32 page);

/*
 * Before pages are shared for the first time: lets those that are given back
 * follow the NUMA policy that the program has set meanwhile.
 */
void ksm_ram_follow_policy(KsmRegion *region);

/*
 * Notes that [first, end) wants registration and advice again; inside windows,
 * too.
 */
void ksm_ram_unsettle(KsmRegion *region, guint32 first, guint32 end);

/* Advises the bookkeeping once more: ksmd is to leave it alone. */
void ksm_ram_tables_unmergeable(KsmRegion *region);

/* Bytes of bookkeeping that do not depend on what has been touched. */
guint64 ksm_ram_fixed_bytes(const KsmRegion *region);

/* The advice that every mapping of the region must have; 0 or -errno. */
int ksm_ram_advise(KsmRegion *region, guint32 first, guint32 end);

/*
 * Advice for what has been moved from the shadow onto the RAM, so that it can
 * merge with its neighbours.
 */
void ksm_ram_advise_anonymous(KsmRegion *region, guint32 first, guint32 count);

/* To put memory where the kernel has left none, tries so often, so far apart. */
#define KSM_FILL_TRIES   1000u
#define KSM_FILL_WAIT_US 1000u

/* Whether all of it is certainly mapped; scanner's thread or place_lock. */
gboolean ksm_ram_is_mapped(guint8 *addr, gsize bytes);

#endif /* KSM_RAM_H */
