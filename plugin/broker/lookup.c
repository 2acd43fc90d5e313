/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lookup.c: the requests LOOKUP and HINTS.
 *
 * A look-up costs one search in each tree and two page words: its own, and
 * that of the page listed under the same fingerprint.  All are cache misses
 * in a broker of some size, so a request is dealt with in groups of a few
 * items whose misses overlap.  An item is then carried out after the ones
 * before it, and sees what they changed: its places in the trees are found
 * again when those have changed shape.
 */
#include "group.h"

#include "broker-error.h"

/* An item of a group that is looked up together. */
typedef struct Lane {
    KsmFpPlace place;           /* in the unstable tree, unless known */
    guint64 key;
    guint64 value;              /* of the stable tree */
    gboolean known;
} Lane;

static gboolean items_check(const KsmMember *member, const KsmLookup *items,
                            guint count, GError **errp)
{
    guint i;

    for (i = 0; i < count; i++) {
        if (items[i].page >= member->table.pages) {
            g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_PROTOCOL,
                        "LOOKUP of page %u of %" G_GUINT64_FORMAT,
                        items[i].page, member->table.pages);
            return FALSE;
        }
        if (items[i].reserved != 0) {
            g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_PROTOCOL,
                        "LOOKUP with reserved bits set");
            return FALSE;
        }
    }
    return TRUE;
}

/* Which of the contents are known, and where they are. */
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
        lanes[i].known = ksm_fp_tree_find_at(group->stable, &places[i],
                                             keys[i], &lanes[i].value);
    }
}

/* Finds the places of the unknown ones, and fetches what they refer to. */
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

        if (ksm_fp_tree_find_at(group->unstable, &places[i], keys[i],
                                &value)) {
            ksm_group_prefetch_listing(group, value);
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
    KsmMember *other;
    guint32 other_page, word;
    KsmAnswerKind kind;

    if (!ksm_group_find_listing(member->group, lane->key, &lane->place,
                                &other, &other_page) ||
        (other == member && other_page == page)) {
        ksm_group_list(member, page, lane->key, &lane->place, tag);
        return (KsmAnswer) { KSM_ANSWER_LISTED, KSM_SLOT_NONE };
    }
    word = other->table.words[other_page];
    kind = ksm_page_value(word) == tag ? KSM_ANSWER_PUBLISH
                                       : KSM_ANSWER_REFUSED;
    ksm_member_unlist(member, page);
    return (KsmAnswer) { kind, KSM_SLOT_NONE };
}

/* Items of one group, at most KSM_FP_TREE_LANES. */
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

        if (ksm_page_state(member->table.words[page]) == KSM_PAGE_BOUND) {
            g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_PROTOCOL,
                        "LOOKUP of page %u, which is bound", page);
            return FALSE;
        }
        answers[i] = lanes[i].known
            ? lookup_stable(member, page, tag, lanes[i].value)
            : lookup_unstable(member, page, &lanes[i], tag);
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
    for (done = 0; done < count; done += KSM_FP_TREE_LANES) {
        if (!look_up_group(member, items + done,
                           MIN(count - done, KSM_FP_TREE_LANES),
                           answers + done, errp)) {
            return FALSE;
        }
    }
    return TRUE;
}

/*
 * The slot a hint was about may have been freed since, and the page been
 * withdrawn, or bound by other ways: so only the page's word and the stable
 * tree as they are now count.  Content that has no slot any more leaves the
 * page listed as before; but if another page has been listed for it meanwhile,
 * that one would hear of the next slot, and this one never: it is to be looked
 * up again, which makes the two meet.  TRUE when there is something to tell.
 */
static gboolean take_hint(KsmMember *member, const KsmWaitingHint *hint,
                          KsmHint *told)
{
    KsmGroup *group = member->group;
    guint32 word = member->table.words[hint->page];
    KsmStableEntry entry;
    KsmFpPlace place;
    KsmMember *other;
    guint32 page;

    *told = (KsmHint) { hint->page, KSM_SLOT_NONE };
    if (word != ksm_page_word(KSM_PAGE_LISTED, hint->tag)) {
        return FALSE;
    }
    if (ksm_stable_find(group->stable, hint->key, &entry)) {
        if (entry.tag == hint->tag) {
            told->slot = ksm_group_bind(member, hint->page, &entry);
        }
        return told->slot != KSM_SLOT_NONE;
    }
    ksm_fp_tree_seek(group->unstable, &hint->key, 1, &place);
    if (!ksm_group_find_listing(group, hint->key, &place, &other, &page)) {
        ksm_group_list(member, hint->page, hint->key, &place, hint->tag);
        return FALSE;
    }
    ksm_member_unlist(member, hint->page);
    return TRUE;
}

guint ksm_group_take_hints(KsmMember *member, KsmHint *hints, guint max)
{
    KsmGroup *group = member->group;
    KsmWaitingHint hint;
    guint looked_at, count = 0;

    for (looked_at = 0; looked_at < 2 * max && count < max; looked_at++) {
        if (!ksm_hint_ring_pop(&member->hints, &hint)) {
            break;
        }
        if (take_hint(member, &hint, &hints[count])) {
            count++;
        }
    }
    if (member->hints_lost && member->hints.count < KSM_HINT_RING_MAX / 2) {
        member->hints_lost = FALSE;
        group->resend = TRUE;
        ksm_group_wake(group);
    }
    return count;
}
