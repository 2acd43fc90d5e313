/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stable-tree.h: maps a page's fingerprint to the slots that hold the page.
 *
 * A thin layer over fp-tree.h that packs an entry into the value: bits 0-29
 * first slot, 30-32 tile order, 33-62 tag of the content.
 */
#ifndef KSM_STABLE_TREE_H
#define KSM_STABLE_TREE_H

#include "tree/fp-tree.h"
#include "ksm-protocol.h"
#include "group/page-table.h"

/** Two odd random numbers, unknown to clients; one pair per group. */
typedef struct KsmTagKey {
    guint64 hi;
    guint64 lo;
} KsmTagKey;

/**
 * 30 bits that distinguish pages beyond the tree's key.  Keyed, so that a
 * client cannot choose fingerprints that share a tag: with those, one page
 * could make any number of its listings look true.
 */
static inline guint32 ksm_fingerprint_tag(const KsmTagKey *key,
                                          const KsmFingerprint *fingerprint)
{
    guint64 sum = fingerprint->hi * key->hi + fingerprint->lo * key->lo;

    return (guint32)(sum >> 34);
}

typedef struct KsmStableEntry {
    guint32 head;
    guint32 tag;
    guint8 order;
} KsmStableEntry;

static inline guint64 ksm_stable_pack(const KsmStableEntry *entry)
{
    return (guint64)entry->tag << 33 | (guint64)entry->order << 30 |
           entry->head;
}

static inline KsmStableEntry ksm_stable_unpack(guint64 value)
{
    KsmStableEntry entry = {
        .head = (guint32)(value & KSM_MAX_SLOT),
        .tag = (guint32)(value >> 33 & KSM_PAGE_VALUE_MASK),
        .order = (guint8)(value >> 30 & 7),
    };

    return entry;
}

/** The slot for a guest page: adjacent pages take adjacent copies of a tile. */
static inline guint32 ksm_stable_slot(const KsmStableEntry *entry, guint32 page)
{
    return entry->head + (page & ((1u << entry->order) - 1));
}

static inline gboolean ksm_stable_find(const KsmFpTree *tree, guint64 key,
                                       KsmStableEntry *entry)
{
    guint64 value;

    if (!ksm_fp_tree_find(tree, key, &value)) {
        return FALSE;
    }
    *entry = ksm_stable_unpack(value);
    return TRUE;
}

#endif /* KSM_STABLE_TREE_H */
