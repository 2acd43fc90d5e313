/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listing.c: listed pages, whose content has no slot yet: which page has the
 * content, which member publishes it, and which pages wait for that.
 *
 * The first page with some content is listed.  When a second one is looked up,
 * its member is asked to publish it: the entry in the unstable tree now names
 * the second page as the publisher, and the first page waits.  Pages of other
 * members that are looked up until then wait as well: copying and comparing the
 * page for each of many clients that find it at the same moment would cost the
 * broker ten times as much as a lookup.  For pages of the publisher's own
 * member the answer is to publish as well; that member knows best which of
 * them to take (tiles).
 *
 * A waiting page is listed by its word, but not in the tree; a deferred result
 * for it lies in its member's ring.  When the client fetches results, each is
 * settled by the state at that time (results.c):
 *   the content has a slot       the page is bound to it
 *   a publisher is pending       the result stays
 *   another page is listed       the page must be looked up again
 *   none of these                the page is listed in the tree
 * So no page waits forever, as long as clients fetch their results: a page is a
 * publisher only while its word says so, and for KSM_LISTING_WAIT_US at most.
 * Anything that happens to that page changes the word: it is published (perhaps
 * with other content, perhaps refused), withdrawn or looked up again, or its
 * connection or process ends.  After that the first waiting page is entered in
 * the tree; the second must be looked up again, finds the first in the tree,
 * and becomes the next publisher.
 *
 * A member that never publishes can delay others only a limited number of
 * times: after it has let KSM_MISSED_PUBLISHES_MAX turns pass, pages do not
 * wait for it for a while.  In that case, and when the ring has no room for a
 * result, every client that looks up the content is asked to publish, and the
 * broker finds out that it was published twice.
 *
 * The number of stale entries is bounded: the background sweep runs when the
 * listings that ended amount to a quarter of the tree.  If the background work
 * gets no time, insertions sweep as well, eight entries each.
 */
#include "group/listing.h"

#include "group/content.h"
#include "group/result-ring.h"
#include "group/member.h"
#include "group/page-table.h"
#include "group/stable-tree.h"
#include "tree/fp-seek.h"
#include "tree/fp-tree.h"

/* The timestamp in a publisher's word: units of 131 ms, wraps in 36 minutes. */
#define STAMP_SHIFT 17
#define STAMP_MASK 0x3fffu
#define STAMP_VALID (KSM_LISTING_WAIT_US >> STAMP_SHIFT)

#define KSM_MISSED_PUBLISHES_MAX 256u
#define DISTRUST_US (60 * G_USEC_PER_SEC)

#define SWEEP_STEP 2048u
#define SWEEP_PER_INSERT 8u
#define UNSTABLE_SLACK 65536u

static guint32 stamp_now(const KsmGroup *group)
{
    return (guint32)(group->now_us >> STAMP_SHIFT) & STAMP_MASK;
}

/* The member that a listing names; NULL if it has left or is leaving. */
static KsmMember *listing_member(const KsmGroup *group,
                                 const KsmListing *listing)
{
    KsmMember *member = listing->member < group->members->len ?
                            g_ptr_array_index(group->members, listing->member) :
                            NULL;

    return member != NULL && listing->page < member->table.pages &&
                   member->cleaning == KSM_CLEANING_NONE ?
               member :
               NULL;
}

/* A turn to publish has passed unused: unlists the page. */
static void note_missed_publish(KsmGroup *group, KsmMember *member,
                                guint32 page)
{
    ksm_member_unlist(member, page);
    if (++member->missed_publishes >= KSM_MISSED_PUBLISHES_MAX) {
        member->missed_publishes = 0;
        member->distrust_until_us = group->now_us + DISTRUST_US;
    }
}

KsmListed ksm_listing_of(KsmGroup *group, guint64 value)
{
    KsmListing listing = ksm_listing_unpack(value);
    KsmListed listed = {
        KSM_LISTED_NONE,
        listing_member(group, &listing),
        listing.page,
    };
    guint32 word, stamp;

    if (listed.member == NULL) {
        return listed;
    }
    word = listed.member->table.words[listing.page];
    if ((guint16)word != listing.tag) {
        return listed;
    }
    if (ksm_page_link(word) == KSM_PAGE_LINK_LISTED) {
        listed.kind = KSM_LISTED_PAGE;
    } else if (ksm_page_link(word) == KSM_PAGE_LINK_PUBLISHER) {
        stamp = ksm_page_link_value(word) >> 16;
        if (((stamp_now(group) - stamp) & STAMP_MASK) <= STAMP_VALID) {
            listed.kind = KSM_LISTED_PUBLISHER;
        } else {
            note_missed_publish(group, listed.member, listing.page);
        }
    }
    return listed;
}

KsmListed ksm_listing_find(KsmGroup *group, guint64 key, KsmFpPlace *place)
{
    guint64 value;

    if (!ksm_fp_tree_find_at(group->unstable, place, key, &value)) {
        return (KsmListed) { KSM_LISTED_NONE, NULL, 0 };
    }
    return ksm_listing_of(group, value);
}

gboolean ksm_listed_has_tag(const KsmListed *listed, guint32 tag)
{
    guint32 word = listed->member->table.words[listed->page];

    return listed->kind == KSM_LISTED_PUBLISHER ?
               (guint16)word == (guint16)tag :
               ksm_page_link_value(word) == tag;
}

void ksm_listing_prefetch(const KsmGroup *group, guint64 value)
{
    KsmListing listing = ksm_listing_unpack(value);
    const KsmMember *member = listing_member(group, &listing);

    if (member != NULL) {
        __builtin_prefetch(member->table.words + listing.page);
    }
}

/* Keeps valid entries whose content is not in the stable tree. */
static gboolean sweep_keep(guint64 key, guint64 value, gpointer opaque)
{
    KsmGroup *group = opaque;
    KsmListed listed = ksm_listing_of(group, value);
    KsmStableEntry entry;
    KsmWaitingResult result;

    if (listed.kind != KSM_LISTED_PAGE) {
        return listed.kind == KSM_LISTED_PUBLISHER;
    }
    if (!group->resending || !ksm_stable_find(group->stable, key, &entry) ||
        !ksm_listed_has_tag(&listed, entry.tag)) {
        return TRUE;
    }
    result = (KsmWaitingResult) { key, listed.page, entry.tag };
    if (!ksm_member_push_result(listed.member, &result)) {
        listed.member->results_lost = TRUE;
        return TRUE;
    }
    return FALSE;
}

gboolean ksm_group_sweep(KsmGroup *group)
{
    if (!group->sweeping) {
        if (!ksm_group_sweep_is_due(group)) {
            return FALSE;
        }
        group->sweeping = TRUE;
        group->sweep_cursor = 0;
        group->unlisted = 0;
        group->resending = group->resend;
        group->resend = FALSE;
    }
    ksm_group_tick(group);
    ksm_fp_tree_sweep(group->unstable, &group->sweep_cursor, SWEEP_STEP,
                      sweep_keep, group);
    group->sweeping = group->sweep_cursor != 0;
    return group->sweeping || ksm_group_sweep_is_due(group);
}

/* The unstable tree may have grown by one entry. */
static void note_inserted(KsmGroup *group)
{
    if (ksm_fp_tree_count(group->unstable) >
        2 * group->listed + UNSTABLE_SLACK) {
        group->sweep_debt += SWEEP_PER_INSERT;
        if (group->sweep_debt >= SWEEP_STEP) {
            group->sweep_debt = 0;
            ksm_group_sweep(group);
        }
    }
}

gboolean ksm_listing_add(KsmMember *member, guint32 page, guint64 key,
                         KsmFpPlace *place, guint32 tag)
{
    KsmGroup *group = member->group;
    KsmListing listing = { page, member->id, (guint16)tag };

    if (!ksm_fp_tree_has_room(group->unstable)) {
        ksm_member_unlist(member, page);
        return FALSE;
    }
    ksm_member_list(member, page, tag);
    ksm_fp_tree_insert_at(group->unstable, place, key,
                          ksm_listing_pack(&listing));
    note_inserted(group);
    return TRUE;
}

/* Makes @page the publisher; the listed page then waits. */
static gboolean make_publisher(KsmMember *member, guint32 page, guint64 key,
                               KsmFpPlace *place, guint32 tag,
                               const KsmListed *listed)
{
    KsmGroup *group = member->group;
    KsmListing listing = { page, member->id, (guint16)tag };
    KsmWaitingResult result = { key, listed->page, tag };

    if (member->distrust_until_us > group->now_us ||
        !ksm_member_push_result(listed->member, &result)) {
        return FALSE;
    }
    ksm_member_set_publisher(member, page,
                             stamp_now(group) << 16 | listing.tag);
    ksm_fp_tree_insert_at(group->unstable, place, key,
                          ksm_listing_pack(&listing));
    return TRUE;
}

static gboolean wait(KsmMember *member, guint32 page, guint64 key, guint32 tag)
{
    KsmWaitingResult result = { key, page, tag };

    if (!ksm_member_push_result(member, &result)) {
        return FALSE;
    }
    ksm_member_list(member, page, tag);
    return TRUE;
}

KsmAnswerKind ksm_listing_match(KsmMember *member, guint32 page, guint64 key,
                                KsmFpPlace *place, guint32 tag,
                                const KsmListed *other)
{
    if (!ksm_listed_has_tag(other, tag)) {
        ksm_member_unlist(member, page);
        return KSM_ANSWER_REFUSED;
    }
    if (other->kind == KSM_LISTED_PAGE) {
        if (!make_publisher(member, page, key, place, tag, other)) {
            ksm_member_unlist(member, page);
        }
        return KSM_ANSWER_PUBLISH;
    }
    if (other->member != member && wait(member, page, key, tag)) {
        return KSM_ANSWER_LISTED;
    }
    if (other->member != member || other->page != page) {
        ksm_member_unlist(member, page);
    }
    return KSM_ANSWER_PUBLISH;
}

void ksm_listing_published(KsmMember *member, guint32 page, guint64 key,
                           guint32 tag)
{
    KsmGroup *group = member->group;
    KsmWaitingResult result = { key, 0, tag };
    KsmFpPlace place;
    KsmListed listed;

    ksm_fp_tree_seek(group->unstable, &key, 1, &place);
    listed = ksm_listing_find(group, key, &place);
    if (listed.kind == KSM_LISTED_NONE || !ksm_listed_has_tag(&listed, tag)) {
        return;
    }
    result.page = listed.page;
    if (listed.kind == KSM_LISTED_PUBLISHER) {
        listed.member->missed_publishes -= MIN(listed.member->missed_publishes,
                                               1);
    } else if ((listed.member != member || listed.page != page) &&
               !ksm_member_push_result(listed.member, &result)) {
        /* that member gets the result once its ring has room */
        listed.member->results_lost = TRUE;
        return;
    }
    ksm_fp_tree_remove(group->unstable, key);
}
