/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * publish.c: the request PUBLISH.
 *
 * The content lies in memory that the client may change at any moment.  So it
 * is copied first (staging.h), and every decision is based on that copy:
 * whether it is zero, its fingerprint, and whether it equals the page known
 * under that fingerprint.  What the client reported in an earlier LOOKUP does
 * not matter.
 *
 * Zeros come from clients whose kernel cannot map the zero page for them; other
 * clients free them as holes.  They are only accepted as the largest tile,
 * because guests have long runs of them.  The first zeros are recorded in the
 * roster before they are published: if this broker exits, the next one cannot
 * distinguish them from a zero page that a client created by reading a hole,
 * and must not share such a page.
 *
 * A request takes slots for all of its items at once, contiguous if possible.
 * An item whose content is already known, or is refused, leaves its slots to
 * the next item.
 *
 * Contents are entered in the tree and bound to pages before they are written
 * to their slots, many at a time.  No client learns of them before that: the
 * replies to this request and to all others are sent later.  Contents that
 * could not be written are then removed, like any that lose their last
 * reference; all pages bound to them belong to this request.
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

/* Slots that a member may publish beyond one slot for each of its pages. */
#define PUBLISH_SLACK (64u << KSM_MAX_TILE_ORDER)

typedef struct Publisher {
    KsmMember *member;
    KsmGroup *group;
    const KsmPublish *items;
    KsmAnswer *answers; /* of the items before this one */
    guint at;           /* the current item */
    guint32 to_come;    /* slots for this item and all after it */
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
    answer->kind = slot == KSM_SLOT_NONE ? KSM_ANSWER_REFUSED : KSM_ANSWER_SLOT;
}

/* Writes the staged contents; removes those that found no memory. */
static void write_staged(Publisher *self)
{
    KsmStore *store = self->group->store;
    guint32 first, wanted;
    guint32 written = ksm_staging_write(&self->staging, store, &first, &wanted);
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

/* Takes slots for this item; FALSE at a limit. */
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
 * Enters the content staged last, in the slots at entry->head, into the stable
 * tree; @place is the place of @key there.
 */
static void file_content(Publisher *self, guint64 key, KsmFpPlace *place,
                         const KsmStableEntry *entry)
{
    KsmMember *member = self->member;
    guint32 copies = 1u << entry->order;
    KsmSlot slot = {
        .key = key,
        .refs = 0,
        .owner = member->id,
        .order = entry->order,
        .owner_generation = member->generation,
    };

    ksm_staging_add(&self->staging, entry->head, entry->order);
    ksm_store_fill(self->group->store, entry->head, &slot);
    self->extent.next += copies;
    member->published_slots += copies;
    ksm_fp_tree_insert_at(self->group->stable, place, key,
                          ksm_stable_pack(entry));
}

/* Whether the slot known by this fingerprint can be read and is the same. */
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
        /* a larger tile than the known one: replaces it in the tree */
    }
    entry = (KsmStableEntry) {
        self->extent.next,
        tag,
        (guint8)item->tile_order,
    };
    if (zero) {
        ksm_roster_note_zeros(ksm_store_roster(group->store));
    }
    file_content(self, fingerprint.hi, &place, &entry);
    ksm_listing_published(self->member, item->page, fingerprint.hi, tag);
    return ksm_group_bind(self->member, item->page, &entry);
}

/* Publishes all items; FALSE if one is invalid. */
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
    Publisher self; /* not cleared: staging is large */
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
