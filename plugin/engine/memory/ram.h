/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ram.h: the guest RAM map: regions, their shadow and their pages' states. */
#ifndef KSM_RAM_H
#define KSM_RAM_H

#include "memory/page-state.h"
#include "memory/region.h"

/*
 * Creates the bookkeeping of a range, advises the kernel about it and, for
 * KSM_REGION_FRESH, gives it a shadow.  Nothing is registered yet.
 */
KsmRegion *ksm_ram_new(KsmEngine *engine, const char *name, void *addr,
                       guint64 bytes, KsmRegionFlags flags, GError **errp);

/*
 * Replaces the range by empty anonymous memory, so that no slot is mapped any
 * more, and frees the bookkeeping.  Returns FALSE if the kernel refused the
 * mapping: slots may then still be mapped and must stay bound.
 */
gboolean ksm_ram_free(KsmRegion *region);

/* Frees the bookkeeping of a range that was never shared; keeps its content. */
void ksm_ram_abandon(KsmRegion *region);

/*
 * Returns the first page from `page` on that is not in a parked block; *end is
 * where the armed pages end.  Returns the region's end if there is none.
 */
guint32 ksm_ram_find_armed(KsmRegion *region, guint32 page, guint32 *end);

/* All armed pages are no longer armed: their next write is not reported. */
void ksm_ram_disarmed(KsmRegion *region);

/* Marks a duplicate that is left unshared for the sake of its block. */
void ksm_ram_keep(KsmRegion *region, guint32 page);

/* Sets a state; clears ORPHANED and HWPOISON, keeps the level, and counts. */
void ksm_ram_set_state(KsmRegion *region, guint32 page, KsmPageState state);

/*
 * Marks a page whose memory failed; its next change of state clears the mark.
 */
void ksm_ram_set_hwpoison(KsmRegion *region, guint32 page);

/*
 * The page was seen written in round number `round`: updates its back-off.
 * `rounds`: what the next sweep will subtract.
 */
void ksm_ram_note_written(KsmRegion *region, guint32 page, guint8 round,
                          guint8 rounds);

/* Makes the page private or excluded for some rounds, one level up. */
void ksm_ram_back_off(KsmRegion *region, guint32 page, KsmPageState state);

/*
 * Whether its back-off is over by this round, `rounds` after the last that asked;
 * counts it down otherwise.  Not if it failed.
 */
static inline gboolean ksm_ram_wait_over(KsmRegion *region, guint32 page,
                                         guint8 rounds)
{
    if (region->state[page] & KSM_PAGE_HWPOISON) {
        return FALSE;
    }
    if (region->wait[page] > rounds) {
        region->wait[page] -= rounds;
        return FALSE;
    }
    return TRUE;
}

/* Makes the page private and due for lookup in the next sweep. */
void ksm_ram_retry(KsmRegion *region, guint32 page);

/*
 * Called before pages are shared for the first time: applies the NUMA policy
 * that the program has set for the RAM to the memory that pages will be given
 * back to.
 */
void ksm_ram_follow_policy(KsmRegion *region);

/*
 * Notes that [first, end) needs registration and advice again; also allowed
 * inside windows.
 */
void ksm_ram_needs_register(KsmRegion *region, guint32 first, guint32 end);

/* Repeats the advice on the bookkeeping that excludes it from ksmd. */
void ksm_ram_tables_unmergeable(KsmRegion *region);

/* Bytes of bookkeeping that do not depend on which pages were touched. */
guint64 ksm_ram_fixed_bytes(const KsmRegion *region);

/* The advice that every mapping of the region must have; 0 or -errno. */
int ksm_ram_advise(KsmRegion *region, guint32 first, guint32 end);

/*
 * Advice for memory that was moved from the shadow to the RAM, so that the
 * mapping can merge with its neighbours.
 */
void ksm_ram_advise_anonymous(KsmRegion *region, guint32 first, guint32 count);

/* Retries of mapping memory where the kernel left a hole: number, interval. */
#define KSM_FILL_TRIES 1000u
#define KSM_FILL_WAIT_US 1000u

/* Whether all of it is certainly mapped; scanner thread, or place_lock. */
gboolean ksm_ram_is_mapped(guint8 *addr, gsize bytes);

#endif /* KSM_RAM_H */
