/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shards.c: the groups of a broker, and their scheduling.
 *
 * The main loop has three kinds of sources.  Sockets and pidfds have the same
 * priority as the urgent work of groups (cleaning up after clients that exited,
 * freeing slots), which does one bounded step of one group in an iteration.
 * Sweeps of unstable trees have a lower priority, and run when there is nothing
 * else to do.
 */
#include "clients/shards.h"

#include "clients/history.h"
#include "clients/user.h"
#include "group/group.h"
#include "group/listing.h"
#include "store/store.h"

#define STORE_SPACE_FACTOR 4 /* address space for each slot allowed */

static void shard_free(KsmShard *shard)
{
    ksm_history_clear(&shard->history);
    ksm_group_free(shard->group);
    ksm_user_unref(shard->user);
    g_free(shard->key);
    g_free(shard->family);
    g_free(shard);
}

/* One step of freeing a group without members; TRUE while there is more. */
static gboolean shard_drop_step(KsmShard *shard)
{
    if (ksm_group_drop(shard->group)) {
        return TRUE;
    }
    shard_free(shard);
    return FALSE;
}

static gboolean broker_on_work(gpointer data)
{
    KsmBroker *broker = data;
    GList *link = g_queue_pop_head_link(&broker->work);
    KsmShard *shard;
    gboolean more;

    if (link == NULL) {
        g_source_unref(broker->work_source);
        broker->work_source = NULL;
        return G_SOURCE_REMOVE;
    }
    shard = link->data;
    shard->in_work = FALSE;
    if (shard->dying) {
        more = shard_drop_step(shard);
    } else {
        more = ksm_group_work(shard->group);
        if (!more) {
            ksm_broker_check_group(broker, shard->group);
        }
    }
    if (more && !shard->in_work) {
        shard->in_work = TRUE;
        g_queue_push_tail_link(&broker->work, link);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean broker_on_sweep(gpointer data)
{
    KsmBroker *broker = data;
    GList *link = g_queue_pop_head_link(&broker->sweeps);
    KsmShard *shard;

    if (link == NULL) {
        g_source_unref(broker->sweep_source);
        broker->sweep_source = NULL;
        return G_SOURCE_REMOVE;
    }
    shard = link->data;
    shard->in_sweep = ksm_group_sweep(shard->group);
    if (shard->in_sweep) {
        g_queue_push_tail_link(&broker->sweeps, link);
    }
    return G_SOURCE_CONTINUE;
}

static GSource *idle_source(int priority, GSourceFunc function, gpointer data)
{
    GSource *source = g_idle_source_new();

    g_source_set_priority(source, priority);
    g_source_set_callback(source, function, data, NULL);
    g_source_attach(source, NULL);
    return source;
}

static void shard_wake(KsmGroup *group, gpointer opaque)
{
    KsmShard *shard = opaque;
    KsmBroker *broker = shard->broker;

    (void)group;
    if (!shard->in_work) {
        shard->in_work = TRUE;
        g_queue_push_tail_link(&broker->work, &shard->work_link);
    }
    if (!shard->in_sweep && !shard->dying) {
        shard->in_sweep = TRUE;
        g_queue_push_tail_link(&broker->sweeps, &shard->sweep_link);
    }
    if (broker->work_source == NULL) {
        broker->work_source = idle_source(G_PRIORITY_DEFAULT, broker_on_work,
                                          broker);
    }
    if (broker->sweep_source == NULL) {
        broker->sweep_source = idle_source(G_PRIORITY_LOW, broker_on_sweep,
                                           broker);
    }
}

/* Also names the store, so that it is only taken over for the same node. */
static char *shard_key(const char *family, int node)
{
    return node == KSM_NODE_ANY ? g_strdup(family) :
                                  g_strdup_printf("%s@%d", family, node);
}

KsmShard *ksm_broker_get_group(KsmBroker *broker, const char *family, int node,
                               GError **errp)
{
    g_autofree char *key = shard_key(family, node);
    KsmShard *shard = g_hash_table_lookup(broker->groups, key);
    g_autoptr(KsmGroup) group = NULL;
    KsmUser *user;

    if (shard != NULL) {
        return shard;
    }
    user = ksm_user_ref(broker, (uid_t)g_ascii_strtoull(family, NULL, 10));
    group = ksm_group_new(key,
                          broker->limits.max_store_slots * STORE_SPACE_FACTOR,
                          ++broker->store_ids, &user->shares[KSM_QUOTA_SLOTS],
                          errp);
    if (group == NULL || !ksm_store_bind(group->store, node, errp)) {
        g_clear_pointer(&group, ksm_group_free);
        ksm_user_unref(user);
        return NULL;
    }
    shard = g_new0(KsmShard, 1);
    shard->broker = broker;
    shard->user = user;
    shard->key = g_steal_pointer(&key);
    shard->family = g_strdup(family);
    shard->node = node;
    shard->work_link.data = shard;
    shard->sweep_link.data = shard;
    group->wake = shard_wake;
    group->opaque = shard;
    shard->group = g_steal_pointer(&group);
    g_hash_table_insert(broker->groups, shard->key, shard);
    return shard;
}

void ksm_broker_check_group(KsmBroker *broker, KsmGroup *group)
{
    KsmShard *shard = group->opaque;

    if (group->member_count > 0 || group->reclaim != NULL || shard->dying) {
        return;
    }
    g_hash_table_remove(broker->groups, shard->key);
    shard->dying = TRUE;
    if (shard->in_sweep) {
        g_queue_unlink(&broker->sweeps, &shard->sweep_link);
        shard->in_sweep = FALSE;
    }
    shard_wake(group, shard);
}
