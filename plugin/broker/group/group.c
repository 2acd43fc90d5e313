/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * group.c: a trust group: its two trees, its store, its members.
 *
 * Single-threaded.  All functions but ksm_group_free() take bounded time.
 */
#include "group/group.h"

#include <sys/random.h>

#include "group/reclaim.h"
#include "group/member.h"
#include "store/store.h"
#include "tree/fp-tree.h"

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
    group->generations = g_array_new(FALSE, TRUE, sizeof(guint8));
    g_queue_init(&group->cleaning);
    group_make_key(&group->tag_key);
    return group;
}

gboolean ksm_group_drop(KsmGroup *group)
{
    g_assert(group->member_count == 0);
    ksm_reclaim_free(group);
    /* Slots that are still allocated would be freed at once, with the file. */
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
    ksm_reclaim_free(group);
    g_clear_pointer(&group->store, ksm_store_free);
    ksm_fp_tree_free(group->unstable);
    ksm_fp_tree_free(group->stable);
    g_ptr_array_unref(group->members);
    g_array_unref(group->generations);
    g_free(group->label);
    g_free(group);
}

gboolean ksm_group_work(KsmGroup *group)
{
    KsmMember *member = g_queue_peek_head(&group->cleaning);
    gboolean adopting = ksm_reclaim_step(group);

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
                    ksm_store_metadata_bytes(group->store) +
                    ksm_reclaim_bytes(group) +
                    group->members->len * (sizeof(gpointer) + 1);
    guint i;

    for (i = 0; i < group->members->len; i++) {
        const KsmMember *member = g_ptr_array_index(group->members, i);

        bytes += member != NULL ? ksm_member_bytes(member) : 0;
    }
    return bytes;
}
