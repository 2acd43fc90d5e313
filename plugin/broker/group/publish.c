/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * publish.c: the request PUBLISH.
 *
 * The content lies in memory that the client may change at any moment.  So it
 * is copied first (staging.h), and everything that is decided, is decided by
 * that copy: whether it is zero, its fingerprint, whether it equals what is
 * known by that fingerprint.  What the client said about the content in a
 * look-up before plays no part.
 *
 * Zeros come from clients whose kernel has no zero page of its own; others make
 * holes of them.  They are taken as the largest tile only, as guests have long
 * stretches of them.  That there are any is written to the roster first: should
 * this broker end, the next one cannot tell them from memory that somebody made
 * by reading a hole, and must not give that to others.
 *
 * A request takes slots for all of its items in one go, as far as possible in
 * a row.  An item whose content is known already, or is refused, leaves its
 * slots to the next one.
 *
 * Contents are filed in the tree and bound to pages before they are written,
 * many at a time, into their slots; but nobody is told of them before that:
 * the replies to this request and to all others come later.  Contents that
 * could not be written are taken back then, like any that lose their last
 * reference; all pages bound to them are pages of this very request.
 */
#include "group/publish.h"

#include "group/content.h"
#include "group/listing.h"
#include "group/member.h"
#include "group/page-table.h"
#include "group/stable-tree.h"
#include "group/staging.h"
#include "store/roster.h"
#include "store/store.h"
#include "tree/fp-seek.h"
#include "tree/fp-tree.h"
#include "error.h"
#include "fingerprint.h"
#include "page-scan.h"

/* What a member may have published beyond one slot for each of its pages. */
#define PUBLISH_SLACK (64u << KSM_MAX_TILE_ORDER)

typedef struct Publisher {
    KsmMember *member;
    KsmGroup *group;
    const KsmPublish *items;
    KsmAnswer *answers;         /* of the items before this one */
    guint at;                   /* this one */
    guint32 to_come;            /* slots for this item and all after it */
    KsmStoreExtent extent;
    KsmStaging staging;
} Publisher;

static gboolean items_check(const KsmMember *member, const KsmPublish *items,
                            guint count, guint32 *slots, GError **errp)
{
    guint i;

    *slots = 0;
    for (i = 0; i < count; i++) {
        if (items[i].page >= member->table.pages) {
            g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                        "PUBLISH of page %u of %" G_GUINT64_FORMAT,
                        items[i].page, member->table.pages);
            return FALSE;
        }
        if (items[i].tile_order > KSM_MAX_TILE_ORDER) {
            g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                        "PUBLISH of a tile of order %u", items[i].tile_order);
            return FALSE;
        }
        *slots += 1u << items[i].tile_order;
    }
    return TRUE;
}

static void answer(KsmAnswer *answer, guint32 slot)
{
    answer->slot = slot;
    answer->kind = slot == KSM_SLOT_NONE ? KSM_ANSWER_REFUSED
                                         : KSM_ANSWER_SLOT;
}

/* Writes what waits; takes back what the host had no memory for. */
static void write_staged(Publisher *self)
{
    KsmStore *store = self->group->store;
    guint32 first, wanted;
    guint32 written = ksm_staging_write(&self->staging, store, &first,
                                        &wanted);
    guint i;

    for (i = 0; written < wanted && i < self->at; i++) {
        guint32 slot = self->answers[i].slot, head;

        if (slot < first || slot - first >= wanted) {
            continue;
        }
        head = ksm_store_head(store, slot);
        if (head + (1u << ksm_store_slot(store, head)->order) >
            first + written) {
            ksm_member_unbind(self->member, self->items[i].page);
            answer(&self->answers[i], KSM_SLOT_NONE);
        }
    }
}

/* Slots for this item; FALSE at a limit. */
static gboolean take_slots(Publisher *self)
{
    KsmMember *member = self->member;
    guint8 order = (guint8)self->items[self->at].tile_order;
    guint32 copies = 1u << order;

    if (member->published_slots + copies >
            member->table.pages + PUBLISH_SLACK ||
        !ksm_fp_tree_has_room(self->group->stable)) {
        return FALSE;
    }
    if (self->extent.end - self->extent.next < copies) {
        ksm_store_unreserve(self->group->store, &self->extent);
        if (!ksm_store_reserve(self->group->store, copies, self->to_come,
                               &self->extent)) {
            return FALSE;
        }
    }
    if (!ksm_staging_has_room(&self->staging, self->extent.next, order)) {
        write_staged(self);
    }
    return TRUE;
}

/*
 * Makes the content staged last findable, in the slots at entry->head; @place
 * is its key's in the stable tree.
 */
static void file_content(Publisher *self, guint64 key, KsmFpPlace *place,
                         const KsmStableEntry *entry)
{
    KsmMember *member = self->member;
    guint32 copies = 1u << entry->order;
    KsmSlot slot = {
        .key = key, .refs = 0, .owner = member->id, .order = entry->order,
        .owner_generation = member->generation,
    };

    ksm_staging_add(&self->staging, entry->head, entry->order);
    ksm_store_fill(self->group->store, entry->head, &slot);
    self->extent.next += copies;
    member->published_slots += copies;
    ksm_fp_tree_insert_at(self->group->stable, place, key,
                          ksm_stable_pack(entry));
}

/* Whether what stands under a fingerprint is this content, if it can be read. */
static gboolean is_known(const Publisher *self, const KsmStableEntry *entry,
                         const guint8 *page, gboolean *failed)
{
    const guint8 *known = ksm_staging_find(&self->staging, entry->head);

    if (known == NULL) {
        known = ksm_store_page(self->group->store, entry->head);
    }
    return ksm_read_equal(known, page, 1, failed) == 1;
}

static guint32 publish_item(Publisher *self, const guint8 *content)
{
    const KsmPublish *item = &self->items[self->at];
    KsmGroup *group = self->group;
    guint8 *page = ksm_staging_next(&self->staging);
    KsmStableEntry entry;
    KsmFingerprint fingerprint;
    KsmFpPlace place;
    gboolean known, failed, zero;
    guint64 value;
    guint32 tag;

    if (!ksm_read_copy(page, content, KSM_STORE_PAGE_BYTES)) {
        return KSM_SLOT_NONE;
    }
    zero = ksm_fingerprint_is_zero(page);
    if (zero && item->tile_order != KSM_MAX_TILE_ORDER) {
        return KSM_SLOT_NONE;
    }
    fingerprint = ksm_fingerprint_page(page);
    tag = ksm_fingerprint_tag(&group->tag_key, &fingerprint);
    ksm_fp_tree_seek(group->stable, &fingerprint.hi, 1, &place);
    if (ksm_fp_tree_find_at(group->stable, &place, fingerprint.hi, &value)) {
        entry = ksm_stable_unpack(value);
        known = is_known(self, &entry, page, &failed);
        if (!known && !failed) {
            return KSM_SLOT_NONE;
        }
        if (failed) {
            ksm_group_retire(group, entry.head);
            ksm_fp_tree_seek(group->stable, &fingerprint.hi, 1, &place);
        } else if (entry.order >= item->tile_order) {
            return ksm_group_bind(self->member, item->page, &entry);
        }
        /* wider than what is known: takes its place in the tree */
    }
    entry = (KsmStableEntry) {
        self->extent.next, tag, (guint8)item->tile_order,
    };
    if (zero) {
        ksm_roster_note_zeros(ksm_store_roster(group->store));
    }
    file_content(self, fingerprint.hi, &place, &entry);
    ksm_listing_published(self->member, item->page, fingerprint.hi, tag);
    return ksm_group_bind(self->member, item->page, &entry);
}

/* All items; FALSE when one is not allowed. */
static gboolean publish_items(Publisher *self, guint count,
                              const guint8 *contents, GError **errp)
{
    KsmMember *member = self->member;

    for (self->at = 0; self->at < count; self->at++) {
        const KsmPublish *item = &self->items[self->at];
        guint32 slot = KSM_SLOT_NONE;

        if (!ksm_page_table_touch(&member->table, item->page)) {
            answer(&self->answers[self->at], KSM_SLOT_NONE);
            self->to_come -= 1u << item->tile_order;
            continue;
        }
        if (ksm_page_link(member->table.words[item->page]) ==
            KSM_PAGE_LINK_BOUND) {
            g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                        "PUBLISH of page %u, which is bound", item->page);
            return FALSE;
        }
        if (take_slots(self)) {
            slot = publish_item(self, contents + (gsize)self->at *
                                KSM_STORE_PAGE_BYTES);
        }
        if (slot == KSM_SLOT_NONE) {
            ksm_member_unlist(member, item->page);
        }
        answer(&self->answers[self->at], slot);
        self->to_come -= 1u << item->tile_order;
    }
    return TRUE;
}

gboolean ksm_group_publish(KsmMember *member, const KsmPublish *items,
                           guint count, const guint8 *contents,
                           KsmAnswer *answers, GError **errp)
{
    KsmGroup *group = member->group;
    Publisher self;             /* not cleared: staging is large */
    gboolean ok;

    self.member = member;
    self.group = group;
    self.items = items;
    self.answers = answers;
    self.extent = (KsmStoreExtent) { 0, 0 };
    self.staging.contents = 0;
    self.staging.slots = 0;
    if (!items_check(member, items, count, &self.to_come, errp)) {
        return FALSE;
    }
    ksm_group_tick(group);
    ok = publish_items(&self, count, contents, errp);
    write_staged(&self);
    ksm_store_unreserve(group->store, &self.extent);
    return ok;
}
