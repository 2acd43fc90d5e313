/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hints.c: the request HINTS.
 *
 * A hint says that a page of the client is listed with a content that has got
 * a slot, or that somebody is about to publish.  The slot may have been freed
 * since, and the page been withdrawn, or bound by other ways: so only the
 * page's word and the trees as they are now count.  How a page gets on in each
 * case is told in listing.c.
 */
#include "group/hints.h"

#include "group/content.h"
#include "group/hint-ring.h"
#include "group/listing.h"
#include "group/member.h"
#include "group/page-table.h"
#include "group/stable-tree.h"
#include "tree/fp-seek.h"

/* What becomes of a hint. */
typedef enum Outcome {
    OUTCOME_DROPPED, OUTCOME_TOLD, OUTCOME_WAITS,
} Outcome;

static Outcome settle_unstable(KsmMember *member, const KsmWaitingHint *hint)
{
    KsmGroup *group = member->group;
    KsmFpPlace place;
    KsmListed listed;

    ksm_fp_tree_seek(group->unstable, &hint->key, 1, &place);
    listed = ksm_listing_find(group, hint->key, &place);
    if (listed.kind == KSM_LISTED_NONE) {
        return ksm_listing_add(member, hint->page, hint->key, &place,
                               hint->tag) ? OUTCOME_DROPPED : OUTCOME_TOLD;
    }
    if (listed.kind == KSM_LISTED_PUBLISHER &&
        ksm_listed_has_tag(&listed, hint->tag)) {
        return OUTCOME_WAITS;
    }
    if (listed.member == member && listed.page == hint->page) {
        return OUTCOME_DROPPED;     /* listed in the tree already */
    }
    ksm_member_unlist(member, hint->page);
    return OUTCOME_TOLD;
}

static Outcome settle(KsmMember *member, const KsmWaitingHint *hint,
                      KsmHint *told)
{
    guint32 word = member->table.words[hint->page];
    KsmStableEntry entry;

    *told = (KsmHint) { hint->page, KSM_SLOT_NONE };
    if (word != ksm_page_link_word(KSM_PAGE_LINK_LISTED, hint->tag)) {
        return OUTCOME_DROPPED;
    }
    if (!ksm_stable_find(member->group->stable, hint->key, &entry)) {
        return settle_unstable(member, hint);
    }
    if (entry.tag == hint->tag) {
        told->slot = ksm_group_bind(member, hint->page, &entry);
    }
    return told->slot == KSM_SLOT_NONE ? OUTCOME_DROPPED : OUTCOME_TOLD;
}

guint ksm_group_take_hints(KsmMember *member, KsmHint *hints, guint max)
{
    KsmGroup *group = member->group;
    guint left = MIN(member->hints.count, 2 * max), count = 0;
    KsmWaitingHint hint;

    ksm_group_tick(group);
    for (; left > 0 && count < max; left--) {
        Outcome outcome;

        ksm_hint_ring_pop(&member->hints, &hint);
        outcome = settle(member, &hint, &hints[count]);
        count += outcome == OUTCOME_TOLD;
        if (outcome == OUTCOME_WAITS) {
            ksm_hint_ring_push(&member->hints, &hint);
        }
    }
    if (member->hints_lost && member->hints.count < KSM_HINT_RING_MAX / 2) {
        member->hints_lost = FALSE;
        group->resend = TRUE;
        ksm_group_wake(group);
    }
    return count;
}
