/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listing.h: listed pages, whose content has no slot yet: which page has the
 * content, which member publishes it, and which pages wait for that.
 */
#ifndef KSM_LISTING_H
#define KSM_LISTING_H

#include "group/state.h"
#include "group/unstable-tree.h"
#include "tree/fp-seek.h"

/** How long other pages wait for a publisher. */
#define KSM_LISTING_WAIT_US (4 * G_USEC_PER_SEC)

typedef enum KsmListedKind {
    KSM_LISTED_NONE = 0,
    KSM_LISTED_PAGE,      /* a page has the content */
    KSM_LISTED_PUBLISHER, /* its member was asked to publish it */
} KsmListedKind;

/** The confirmed listing under a key. */
typedef struct KsmListed {
    KsmListedKind kind;
    KsmMember *member;
    guint32 page;
} KsmListed;

/* In all functions @place is the place of @key in the unstable tree. */

KsmListed ksm_listing_find(KsmGroup *group, guint64 key, KsmFpPlace *place);

/** The same for a value that was found in the unstable tree. */
KsmListed ksm_listing_of(KsmGroup *group, guint64 value);

/** Whether the listing is of content with this tag. */
gboolean ksm_listed_has_tag(const KsmListed *listed, guint32 tag);

/** Prefetches the page word that may confirm the listing @value. */
void ksm_listing_prefetch(const KsmGroup *group, guint64 value);

/**
 * Lists a page: sets its word and the entry in the unstable tree.  FALSE if
 * there is no memory for the entry; then the page is not listed.
 */
gboolean ksm_listing_add(KsmMember *member, guint32 page, guint64 key,
                         KsmFpPlace *place, guint32 tag);

/**
 * The answer for @page when @other has the same content.  If the answer makes
 * a page wait, that page is listed and gets a deferred result.
 */
KsmAnswerKind ksm_listing_match(KsmMember *member, guint32 page, guint64 key,
                                KsmFpPlace *place, guint32 tag,
                                const KsmListed *other);

/** @page was published, so the content under @key has a slot now. */
void ksm_listing_published(KsmMember *member, guint32 page, guint64 key,
                           guint32 tag);

/** One step of the unstable tree's sweep, if due; TRUE: call again. */
gboolean ksm_group_sweep(KsmGroup *group);

#endif /* KSM_LISTING_H */
