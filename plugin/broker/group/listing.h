/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listing.h: who has a content that has no slot yet, who is to publish it,
 * and who waits for that.
 */
#ifndef KSM_LISTING_H
#define KSM_LISTING_H

#include "group/state.h"
#include "group/unstable-tree.h"
#include "tree/fp-seek.h"

/** How long the others wait for one that was told to publish. */
#define KSM_LISTING_WAIT_US (4 * G_USEC_PER_SEC)

typedef enum KsmListedKind {
    KSM_LISTED_NONE = 0,
    KSM_LISTED_PAGE,            /* a page has it */
    KSM_LISTED_PUBLISHER,       /* and is to be published */
} KsmListedKind;

/** What stands under a key, and is true. */
typedef struct KsmListed {
    KsmListedKind kind;
    KsmMember *member;
    guint32 page;
} KsmListed;

/* @place is always that of the key in the unstable tree. */

KsmListed ksm_listing_find(KsmGroup *group, guint64 key, KsmFpPlace *place);

/** The same for a value that was found in the unstable tree. */
KsmListed ksm_listing_of(KsmGroup *group, guint64 value);

/** Whether that is of the content with this tag. */
gboolean ksm_listed_has_tag(const KsmListed *listed, guint32 tag);

/** Asks for the word that confirms the listing @value, if any does. */
void ksm_listing_prefetch(const KsmGroup *group, guint64 value);

/**
 * Lists a page: its word, and the entry in the unstable tree.  FALSE when there
 * is no memory for it: then it is not listed.
 */
gboolean ksm_listing_add(KsmMember *member, guint32 page, guint64 key,
                         KsmFpPlace *place, guint32 tag);

/**
 * Another page has the content of @page too: the answer for @page.  When that
 * makes a page wait, it is listed and hears by a result.
 */
KsmAnswerKind ksm_listing_match(KsmMember *member, guint32 page, guint64 key,
                               KsmFpPlace *place, guint32 tag,
                               const KsmListed *other);

/** The content under @key has a slot now, because @page was published. */
void ksm_listing_published(KsmMember *member, guint32 page, guint64 key,
                           guint32 tag);

/** A step of the sweep of the unstable tree, if one is due; TRUE: go on. */
gboolean ksm_group_sweep(KsmGroup *group);

#endif /* KSM_LISTING_H */
