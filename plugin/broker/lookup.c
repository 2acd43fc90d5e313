/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lookup.c: the requests LOOKUP and HINTS.
 *
 * A look-up costs one search in each tree and a page word.  All of a request
 * are first searched in batches, so that their cache misses overlap; the
 * stable tree does not change meanwhile, so its answers stand.  The unstable
 * tree does change, by the request itself: there the batch only warms the
 * cache, and each item searches again.
 */
#include "group.h"

#include "broker-error.h"

/* What a batch of look-ups shares. */
typedef struct Batch {
    guint64 keys[KSM_BATCH_LOOKUPS];
    guint64 values[KSM_BATCH_LOOKUPS];
    gboolean found[KSM_BATCH_LOOKUPS];
} Batch;

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

/* Brings what the unknown contents will touch into the cache. */
static void warm_unstable(const KsmGroup *group, const Batch *batch,
                          guint count)
{
    guint64 keys[KSM_FP_TREE_LANES], values[KSM_FP_TREE_LANES];
    gboolean found[KSM_FP_TREE_LANES];
    guint i, lanes = 0;

    for (i = 0; i < count; i++) {
        if (!batch->found[i]) {
            keys[lanes++] = batch->keys[i];
        }
        if (lanes == KSM_FP_TREE_LANES || (i + 1 == count && lanes > 0)) {
            ksm_fp_tree_find_batch(group->unstable, keys, lanes, values,
                                   found);
            lanes = 0;
        }
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

static KsmAnswer lookup_unstable(KsmMember *member, guint32 page,
                                 guint64 key, guint32 tag)
{
    KsmMember *other;
    guint32 other_page, word;
    KsmAnswerKind kind;

    if (!ksm_group_find_listing(member->group, key, &other, &other_page) ||
        (other == member && other_page == page)) {
        ksm_group_list(member, page, key, tag);
        return (KsmAnswer) { KSM_ANSWER_LISTED, KSM_SLOT_NONE };
    }
    word = other->table.words[other_page];
    kind = ksm_page_value(word) == tag ? KSM_ANSWER_PUBLISH
                                       : KSM_ANSWER_REFUSED;
    ksm_member_unlist(member, page);
    return (KsmAnswer) { kind, KSM_SLOT_NONE };
}

gboolean ksm_group_lookup(KsmMember *member, const KsmLookup *items,
                          guint count, KsmAnswer *answers, GError **errp)
{
    KsmGroup *group = member->group;
    Batch batch;
    guint i;

    g_assert(count <= KSM_BATCH_LOOKUPS);
    if (!items_check(member, items, count, errp)) {
        return FALSE;
    }
    if (count == 0) {
        return TRUE;
    }
    for (i = 0; i < count; i++) {
        batch.keys[i] = items[i].fingerprint.hi;
    }
    ksm_fp_tree_find_batch(group->stable, batch.keys, count, batch.values,
                           batch.found);
    warm_unstable(group, &batch, count);
    for (i = 0; i < count; i++) {
        guint32 page = items[i].page;
        guint32 tag = ksm_fingerprint_tag(&group->tag_key,
                                          &items[i].fingerprint);

        if (ksm_page_state(member->table.words[page]) == KSM_PAGE_BOUND) {
            g_set_error(errp, KSM_BROKER_ERROR, KSM_ERROR_PROTOCOL,
                        "LOOKUP of page %u, which is bound", page);
            return FALSE;
        }
        answers[i] = batch.found[i]
            ? lookup_stable(member, page, tag, batch.values[i])
            : lookup_unstable(member, page, batch.keys[i], tag);
    }
    return TRUE;
}

/*
 * The slot a hint was about may have been freed since, and the page been
 * withdrawn, or bound by other ways: so only the page's word and the stable
 * tree as they are now count.  Content that has no slot any more leaves the
 * page listed as before.
 */
static guint32 take_hint(KsmMember *member, const KsmWaitingHint *hint)
{
    KsmGroup *group = member->group;
    guint32 word = member->table.words[hint->page];
    KsmStableEntry entry;
    KsmMember *other;
    guint32 page;

    if (word != ksm_page_word(KSM_PAGE_LISTED, hint->tag)) {
        return KSM_SLOT_NONE;
    }
    if (ksm_stable_find(group->stable, hint->key, &entry)) {
        return entry.tag == hint->tag
            ? ksm_group_bind(member, hint->page, &entry) : KSM_SLOT_NONE;
    }
    if (!ksm_group_find_listing(group, hint->key, &other, &page)) {
        ksm_group_list(member, hint->page, hint->key, hint->tag);
    }
    return KSM_SLOT_NONE;
}

guint ksm_group_take_hints(KsmMember *member, KsmHint *hints, guint max)
{
    KsmGroup *group = member->group;
    KsmWaitingHint hint;
    guint looked_at, count = 0;

    for (looked_at = 0; looked_at < 2 * max && count < max; looked_at++) {
        guint32 slot;

        if (!ksm_hint_ring_pop(&member->hints, &hint)) {
            break;
        }
        slot = take_hint(member, &hint);
        if (slot != KSM_SLOT_NONE) {
            hints[count++] = (KsmHint) { hint.page, slot };
        }
    }
    if (member->hints_lost && member->hints.count < KSM_HINT_RING_MAX / 2) {
        member->hints_lost = FALSE;
        group->resend = TRUE;
        ksm_group_wake(group);
    }
    return count;
}
