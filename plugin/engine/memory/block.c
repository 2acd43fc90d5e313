/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * block.c: which blocks are hot, and how long they are left alone.
 *
 * An armed huge page is split by the first write to it (wp_huge_pmd() in the
 * kernel's mm/memory.c), whatever there is to be shared in it.  So a block is
 * armed to find out whether it has become idle, and for no longer than it takes
 * to know what it holds:
 *   - half of its pages are written in one round, or more than leave duplicates
 *     enough: rest, before what is unwritten by chance is looked up;
 *   - some pages are written: KSM_BLOCK_ROUNDS rounds later the idle ones have
 *     been looked up.  Where there were duplicates enough the block is far from
 *     whole, and others than this file see to it; else: rest.
 * Each rest is twice as long as the last one, up to 128 rounds.  A block that
 * stays unwritten for KSM_BLOCK_ROUNDS rounds starts anew.
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
        block->flags &= (guint8)~(KSM_BLOCK_FRESH | KSM_BLOCK_SPLIT);
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
           (block->rounds == KSM_BLOCK_ROUNDS || written >= KSM_BLOCK_HOT ||
            written + keep >= KSM_BLOCK_PAGES) ?
           KSM_BLOCK_SHALL_REST : KSM_BLOCK_GOES_ON;
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
