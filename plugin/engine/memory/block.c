/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * block.c: which blocks are hot, and how long they are parked.
 *
 * The first write to an armed huge page splits it (wp_huge_pmd() in the
 * kernel's mm/memory.c), whether or not it contains anything to share.  So a
 * block is armed only to find out whether it has become idle, and only for as
 * long as it takes to know what it holds:
 *   - If half of its pages are written in one round, or so many that the others
 *     cannot be enough duplicates, it is parked, before pages that happen to be
 *     unwritten are looked up.
 *   - If some pages are written, the idle ones have been looked up
 *     KSM_BLOCK_ROUNDS rounds later.  If there were enough duplicates, the
 *     block is far from whole, and this file leaves it to others; otherwise it
 *     is parked.
 * Each parking is twice as long as the last one, up to 128 rounds.  A block
 * that stays unwritten for KSM_BLOCK_ROUNDS rounds starts over at the minimum.
 */
#include "memory/block.h"

KsmBlockVerdict ksm_block_judge(KsmBlock *block, guint keep)
{
    guint written = block->written;

    block->written = 0;
    if (block->parked_rounds) {
        return KSM_BLOCK_GOES_ON;
    }
    if (block->flags & KSM_BLOCK_FRESH ||
        !ksm_block_is_nearly_whole(block, keep)) {
        block->flags &= (guint8) ~(KSM_BLOCK_FRESH | KSM_BLOCK_SPLIT);
        block->rounds = 0;
        return KSM_BLOCK_GOES_ON;
    }
    if (written && !(block->flags & KSM_BLOCK_SPLIT)) {
        block->flags |= KSM_BLOCK_SPLIT;
        block->rounds = 0;
    }
    if (block->rounds < KSM_BLOCK_ROUNDS) {
        block->rounds++;
    }
    if (!(block->flags & KSM_BLOCK_SPLIT)) {
        if (block->rounds == KSM_BLOCK_ROUNDS) {
            block->level = 0;
        }
        return KSM_BLOCK_GOES_ON;
    }
    return block->flags & KSM_BLOCK_HUGE &&
                   (block->rounds == KSM_BLOCK_ROUNDS ||
                    written >= KSM_BLOCK_HOT ||
                    written + keep >= KSM_BLOCK_PAGES) ?
               KSM_BLOCK_SHALL_REST :
               KSM_BLOCK_GOES_ON;
}

void ksm_block_park(KsmBlock *block)
{
    block->parked_rounds = (guint8)(KSM_BLOCK_PARK_ROUNDS << block->level);
    block->level = (guint8)MIN(block->level + 1u, KSM_BLOCK_MAX_LEVEL);
    block->flags &= (guint8)~KSM_BLOCK_SPLIT;
    block->rounds = 0;
}

gboolean ksm_block_rest_over(KsmBlock *block)
{
    if (!block->parked_rounds || --block->parked_rounds) {
        return FALSE;
    }
    block->flags |= KSM_BLOCK_FRESH;
    return TRUE;
}
