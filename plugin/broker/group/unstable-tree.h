/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unstable-tree.h: from the fingerprint of a content to a page that a client
 * says has it, though it may change at any time.
 *
 * A thin layer over fp-tree.h: bits 0-15 of the value are the low half of the
 * tag, 16-47 the page, 48-63 the member.  An entry is only true while that
 * member's page word says so with the same tag (listing.h); nobody looks for
 * the entries of pages that were withdrawn, or of members that have gone.  They
 * are replaced when met, and swept away in the background.
 */
#ifndef KSM_UNSTABLE_TREE_H
#define KSM_UNSTABLE_TREE_H

#include "tree/fp-tree.h"

typedef struct KsmListing {
    guint32 page;
    guint16 member;
    guint16 tag;
} KsmListing;

static inline guint64 ksm_listing_pack(const KsmListing *listing)
{
    return (guint64)listing->member << 48 | (guint64)listing->page << 16 |
        listing->tag;
}

static inline KsmListing ksm_listing_unpack(guint64 value)
{
    KsmListing listing = {
        .page = (guint32)(value >> 16),
        .member = (guint16)(value >> 48),
        .tag = (guint16)value,
    };

    return listing;
}

#endif /* KSM_UNSTABLE_TREE_H */
