/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * piece.c: no call holds the mmap lock for long, however large a region is.
 *
 * A call for a range holds the mmap lock of the process for the whole range.
 * A thread that maps memory meanwhile waits, and all others wait behind that
 * writer: faults that need the lock, KVM's faults, and the window of another
 * engine in the same process, together with the guest pages that it has taken.
 * A GiB of pages costs 0.8 ms to scan and 60 ms to unregister; 60,000 mappings
 * cost some 20 ms (Linux 6.18).  So such calls are made for one piece after
 * another.
 *
 * The size of a piece follows from the time that a call may take, which is
 * estimated from the number of its pages and mappings.  These are known: each
 * block remembers how many mappings begin in it, and is counted again after
 * one of its pages has entered or left a store.  So a piece does not extend
 * into a dense part of the region because the part before it was empty.  The
 * clock corrects the estimate for this machine and this memory: a call that
 * takes too long halves the pieces, and a short one doubles them, up to a
 * limit.  Pages of huge pages and absent pages cost nearly nothing.
 *
 * Thread: the scanner's, or another one under the engine's work lock.
 */
#include "memory/piece.h"

#include "memory/account.h"

/* Target duration of a call; shorter ones are not worthwhile. */
#define KSM_PIECE_NS 200000u
#define KSM_PIECE_LONG_NS 300000u
#define KSM_PIECE_SHORT_NS 100000u
#define KSM_PIECE_MIN_NS 50000u
#define KSM_PIECE_MAX_NS 600000u

const KsmPieces ksm_pieces_scan = { 3, 330, KSM_PIECE_NS };
const KsmPieces ksm_pieces_register = { 0, 400, KSM_PIECE_NS };
const KsmPieces ksm_pieces_unregister = { 80, 1500, KSM_PIECE_NS };
const KsmPieces ksm_pieces_replace = { 250, 1000, KSM_PIECE_NS };

/* Number of mappings that begin in a block's pages [first, end), or more. */
static guint32 mappings_of(KsmRegion *region, guint32 first, guint32 end)
{
    KsmBlock *block = ksm_ram_block(region, first);
    guint32 number, start, stores;

    if (!region->store_mappings) {
        return 0;
    }
    if (!block) {
        return end - first;
    }
    if (block->mappings == KSM_BLOCK_UNCOUNTED) {
        number = (guint32)(block - region->blocks);
        start = region->block_first + number * KSM_BLOCK_PAGES;
        block->mappings =
            (guint16)ksm_account_borders(region, start,
                                         start + KSM_BLOCK_PAGES - 1, &stores);
    }
    return MIN(block->mappings, end - first);
}

guint32 ksm_pieces_next(const KsmPieces *pieces, KsmRegion *region,
                        guint32 first, guint32 end)
{
    guint64 ns = 0;
    guint32 page = first;

    while (page < end) {
        guint32 next = MIN(ksm_ram_next_block(region, page), end);

        ns += (guint64)(next - page) * pieces->page_ns +
              (guint64)mappings_of(region, page, next) * pieces->mapping_ns;
        if (ns > pieces->allowed_ns && page > first) {
            break;
        }
        page = next;
    }
    return page;
}

void ksm_pieces_took(KsmPieces *pieces, guint64 ns, gboolean whole)
{
    if (ns > KSM_PIECE_LONG_NS) {
        pieces->allowed_ns = MAX(pieces->allowed_ns / 2, KSM_PIECE_MIN_NS);
    } else if (whole && ns < KSM_PIECE_SHORT_NS) {
        pieces->allowed_ns = MIN(pieces->allowed_ns * 2, KSM_PIECE_MAX_NS);
    }
}
