/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* piece.h: divides a region into pieces for calls that hold the mmap lock. */
#ifndef KSM_PIECE_H
#define KSM_PIECE_H

#include "memory/region.h"

/* Piece sizes for one kind of call. */
typedef struct KsmPieces {
    guint page_ns; /* approximate cost of a page and a mapping */
    guint mapping_ns;
    guint64 allowed_ns; /* estimated cost allowed for a piece */
} KsmPieces;

/* The kinds of calls, measured on Linux 6.18 in a VM on an AMD EPYC. */
extern const KsmPieces ksm_pieces_scan;
extern const KsmPieces ksm_pieces_register;
extern const KsmPieces ksm_pieces_unregister;
extern const KsmPieces ksm_pieces_replace;

/*
 * Returns the end of the piece that begins at page `first`, at most `end`.  It
 * is the end of a block, so that no call divides a huge page.
 */
guint32 ksm_pieces_next(const KsmPieces *pieces, KsmRegion *region,
                        guint32 first, guint32 end);

/* Reports that a call took `ns`; whole: it reached the piece's end. */
void ksm_pieces_took(KsmPieces *pieces, guint64 ns, gboolean whole);

#endif /* KSM_PIECE_H */
