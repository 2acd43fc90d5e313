/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unstable-tree.h: maps a fingerprint to a guest page that had this content
 * when its client reported it, and may change at any time.
 *
 * A thin layer over fp-tree.h: bits 0-15 of the value are the low half of the
 * tag, 16-47 the page, 48-63 the member.  An entry is valid only while that
 * member's page word confirms it with the same tag (listing.h).  Withdrawing
 * pages or removing members does not remove their entries: stale entries are
 * replaced when found, and swept away in the background.
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
