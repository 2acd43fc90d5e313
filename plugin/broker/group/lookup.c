/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lookup.c: the request LOOKUP.
 *
 * A lookup costs one search in each tree and two page words: its own, and that
 * of the page listed under the same fingerprint.  In a broker with much memory
 * all of them are cache misses, so items are processed in small groups whose
 * misses overlap.  Within a group the items are still carried out in order, and
 * each sees what the previous ones changed: its places in the trees are
 * searched again if the trees were rearranged.
 */
#include "group/lookup.h"

#include "group/content.h"
#include "group/listing.h"
#include "group/member.h"
#include "group/page-table.h"
#include "group/stable-tree.h"
#include "tree/fp-seek.h"
#include "tree/fp-tree.h"
#include "error.h"

/* One item of a group of items that are looked up together. */
typedef struct Lane {
    KsmFpPlace place; /* in the unstable tree, unless known */
    guint64 key;
    guint64 value; /* of the stable tree */
    gboolean known;
} Lane;

static gboolean items_check(const KsmMember *member, const KsmLookup *items,
                            guint count, GError **errp)
{
    guint i;

    for (i = 0; i < count; i++) {
        if (items[i].page >= member->table.pages) {
            g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                        "LOOKUP of page %u of %" G_GUINT64_FORMAT,
                        items[i].page, member->table.pages);
            return FALSE;
        }
        if (items[i].reserved != 0) {
            g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                        "LOOKUP with reserved bits set");
            return FALSE;
        }
    }
    return TRUE;
}

/* Finds which of the contents are in the stable tree, and where. */
static void seek_stable(const KsmGroup *group, Lane *lanes, guint count)
{
    KsmFpPlace places[KSM_FP_TREE_LANES];
    guint64 keys[KSM_FP_TREE_LANES];
    guint i;

    for (i = 0; i < count; i++) {
        keys[i] = lanes[i].key;
    }
    ksm_fp_tree_seek(group->stable, keys, count, places);
    for (i = 0; i < count; i++) {
        lanes[i].known = ksm_fp_tree_find_at(group->stable, &places[i], keys[i],
                                             &lanes[i].value);
    }
}

/* Finds the places of unknown contents, and prefetches their page words. */
static void seek_unstable(const KsmGroup *group, Lane *lanes, guint count)
{
    KsmFpPlace places[KSM_FP_TREE_LANES];
    guint64 keys[KSM_FP_TREE_LANES];
    Lane *unknown[KSM_FP_TREE_LANES];
    guint i, n = 0;

    for (i = 0; i < count; i++) {
        if (!lanes[i].known) {
            unknown[n] = &lanes[i];
            keys[n++] = lanes[i].key;
        }
    }
    ksm_fp_tree_seek(group->unstable, keys, n, places);
    for (i = 0; i < n; i++) {
        guint64 value;

        if (ksm_fp_tree_find_at(group->unstable, &places[i], keys[i], &value)) {
            ksm_listing_prefetch(group, value);
        }
        unknown[i]->place = places[i];
    }
}

static KsmAnswer lookup_stable(KsmMember *member, guint32 page, guint32 tag,
                               guint64 value)
{
    KsmStableEntry entry = ksm_stable_unpack(value);
    guint32 slot = KSM_SLOT_NONE;

    if (entry.tag == tag) {
        slot = ksm_group_bind(member, page, &entry);
    }
    if (slot == KSM_SLOT_NONE) {
        ksm_member_unlist(member, page);
        return (KsmAnswer) { KSM_ANSWER_REFUSED, KSM_SLOT_NONE };
    }
    return (KsmAnswer) { KSM_ANSWER_SLOT, slot };
}

static KsmAnswer lookup_unstable(KsmMember *member, guint32 page, Lane *lane,
                                 guint32 tag)
{
    KsmListed listed = ksm_listing_find(member->group, lane->key, &lane->place);
    KsmAnswer answer = { KSM_ANSWER_LISTED, KSM_SLOT_NONE };
    gboolean own = listed.member == member && listed.page == page;

    if (listed.kind == KSM_LISTED_NONE ||
        (own && listed.kind == KSM_LISTED_PAGE)) {
        if (!ksm_listing_add(member, page, lane->key, &lane->place, tag)) {
            answer.kind = KSM_ANSWER_REFUSED;
        }
    } else {
        answer.kind = ksm_listing_match(member, page, lane->key, &lane->place,
                                        tag, &listed);
    }
    return answer;
}

/* Looks up the items of one group, at most KSM_FP_TREE_LANES. */
static gboolean look_up_group(KsmMember *member, const KsmLookup *items,
                              guint count, KsmAnswer *answers, GError **errp)
{
    KsmGroup *group = member->group;
    Lane lanes[KSM_FP_TREE_LANES];
    guint i;

    for (i = 0; i < count; i++) {
        lanes[i].key = items[i].fingerprint.hi;
        __builtin_prefetch(member->table.words + items[i].page, 1);
    }
    seek_stable(group, lanes, count);
    seek_unstable(group, lanes, count);
    for (i = 0; i < count; i++) {
        guint32 page = items[i].page;
        guint32 tag = ksm_fingerprint_tag(&group->tag_key,
                                          &items[i].fingerprint);

        if (!ksm_page_table_touch(&member->table, page)) {
            answers[i] = (KsmAnswer) { KSM_ANSWER_REFUSED, KSM_SLOT_NONE };
            continue;
        }
        if (ksm_page_link(member->table.words[page]) == KSM_PAGE_LINK_BOUND) {
            g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                        "LOOKUP of page %u, which is bound", page);
            return FALSE;
        }
        answers[i] = lanes[i].known ?
                         lookup_stable(member, page, tag, lanes[i].value) :
                         lookup_unstable(member, page, &lanes[i], tag);
    }
    return TRUE;
}

gboolean ksm_group_lookup(KsmMember *member, const KsmLookup *items,
                          guint count, KsmAnswer *answers, GError **errp)
{
    guint done;

    if (!items_check(member, items, count, errp)) {
        return FALSE;
    }
    ksm_group_tick(member->group);
    for (done = 0; done < count; done += KSM_FP_TREE_LANES) {
        if (!look_up_group(member, items + done,
                           MIN(count - done, KSM_FP_TREE_LANES), answers + done,
                           errp)) {
            return FALSE;
        }
    }
    return TRUE;
}
