/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * publish.c: the request PUBLISH.
 *
 * The content lies in memory that the client may change at any moment.  So it
 * is copied into the slot first, and everything that is decided, is decided
 * by the slot: whether it is zero, its fingerprint, whether it equals what
 * is known by that fingerprint.  What the client said about the content in
 * a look-up before plays no part.
 *
 * A request takes slots for all of its items in one go, as far as possible in
 * a row.  An item whose content is known already, or is refused, leaves its
 * slots to the next one.
 */
#include "group.h"

#include <string.h>

#include "broker-error.h"
#include "fingerprint.h"
#include "unstable-tree.h"

#define PAGE_BYTES 4096u
/* What a member may have published beyond one slot for each of its pages. */
#define PUBLISH_SLACK (64u << KSM_MAX_TILE_ORDER)

typedef struct Publisher {
    KsmMember *member;
    KsmGroup *group;
    KsmStoreExtent extent;
    guint32 to_come;            /* slots for this item and all after it */
} Publisher;

static gboolean items_check(const KsmMember *member, const KsmPublish *items,
                            guint count, guint32 *slots, GError **errp)
{
    guint i;

    *slots = 0;
    for (i = 0; i < count; i++) {
        if (items[i].page >= member->table.pages) {
            g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_PROTOCOL,
                        "PUBLISH of page %u of %" G_GUINT64_FORMAT,
                        items[i].page, member->table.pages);
            return FALSE;
        }
        if (items[i].tile_order > KSM_MAX_TILE_ORDER) {
            g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_PROTOCOL,
                        "PUBLISH of a tile of order %u", items[i].tile_order);
            return FALSE;
        }
        *slots += 1u << items[i].tile_order;
    }
    return TRUE;
}

/* Slots for one item; FALSE at a limit. */
static gboolean take_slots(Publisher *self, guint32 copies)
{
    KsmMember *member = self->member;

    if (member->published_slots + copies >
        member->table.pages + PUBLISH_SLACK) {
        return FALSE;
    }
    if (self->extent.end - self->extent.next >= copies) {
        return TRUE;
    }
    ksm_store_unreserve(self->group->store, &self->extent);
    return ksm_store_reserve(self->group->store, copies, self->to_come,
                             &self->extent);
}

/* Whoever listed this content hears of the slot, if it can be noted down. */
static void tell_lister(Publisher *self, guint32 page, guint64 key,
                        guint32 tag)
{
    KsmGroup *group = self->group;
    KsmWaitingHint hint = { key, 0, tag };
    KsmMember *other;
    guint32 word;

    if (!ksm_group_find_listing(group, key, &other, &hint.page)) {
        return;
    }
    word = other->table.words[hint.page];
    if (ksm_page_value(word) != tag) {
        return;
    }
    if ((other != self->member || hint.page != page) &&
        !ksm_hint_ring_push(&other->hints, &hint)) {
        other->hints_lost = TRUE;
        return;
    }
    ksm_fp_tree_remove(group->unstable, key);
}

/* Makes the content in the slot findable, with its copies. */
static void file_content(Publisher *self, guint64 key,
                         const KsmStableEntry *entry)
{
    KsmStore *store = self->group->store;
    KsmMember *member = self->member;
    guint8 *page = ksm_store_page(store, entry->head);
    guint32 copies = 1u << entry->order;
    KsmSlot slot = {
        .key = key, .refs = 0, .owner = member->id, .order = entry->order,
        .owner_turn = member->turn,
    };
    guint32 i;

    for (i = 1; i < copies; i++) {
        memcpy(page + (gsize)i * PAGE_BYTES, page, PAGE_BYTES);
    }
    ksm_store_fill(store, entry->head, &slot);
    self->extent.next += copies;
    member->published_slots += copies;
    ksm_fp_tree_insert(self->group->stable, key, ksm_stable_pack(entry));
}

static guint32 publish_item(Publisher *self, const KsmPublish *item,
                            const guint8 *content)
{
    KsmGroup *group = self->group;
    guint32 head = self->extent.next;
    guint8 *page = ksm_store_page(group->store, head);
    KsmStableEntry entry;
    KsmFingerprint fingerprint;
    guint32 tag;

    memcpy(page, content, PAGE_BYTES);
    self->extent.dirty = MAX(self->extent.dirty, head + 1);
    if (ksm_fingerprint_is_zero(page)) {
        return KSM_SLOT_NONE;
    }
    fingerprint = ksm_fingerprint_page(page);
    tag = ksm_fingerprint_tag(&group->tag_key, &fingerprint);
    if (ksm_stable_find(group->stable, fingerprint.hi, &entry)) {
        if (memcmp(ksm_store_page(group->store, entry.head), page,
                   PAGE_BYTES) != 0) {
            return KSM_SLOT_NONE;
        }
        if (entry.order >= item->tile_order) {
            return ksm_group_bind(self->member, item->page, &entry);
        }
        /* wider than what is known: takes its place in the tree */
    }
    entry = (KsmStableEntry) { head, tag, (guint8)item->tile_order };
    file_content(self, fingerprint.hi, &entry);
    tell_lister(self, item->page, fingerprint.hi, tag);
    return ksm_group_bind(self->member, item->page, &entry);
}

gboolean ksm_group_publish(KsmMember *member, const KsmPublish *items,
                           guint count, const guint8 *contents,
                           KsmAnswer *answers, GError **errp)
{
    Publisher self = { .member = member, .group = member->group };
    gboolean ok = items_check(member, items, count, &self.to_come, errp);
    guint i;

    for (i = 0; ok && i < count; i++) {
        guint32 copies = 1u << items[i].tile_order;
        guint32 word = member->table.words[items[i].page];
        guint32 slot = KSM_SLOT_NONE;

        if (ksm_page_state(word) == KSM_PAGE_BOUND) {
            g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_PROTOCOL,
                        "PUBLISH of page %u, which is bound", items[i].page);
            ok = FALSE;
            break;
        }
        if (take_slots(&self, copies)) {
            slot = publish_item(&self, &items[i],
                                contents + (gsize)i * PAGE_BYTES);
        }
        if (slot == KSM_SLOT_NONE) {
            ksm_member_unlist(member, items[i].page);
        }
        answers[i].slot = slot;
        answers[i].kind = slot == KSM_SLOT_NONE ? KSM_ANSWER_REFUSED
                                                : KSM_ANSWER_SLOT;
        self.to_come -= copies;
    }
    ksm_store_unreserve(member->group->store, &self.extent);
    if (ksm_store_has_freed(member->group->store)) {
        ksm_group_wake(member->group);
    }
    return ok;
}
