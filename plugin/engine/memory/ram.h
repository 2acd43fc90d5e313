/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ram.h: the guest RAM map: regions, their shadow and their pages' states.
 */
#ifndef KSM_RAM_H
#define KSM_RAM_H

#include "memory/page-state.h"
#include "memory/region.h"

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

/*
 * The first page from `page` on that is in no parked block, and in *end where
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

/*
 * The page was found written: the consequences for its back-off.  `rounds` as
 * the sweep that follows will count.
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

/* The page is private, and to be looked up with the next sweep. */
void ksm_ram_retry(KsmRegion *region, guint32 page);

/*
 * Before pages are shared for the first time: lets those that are given back
 * follow the NUMA policy that the program has set meanwhile.
 */
void ksm_ram_follow_policy(KsmRegion *region);

/*
 * Notes that [first, end) wants registration and advice again; inside windows,
 * too.
 */
void ksm_ram_needs_register(KsmRegion *region, guint32 first, guint32 end);

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
