/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * content.c: pages in the store, and whether they can be found.
 *
 * Invariants
 *  - refs of a slot's head = number of words of all members bound to a copy.
 *  - Every content in use that can be found is in the stable tree under the
 *    fingerprint that was computed from the slot.  (A smaller tile that was
 *    replaced by a larger one is in use but can no longer be found.)
 *  - Entries of the unstable tree may be stale; every reader checks the page's
 *    word.  So withdrawing pages, or the exit of a client, costs no search.
 */
#include "group/content.h"

#include "group/stable-tree.h"
#include "host/log.h"
#include "store/store.h"
#include "tree/fp-tree.h"

#define SWEEP_MIN_UNLISTED 1024u

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

/* Content was freed: its publisher may publish that much again. */
static void return_publish_quota(KsmGroup *group, const KsmSlot *slot)
{
    KsmMember *owner = slot->owner != KSM_SLOT_OWNER_NOBODY ?
                           g_ptr_array_index(group->members, slot->owner) :
                           NULL;

    if (owner != NULL && owner->generation == slot->owner_generation) {
        owner->published_slots -= MIN(owner->published_slots,
                                      1u << slot->order);
    }
}

/* Removes the content at @head from the tree; FALSE: it was not there. */
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
        ksm_log(KSM_LOG_WARNING,
                "group %s: the memory of slot %u has failed: "
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
    return_publish_quota(group, info);
    ksm_store_release(group->store, head);
    ksm_group_wake(group);
}

gboolean ksm_group_sweep_is_due(const KsmGroup *group)
{
    return group->resend ||
           group->unlisted >
               SWEEP_MIN_UNLISTED + ksm_fp_tree_count(group->unstable) / 4;
}

void ksm_group_note_unlisted(KsmGroup *group)
{
    group->unlisted++;
    if (!group->sweeping && ksm_group_sweep_is_due(group)) {
        ksm_group_wake(group);
    }
}
