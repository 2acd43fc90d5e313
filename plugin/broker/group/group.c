/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * group.c: a trust group: its two trees, its store, its members.
 *
 * Invariants
 *  - refs of a slot's head = number of words of all members bound to a copy.
 *  - Every content in use that can be found stands in the stable tree under
 *    the fingerprint that was computed from the slot.  (A smaller holder of
 *    content that was replaced by a tile is in use but not found any more.)
 *  - Entries of the unstable tree may be false; whoever reads one asks the
 *    page's word.  So withdrawing, or the end of a client, costs no search.
 *
 * False entries are kept few: the background sweep runs when as many listings
 * ended as a quarter of the tree, and should the background not get a turn,
 * insertions themselves sweep, eight entries for each.
 *
 * One thread.  Every function is bounded, ksm_group_free() apart.
 */
#include "group/group.h"

#include <string.h>
#include <sys/random.h>

#include "group/adoption.h"
#include "group/hint-ring.h"
#include "group/listing.h"
#include "host/log.h"
#include "error.h"

#define SWEEP_STEP 2048u
#define SWEEP_PER_INSERT 8u
#define SWEEP_MIN_UNLISTED 1024u
#define UNSTABLE_SLACK 65536u
#define FLUSH_STEP 2048u
#define DROP_CHUNKS 8u

static void group_make_key(KsmTagKey *key)
{
    if (getrandom(key, sizeof(*key), 0) != sizeof(*key)) {
        g_error("getrandom failed");
    }
    key->hi |= 1;
    key->lo |= 1;
}

KsmGroup *ksm_group_new(const char *label, guint64 slots, guint64 store_id,
                        KsmStoreBudget *budget, GError **errp)
{
    KsmStore *store = ksm_store_new(label, slots, budget, errp);
    KsmGroup *group;

    if (store == NULL) {
        return NULL;
    }
    group = g_new0(KsmGroup, 1);
    group->label = g_strdup(label);
    group->store = store;
    group->store_id = store_id;
    group->stable = ksm_fp_tree_new();
    group->unstable = ksm_fp_tree_new();
    group->clock_us = g_get_monotonic_time;
    group->members = g_ptr_array_new();
    group->turns = g_array_new(FALSE, TRUE, sizeof(guint8));
    g_queue_init(&group->cleaning);
    group_make_key(&group->tag_key);
    return group;
}

gboolean ksm_group_drop(KsmGroup *group)
{
    g_assert(group->member_count == 0);
    ksm_adoption_free(group);
    /* What was not given back by now would go in one turn, with the file. */
    if (group->store != NULL && ksm_store_flush(group->store, FLUSH_STEP)) {
        return TRUE;
    }
    g_clear_pointer(&group->store, ksm_store_free);
    return ksm_fp_tree_drop(group->unstable, DROP_CHUNKS) ||
        ksm_fp_tree_drop(group->stable, DROP_CHUNKS);
}

void ksm_group_free(KsmGroup *group)
{
    g_assert(group->member_count == 0);
    ksm_adoption_free(group);
    g_clear_pointer(&group->store, ksm_store_free);
    ksm_fp_tree_free(group->unstable);
    ksm_fp_tree_free(group->stable);
    g_ptr_array_unref(group->members);
    g_array_unref(group->turns);
    g_free(group->label);
    g_free(group);
}

void ksm_group_tick(KsmGroup *group)
{
    group->now_us = group->clock_us();
}

void ksm_group_wake(KsmGroup *group)
{
    if (group->wake != NULL) {
        group->wake(group, group->opaque);
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

/* The publisher of content that goes may publish that much again. */
static void group_credit_owner(KsmGroup *group, const KsmSlot *slot)
{
    KsmMember *owner = slot->owner != KSM_SLOT_OWNER_NOBODY
        ? g_ptr_array_index(group->members, slot->owner) : NULL;

    if (owner != NULL && owner->turn == slot->owner_turn) {
        owner->published_slots -= MIN(owner->published_slots,
                                      1u << slot->order);
    }
}

/* The content at @head is found no more; FALSE: nor was it before. */
static gboolean group_unfile(KsmGroup *group, guint32 head)
{
    guint64 key = ksm_store_slot(group->store, head)->key;
    KsmStableEntry entry;

    if (!ksm_stable_find(group->stable, key, &entry) || entry.head != head) {
        return FALSE;
    }
    ksm_fp_tree_remove(group->stable, key);
    return TRUE;
}

void ksm_group_retire(KsmGroup *group, guint32 slot)
{
    guint32 head = ksm_store_head(group->store, slot);
    guint32 refs = ksm_store_slot(group->store, head)->refs;

    if (refs > 0 && group_unfile(group, head)) {
        group->retired++;
        ksm_log(KSM_LOG_WARNING, "group %s: the memory of slot %u has failed: "
                "%u pages that share it get the fault, no others will",
                group->label, slot, refs);
    }
}

void ksm_group_unref_slot(KsmGroup *group, guint32 slot)
{
    guint32 head = ksm_store_head(group->store, slot);
    KsmSlot *info = ksm_store_slot(group->store, head);

    g_assert(info->refs > 0);
    if (--info->refs > 0) {
        return;
    }
    group_unfile(group, head);
    group_credit_owner(group, info);
    ksm_store_release(group->store, head);
    ksm_group_wake(group);
}

static gboolean sweep_is_due(const KsmGroup *group)
{
    return group->resend ||
        group->unlisted > SWEEP_MIN_UNLISTED +
        ksm_fp_tree_count(group->unstable) / 4;
}

void ksm_group_note_unlisted(KsmGroup *group)
{
    group->unlisted++;
    if (!group->sweeping && sweep_is_due(group)) {
        ksm_group_wake(group);
    }
}

/* An entry that is true and has no stable counterpart stays. */
static gboolean sweep_keep(guint64 key, guint64 value, gpointer opaque)
{
    KsmGroup *group = opaque;
    KsmListed listed = ksm_listing_of(group, value);
    KsmStableEntry entry;
    KsmWaitingHint hint;

    if (listed.kind != KSM_LISTED_PAGE) {
        return listed.kind == KSM_LISTED_PUBLISHER;
    }
    if (!group->resending || !ksm_stable_find(group->stable, key, &entry) ||
        !ksm_listed_has_tag(&listed, entry.tag)) {
        return TRUE;
    }
    hint = (KsmWaitingHint) { key, listed.page, entry.tag };
    if (!ksm_hint_ring_push(&listed.member->hints, &hint)) {
        listed.member->hints_lost = TRUE;
        return TRUE;
    }
    return FALSE;
}

gboolean ksm_group_sweep(KsmGroup *group)
{
    if (!group->sweeping) {
        if (!sweep_is_due(group)) {
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
    return group->sweeping || sweep_is_due(group);
}

void ksm_group_note_inserted(KsmGroup *group)
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

gboolean ksm_group_work(KsmGroup *group)
{
    KsmMember *member = g_queue_peek_head(&group->cleaning);
    gboolean adopting = ksm_adoption_step(group);

    if (member != NULL) {
        ksm_member_clean_step(member);
    }
    return ksm_store_flush(group->store, FLUSH_STEP) || adopting ||
        !g_queue_is_empty(&group->cleaning);
}

guint64 ksm_group_bytes(const KsmGroup *group)
{
    guint64 bytes = sizeof(KsmGroup) + ksm_fp_tree_bytes(group->stable) +
        ksm_fp_tree_bytes(group->unstable) +
        ksm_store_metadata_bytes(group->store) + ksm_adoption_bytes(group) +
        group->members->len * (sizeof(gpointer) + 1);
    guint i;

    for (i = 0; i < group->members->len; i++) {
        const KsmMember *member = g_ptr_array_index(group->members, i);

        bytes += member != NULL ? ksm_member_bytes(member) : 0;
    }
    return bytes;
}
