/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * block.h: the 2 MiB blocks of a region, and when they are parked.
 *
 * A block is what one huge page can hold: 512 pages at an address that is a
 * multiple of 2 MiB.  It is *whole* while all of its pages are the guest's own
 * anonymous memory.  This is bookkeeping only: huge.c acts on it.
 */
#ifndef KSM_BLOCK_H
#define KSM_BLOCK_H

#include <glib.h>

#include "memory/page-state.h"

#define KSM_BLOCK_PAGES 512u

/* A block with this many pages written in one round is hot. */
#define KSM_BLOCK_HOT 256u
/* Rounds after a write until the idle pages of a block were looked up. */
#define KSM_BLOCK_ROUNDS 4u
/* Rounds that a block is parked: the minimum, and the maximum of doublings. */
#define KSM_BLOCK_PARK_ROUNDS 8u
#define KSM_BLOCK_MAX_LEVEL 4u

/* 14 bytes, for 512 pages. */
typedef struct KsmBlock {
    guint16 away;         /* pages not present, or in the store */
    guint16 kept;         /* pages with KSM_PAGE_SPARED_HUGE */
    guint16 written;      /* pages seen written in this round */
    guint16 found;        /* duplicates, while they are weighed */
    guint16 mappings;     /* that begin in it, or UNCOUNTED: piece.c */
    guint8 parked_rounds; /* rounds that it is still left unarmed */
    guint8 level;         /* number of doublings of the parking */
    guint8 rounds;        /* since it was armed or first written */
    guint8 flags;
} KsmBlock;

#define KSM_BLOCK_UNCOUNTED 0xffffu

#define KSM_BLOCK_HUGE 0x01u   /* has been a huge page */
#define KSM_BLOCK_FRESH 0x02u  /* counts as written in this round */
#define KSM_BLOCK_SPLIT 0x04u  /* written since it was armed */
#define KSM_BLOCK_SPARED 0x08u /* must not be split: while weighed */

static inline gboolean ksm_block_is_whole(const KsmBlock *block)
{
    return block->away == 0;
}

/*
 * Whether the block is whole, or so few of its pages are shared or given back
 * that making it whole is worthwhile: half of what would split it, so that it
 * does not go back and forth.
 */
static inline gboolean ksm_block_is_nearly_whole(const KsmBlock *block,
                                                 guint keep)
{
    return block->away * 2u <= keep;
}

/* A page's state changes: updates `away`, `kept` and `mappings`. */
static inline void ksm_block_note_state(KsmBlock *block, guint8 word,
                                        KsmPageState state)
{
    if (ksm_page_in_store(word) != ksm_page_in_store((guint8)state)) {
        block->mappings = KSM_BLOCK_UNCOUNTED;
    }
    block->kept = (guint16)(block->kept - ksm_page_is_spared(word));
    block->away = (guint16)(block->away + ksm_page_state_is_away(state) -
                            ksm_page_state_is_away(ksm_page_state(word)));
}

/* What to do with a block at the end of a round. */
typedef enum KsmBlockVerdict {
    KSM_BLOCK_GOES_ON,    /* unchanged, armed or parked */
    KSM_BLOCK_SHALL_REST, /* park: nothing in it is worth a split */
} KsmBlockVerdict;

/*
 * Called when the round's writes are known.  `keep`: maximum number of
 * duplicates that are left unshared to avoid splitting the block.
 */
KsmBlockVerdict ksm_block_judge(KsmBlock *block, guint keep);

/* The block is no longer armed: its parking begins. */
void ksm_block_park(KsmBlock *block);

/* Counts one round of parking down; TRUE: it was the last, arm the block. */
gboolean ksm_block_rest_over(KsmBlock *block);

#endif /* KSM_BLOCK_H */
