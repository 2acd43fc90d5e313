/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * piece.h: a region in pieces, for calls that keep the mmap lock.
 */
#ifndef KSM_PIECE_H
#define KSM_PIECE_H

#include "memory/region.h"

/* How large the pieces of one kind of call are. */
typedef struct KsmPieces {
    guint page_ns;              /* what a page and a mapping take, roughly */
    guint mapping_ns;
    guint64 allowed_ns;         /* for a piece, by these two figures */
} KsmPieces;

/* Of these calls, by measurement (Linux 6.18, a VM on an AMD EPYC). */
extern const KsmPieces ksm_pieces_scan;
extern const KsmPieces ksm_pieces_register;
extern const KsmPieces ksm_pieces_unregister;
extern const KsmPieces ksm_pieces_replace;

/*
 * Where the piece ends that begins at page `first`, not behind `end`: at the
 * end of a block, so that no call divides a huge page.
 */
guint32 ksm_pieces_next(const KsmPieces *pieces, KsmRegion *region,
                        guint32 first, guint32 end);

/* A call for a piece took so long; whole: it went to the piece's end. */
void ksm_pieces_took(KsmPieces *pieces, guint64 ns, gboolean whole);

#endif /* KSM_PIECE_H */
