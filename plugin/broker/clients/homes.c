/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * homes.c: the groups of a broker, and the turns that they get.
 *
 * The main loop has three kinds of sources: sockets and pidfds, and at the
 * same priority the urgent work of groups (taking back what a client that
 * ended had, freeing slots), one bounded step of one group at a turn; below
 * them, when nothing else is to do, sweeps of unstable trees.
 */
#include "clients/homes.h"

#include "clients/history.h"
#include "clients/user.h"
#include "group/group.h"
#include "group/listing.h"
#include "store/store.h"

#define STORE_SPACE_FACTOR 4    /* address space for each slot allowed */

static void home_free(KsmGroupHome *home)
{
    ksm_history_clear(&home->history);
    ksm_group_free(home->group);
    ksm_user_unref(home->user);
    g_free(home->key);
    g_free(home->family);
    g_free(home);
}

/* A step for a group that nobody is in any more; TRUE while there is more. */
static gboolean home_drop_step(KsmGroupHome *home)
{
    if (ksm_group_drop(home->group)) {
        return TRUE;
    }
    home_free(home);
    return FALSE;
}

static gboolean broker_on_work(gpointer data)
{
    KsmBroker *broker = data;
    GList *link = g_queue_pop_head_link(&broker->work);
    KsmGroupHome *home;
    gboolean more;

    if (link == NULL) {
        g_source_unref(broker->work_source);
        broker->work_source = NULL;
        return G_SOURCE_REMOVE;
    }
    home = link->data;
    home->in_work = FALSE;
    if (home->dying) {
        more = home_drop_step(home);
    } else {
        more = ksm_group_work(home->group);
        if (!more) {
            ksm_broker_check_group(broker, home->group);
        }
    }
    if (more && !home->in_work) {
        home->in_work = TRUE;
        g_queue_push_tail_link(&broker->work, link);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean broker_on_sweep(gpointer data)
{
    KsmBroker *broker = data;
    GList *link = g_queue_pop_head_link(&broker->sweeps);
    KsmGroupHome *home;

    if (link == NULL) {
        g_source_unref(broker->sweep_source);
        broker->sweep_source = NULL;
        return G_SOURCE_REMOVE;
    }
    home = link->data;
    home->in_sweep = ksm_group_sweep(home->group);
    if (home->in_sweep) {
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

static void home_wake(KsmGroup *group, gpointer opaque)
{
    KsmGroupHome *home = opaque;
    KsmBroker *broker = home->broker;

    (void)group;
    if (!home->in_work) {
        home->in_work = TRUE;
        g_queue_push_tail_link(&broker->work, &home->work_link);
    }
    if (!home->in_sweep && !home->dying) {
        home->in_sweep = TRUE;
        g_queue_push_tail_link(&broker->sweeps, &home->sweep_link);
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

/* A store is called by that, too: it is taken up for the same node only. */
static char *home_key(const char *family, int node)
{
    return node == KSM_NODE_ANY ? g_strdup(family)
                                : g_strdup_printf("%s@%d", family, node);
}

KsmGroupHome *ksm_broker_get_group(KsmBroker *broker, const char *family,
                                   int node, GError **errp)
{
    g_autofree char *key = home_key(family, node);
    KsmGroupHome *home = g_hash_table_lookup(broker->groups, key);
    g_autoptr(KsmGroup) group = NULL;
    KsmUser *user;

    if (home != NULL) {
        return home;
    }
    user = ksm_user_ref(broker, (uid_t)g_ascii_strtoull(family, NULL, 10));
    group = ksm_group_new(key, broker->limits.max_store_slots *
                          STORE_SPACE_FACTOR, ++broker->store_ids,
                          &user->shares[KSM_QUOTA_SLOTS], errp);
    if (group == NULL || !ksm_store_bind(group->store, node, errp)) {
        g_clear_pointer(&group, ksm_group_free);
        ksm_user_unref(user);
        return NULL;
    }
    home = g_new0(KsmGroupHome, 1);
    home->broker = broker;
    home->user = user;
    home->key = g_steal_pointer(&key);
    home->family = g_strdup(family);
    home->node = node;
    home->work_link.data = home;
    home->sweep_link.data = home;
    group->wake = home_wake;
    group->opaque = home;
    home->group = g_steal_pointer(&group);
    g_hash_table_insert(broker->groups, home->key, home);
    return home;
}

void ksm_broker_check_group(KsmBroker *broker, KsmGroup *group)
{
    KsmGroupHome *home = group->opaque;

    if (group->member_count > 0 || group->reclaim != NULL || home->dying) {
        return;
    }
    g_hash_table_remove(broker->groups, home->key);
    home->dying = TRUE;
    if (home->in_sweep) {
        g_queue_unlink(&broker->sweeps, &home->sweep_link);
        home->in_sweep = FALSE;
    }
    home_wake(group, home);
}
