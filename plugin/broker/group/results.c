/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * results.c: the request FETCH_RESULTS.
 *
 * A deferred result says that a listed page's content has got a slot, or is
 * about to be published.  Since then the slot may have been freed, or the page
 * withdrawn or bound in another way.  So only the page's word and the present
 * state of the trees count.  listing.c lists the possible cases.
 */
#include "group/results.h"

#include "group/content.h"
#include "group/result-ring.h"
#include "group/listing.h"
#include "group/member.h"
#include "group/page-table.h"
#include "group/stable-tree.h"
#include "tree/fp-seek.h"

/* The outcome of a result. */
typedef enum Outcome {
    OUTCOME_DROPPED,
    OUTCOME_TOLD,
    OUTCOME_WAITS,
} Outcome;

static Outcome settle_unstable(KsmMember *member,
                               const KsmWaitingResult *result)
{
    KsmGroup *group = member->group;
    KsmFpPlace place;
    KsmListed listed;

    ksm_fp_tree_seek(group->unstable, &result->key, 1, &place);
    listed = ksm_listing_find(group, result->key, &place);
    if (listed.kind == KSM_LISTED_NONE) {
        return ksm_listing_add(member, result->page, result->key, &place,
                               result->tag) ?
                   OUTCOME_DROPPED :
                   OUTCOME_TOLD;
    }
    if (listed.kind == KSM_LISTED_PUBLISHER &&
        ksm_listed_has_tag(&listed, result->tag)) {
        return OUTCOME_WAITS;
    }
    if (listed.member == member && listed.page == result->page) {
        return OUTCOME_DROPPED; /* listed in the tree already */
    }
    ksm_member_unlist(member, result->page);
    return OUTCOME_TOLD;
}

static Outcome settle(KsmMember *member, const KsmWaitingResult *result,
                      KsmResult *told)
{
    guint32 word = member->table.words[result->page];
    KsmStableEntry entry;

    *told = (KsmResult) { result->page, KSM_SLOT_NONE };
    if (word != ksm_page_link_word(KSM_PAGE_LINK_LISTED, result->tag)) {
        return OUTCOME_DROPPED;
    }
    if (!ksm_stable_find(member->group->stable, result->key, &entry)) {
        return settle_unstable(member, result);
    }
    if (entry.tag == result->tag) {
        told->slot = ksm_group_bind(member, result->page, &entry);
    }
    return told->slot == KSM_SLOT_NONE ? OUTCOME_DROPPED : OUTCOME_TOLD;
}

guint ksm_group_take_results(KsmMember *member, KsmResult *results, guint max)
{
    KsmGroup *group = member->group;
    guint left = MIN(member->results.count, 2 * max), count = 0;
    KsmWaitingResult result;

    member->results_told = FALSE;
    ksm_group_tick(group);
    for (; left > 0 && count < max; left--) {
        Outcome outcome;

        ksm_result_ring_pop(&member->results, &result);
        outcome = settle(member, &result, &results[count]);
        count += outcome == OUTCOME_TOLD;
        if (outcome == OUTCOME_WAITS) {
            ksm_result_ring_push(&member->results, &result);
        }
    }
    if (member->results_lost &&
        member->results.count < KSM_RESULT_RING_MAX / 2) {
        member->results_lost = FALSE;
        group->resend = TRUE;
        ksm_group_wake(group);
    }
    return count;
}
