/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * member.c: one client's part of a group.
 *
 * Every reference to a slot is one "bound" word, and every valid listing is one
 * "listed" word.  The counts here and in the group follow the words, so only
 * the five functions below change them.  However a client ended, what its
 * member holds is released by walking the words, a bounded number at a time.
 * The last request cannot be half done, because one thread carries out all
 * requests, one item at a time.
 */
#include "group/member.h"

#include "group/content.h"
#include "group/result-ring.h"
#include "group/page-table.h"
#include "store/roster.h"
#include "store/store.h"
#include "error.h"

/* A step takes some 0.2 ms if the words are empty, 1 ms if they are bound. */
#define CLEAN_STEP_WORDS 65536u
#define CLEAN_STEP_UNBINDS 2048u

static gboolean member_take_id(KsmMember *member, KsmGroup *group,
                               GError **errp)
{
    guint id = group->next_id;
    guint tries;

    if (group->member_count >= KSM_GROUP_MAX_MEMBERS) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "the group has the maximum number of members");
        return FALSE;
    }
    for (tries = 0; tries < KSM_GROUP_MAX_MEMBERS; tries++) {
        id = id % KSM_GROUP_MAX_MEMBERS;
        if (id >= group->members->len ||
            g_ptr_array_index(group->members, id) == NULL) {
            break;
        }
        id++;
    }
    if (id >= group->members->len) {
        g_ptr_array_set_size(group->members, (gint)id + 1);
        g_array_set_size(group->generations, id + 1);
    }
    g_ptr_array_index(group->members, id) = member;
    member->generation = ++g_array_index(group->generations, guint8, id);
    member->id = (guint16)id;
    group->next_id = (guint16)(id + 1);
    group->member_count++;
    return TRUE;
}

KsmMember *ksm_member_new(KsmGroup *group, guint64 pages, GError **errp)
{
    KsmMember *member = g_new0(KsmMember, 1);

    member->group = group;
    member->clean_link.data = member;
    member->roster_at = KSM_ROSTER_NONE;
    member->claimant_at = KSM_ROSTER_NONE;
    if (!ksm_page_table_resize(&member->table, pages, errp)) {
        g_free(member);
        return NULL;
    }
    if (!member_take_id(member, group, errp)) {
        ksm_page_table_clear(&member->table);
        g_free(member);
        return NULL;
    }
    return member;
}

/* Whether any page is listed or a publisher. */
static gboolean lists_any(const KsmMember *member)
{
    return member->listed > 0 || member->publishers > 0;
}

void ksm_member_free(KsmMember *member)
{
    KsmGroup *group = member->group;

    g_assert(!lists_any(member) && member->bound == 0);
    g_assert(member->cleaning == KSM_CLEANING_NONE && !member->reclaiming);
    if (member->roster_at != KSM_ROSTER_NONE) {
        ksm_roster_clear(ksm_store_roster(group->store), member->roster_at);
    }
    g_ptr_array_index(group->members, member->id) = NULL;
    group->member_count--;
    ksm_result_ring_clear(&member->results);
    ksm_page_table_clear(&member->table);
    g_free(member);
}

gboolean ksm_member_resize(KsmMember *member, guint64 pages, GError **errp)
{
    return ksm_page_table_resize(&member->table, pages, errp);
}

void ksm_member_unlist(KsmMember *member, guint32 page)
{
    guint32 *word = member->table.words + page;

    if (ksm_page_link(*word) == KSM_PAGE_LINK_LISTED) {
        *word = ksm_page_link_word(KSM_PAGE_LINK_NOTHING, 0);
        member->listed--;
        member->group->listed--;
        ksm_group_note_unlisted(member->group);
    } else if (ksm_page_link(*word) == KSM_PAGE_LINK_PUBLISHER) {
        *word = ksm_page_link_word(KSM_PAGE_LINK_NOTHING, 0);
        member->publishers--;
    }
}

void ksm_member_set_publisher(KsmMember *member, guint32 page, guint32 value)
{
    guint32 *word = member->table.words + page;

    g_assert(ksm_page_link(*word) != KSM_PAGE_LINK_BOUND);
    ksm_member_unlist(member, page);
    *word = ksm_page_link_word(KSM_PAGE_LINK_PUBLISHER, value);
    member->publishers++;
}

void ksm_member_list(KsmMember *member, guint32 page, guint32 tag)
{
    guint32 *word = member->table.words + page;

    g_assert(ksm_page_link(*word) != KSM_PAGE_LINK_BOUND);
    ksm_member_unlist(member, page);
    *word = ksm_page_link_word(KSM_PAGE_LINK_LISTED, tag);
    member->listed++;
    member->group->listed++;
}

void ksm_member_bind(KsmMember *member, guint32 page, guint32 slot)
{
    guint32 *word = member->table.words + page;

    g_assert(ksm_page_link(*word) != KSM_PAGE_LINK_BOUND);
    ksm_member_unlist(member, page);
    *word = ksm_page_link_word(KSM_PAGE_LINK_BOUND, slot);
    member->bound++;
    member->group->bound++;
}

void ksm_member_unbind(KsmMember *member, guint32 page)
{
    guint32 *word = member->table.words + page;
    guint32 slot = ksm_page_link_value(*word);

    if (ksm_page_link(*word) == KSM_PAGE_LINK_BOUND) {
        *word = ksm_page_link_word(KSM_PAGE_LINK_NOTHING, 0);
        member->bound--;
        member->group->bound--;
        ksm_group_unref_slot(member->group, slot);
    }
}

guint32 ksm_group_bind(KsmMember *member, guint32 page,
                       const KsmStableEntry *entry)
{
    KsmSlot *head = ksm_store_slot(member->group->store, entry->head);
    guint32 slot = ksm_stable_slot(entry, page);

    if (head->refs == G_MAXUINT32) {
        return KSM_SLOT_NONE;
    }
    head->refs++;
    ksm_member_bind(member, page, slot);
    return slot;
}

void ksm_member_withdraw(KsmMember *member, guint64 first, guint64 count)
{
    guint64 end = first + count, page;

    for (page = ksm_page_table_skip(&member->table, first, end);
         page < end && lists_any(member);
         page = ksm_page_table_skip(&member->table, page + 1, end)) {
        ksm_member_unlist(member, (guint32)page);
    }
}

void ksm_member_release(KsmMember *member, guint64 first, guint64 count)
{
    guint64 end = first + count, page;

    for (page = ksm_page_table_skip(&member->table, first, end);
         page < end && member->bound > 0;
         page = ksm_page_table_skip(&member->table, page + 1, end)) {
        ksm_member_unbind(member, (guint32)page);
    }
}

void ksm_member_clean(KsmMember *member, KsmCleaning what,
                      KsmMemberCleaned cleaned, gpointer opaque)
{
    if (member->cleaning == KSM_CLEANING_NONE) {
        g_queue_push_tail_link(&member->group->cleaning, &member->clean_link);
    }
    ksm_result_ring_clear(&member->results);
    member->results_lost = FALSE;
    member->results_told = FALSE;
    member->cleaning = what;
    member->clean_cursor = 0;
    member->cleaned = cleaned;
    member->opaque = opaque;
    ksm_group_wake(member->group);
}

/* Whether the remaining words need not be walked. */
static gboolean clean_is_done(const KsmMember *member)
{
    return member->clean_cursor >= member->table.pages ||
           (!lists_any(member) &&
            (member->cleaning == KSM_CLEANING_LISTINGS || member->bound == 0));
}

gboolean ksm_member_clean_step(KsmMember *member)
{
    guint64 end = MIN(member->clean_cursor + CLEAN_STEP_WORDS,
                      member->table.pages);
    guint64 stop_bound = member->bound > CLEAN_STEP_UNBINDS ?
                             member->bound - CLEAN_STEP_UNBINDS :
                             0;

    for (;;) {
        guint32 page;

        member->clean_cursor = ksm_page_table_skip(&member->table,
                                                   member->clean_cursor, end);
        if (member->clean_cursor >= end) {
            break;
        }
        page = (guint32)member->clean_cursor++;
        ksm_member_unlist(member, page);
        if (member->cleaning == KSM_CLEANING_ALL) {
            ksm_member_unbind(member, page);
            if (member->bound <= stop_bound && stop_bound > 0) {
                break;
            }
        }
    }
    if (!clean_is_done(member)) {
        return TRUE;
    }
    g_queue_unlink(&member->group->cleaning, &member->clean_link);
    member->cleaning = KSM_CLEANING_NONE;
    member->cleaned(member, member->opaque); /* may free the member */
    return FALSE;
}

guint64 ksm_member_bytes(const KsmMember *member)
{
    return sizeof(KsmMember) + ksm_page_table_bytes(&member->table) +
           member->results.size * sizeof(KsmWaitingResult);
}

gboolean ksm_member_push_result(KsmMember *member,
                                const KsmWaitingResult *result)
{
    if (!ksm_result_ring_push(&member->results, result)) {
        return FALSE;
    }
    if (!member->results_told && member->has_results != NULL) {
        member->results_told = TRUE;
        member->has_results(member, member->has_results_opaque);
    }
    return TRUE;
}
