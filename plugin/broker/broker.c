/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * broker.c: everything one broker has, and the turns that its parts get.
 *
 * The main loop has three kinds of sources: sockets and pidfds, and at the
 * same priority the urgent work of groups (taking back what a client that
 * ended had, freeing slots), one bounded step of one group at a turn; below
 * them, when nothing else is to do, sweeps of unstable trees.
 */
#include "broker.h"

#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#include "clients/connection.h"
#include "clients/descent.h"
#include "clients/grace.h"
#include "clients/process.h"
#include "clients/session.h"
#include "group/content.h"
#include "group/listing.h"
#include "host/cgroup.h"
#include "host/headroom.h"
#include "host/share.h"
#include "tree/fp-tree.h"
#include "error.h"

#define PAGE_BYTES 4096u
#define STORE_SPACE_FACTOR 4    /* address space for each slot allowed */

void ksm_broker_default_limits(KsmBrokerLimits *limits)
{
    guint64 host_pages = (guint64)sysconf(_SC_PHYS_PAGES) *
        (guint64)sysconf(_SC_PAGESIZE) / PAGE_BYTES;
    guint64 allowed_pages = ksm_cgroup_limit_bytes(ksm_cgroup_own()) /
        PAGE_BYTES;

    *limits = (KsmBrokerLimits) {
        .max_sessions = 2048,
        .max_process_sessions = 64,
        .max_pages = 1ull << 28,
        .max_process_pages = 2 * host_pages,
        .max_total_pages = 16 * host_pages,
        .max_store_slots = MAX(MIN(host_pages, allowed_pages) / 2, 1),
        .max_user_percent = 50,
    };
}

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

void ksm_broker_welcome(KsmBroker *broker, const KsmGroupHome *home)
{
    GList *link, *next;

    for (link = broker->connections.head; link != NULL; link = next) {
        KsmConnection *connection = link->data;
        KsmSession *session = ksm_connection_session(connection);

        next = link->next;
        if (session != NULL && (home == NULL || session->home == home) &&
            connection->bulk == NULL && ksm_session_is_ready(session)) {
            ksm_connection_ready(connection);
        }
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

    if (group->member_count > 0 || group->adoption != NULL || home->dying) {
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

/* A client that connects at this very moment finds a closed socket and tries
 * again, which starts another broker. */
static gboolean broker_on_idle(gpointer data)
{
    KsmBroker *broker = data;
    struct pollfd entry = { .fd = broker->acceptor.fd, .events = POLLIN };

    if (poll(&entry, 1, 0) == 1) {
        return G_SOURCE_CONTINUE;
    }
    broker->idle_timer = 0;
    ksm_log(KSM_LOG_INFO, "no client for %u s: ends",
            broker->idle_exit_seconds);
    broker->idle(broker->opaque);
    return G_SOURCE_REMOVE;
}

void ksm_broker_check_idle(KsmBroker *broker)
{
    gboolean idle = broker->idle_exit_seconds > 0 &&
        g_queue_is_empty(&broker->connections) &&
        g_hash_table_size(broker->processes) == 0 && broker->sessions == 0;

    if (idle && broker->idle_timer == 0) {
        broker->idle_timer = g_timeout_add_seconds(broker->idle_exit_seconds,
                                                   broker_on_idle, broker);
    } else if (!idle && broker->idle_timer != 0) {
        g_source_remove(broker->idle_timer);
        broker->idle_timer = 0;
    }
}

static gboolean broker_on_sample(gpointer data)
{
    KsmBroker *broker = data;

    ksm_totals_update(broker);
    ksm_history_sample(broker);
    return G_SOURCE_CONTINUE;
}

typedef struct TurnSource {
    GSource source;
    KsmBroker *broker;
} TurnSource;

/* GLib asks every source once a turn whether it is ready: this never is. */
static gboolean turn_prepare(GSource *source, gint *timeout_ms)
{
    ((TurnSource *)source)->broker->turn++;
    *timeout_ms = -1;
    return FALSE;
}

static gboolean turn_check(GSource *source)
{
    (void)source;
    return FALSE;
}

static gboolean turn_dispatch(GSource *source, GSourceFunc function,
                              gpointer opaque)
{
    (void)source;
    (void)function;
    (void)opaque;
    return G_SOURCE_CONTINUE;
}

/* At the highest priority, as GLib asks no others when one is ready. */
static void count_turns(KsmBroker *broker)
{
    static GSourceFuncs functions = {
        .prepare = turn_prepare, .check = turn_check,
        .dispatch = turn_dispatch,
    };
    GSource *source = g_source_new(&functions, sizeof(TurnSource));

    ((TurnSource *)source)->broker = broker;
    g_source_set_priority(source, G_PRIORITY_HIGH);
    g_source_attach(source, NULL);
}

static void broker_on_connect(int fd, gpointer opaque)
{
    ksm_connection_new(opaque, fd);
}

KsmBroker *ksm_broker_new(const KsmBrokerLimits *limits, int listen_fd,
                          int mark_fd,
                          guint idle_exit_seconds,
                          void (*idle)(gpointer opaque), gpointer opaque)
{
    KsmBroker *broker = g_new0(KsmBroker, 1);

    broker->limits = *limits;
    broker->shares[KSM_QUOTA_SESSIONS].limit = limits->max_sessions;
    broker->shares[KSM_QUOTA_CONNECTIONS].limit = 2 * limits->max_sessions;
    broker->shares[KSM_QUOTA_PROCESSES].limit = 4 * limits->max_sessions;
    broker->shares[KSM_QUOTA_PAGES].limit = limits->max_total_pages;
    broker->shares[KSM_QUOTA_SLOTS].limit = limits->max_store_slots;
    broker->users = g_hash_table_new(NULL, NULL);
    broker->groups = g_hash_table_new(g_str_hash, g_str_equal);
    broker->processes = g_hash_table_new(NULL, NULL);
    broker->labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                           NULL);
    g_queue_init(&broker->connections);
    g_queue_init(&broker->work);
    g_queue_init(&broker->sweeps);
    broker->descent = ksm_descent_new(!limits->no_orphan_check);
    if (getrandom(&broker->broker_id, 8, 0) != 8) {
        g_error("getrandom failed");
    }
    broker->idle_exit_seconds = idle_exit_seconds;
    broker->idle = idle;
    broker->opaque = opaque;
    broker->started_us = g_get_monotonic_time();
    broker->history_timer = g_timeout_add_seconds(KSM_HISTORY_SECONDS,
                                                  broker_on_sample, broker);
    count_turns(broker);
    ksm_acceptor_start(&broker->acceptor, listen_fd, &broker->log_limits,
                       broker_on_connect, broker);
    ksm_grace_begin(broker, mark_fd);
    ksm_broker_check_idle(broker);
    return broker;
}

/* Once a minute. */
static gboolean note_is_due(gint64 *noted_us)
{
    gint64 now = g_get_monotonic_time();

    if (*noted_us != 0 && now - *noted_us <= 60 * G_USEC_PER_SEC) {
        return FALSE;
    }
    *noted_us = now;
    return TRUE;
}

void ksm_broker_note_refused(KsmBroker *broker, KsmUser *user)
{
    const KsmShare *all = &broker->shares[KSM_QUOTA_SLOTS];
    const KsmShare *own = &user->shares[KSM_QUOTA_SLOTS];
    gint64 now = g_get_monotonic_time();
    const char *limit;

    if (all->used >= all->limit) {
        if (note_is_due(&broker->full_noted_us)) {
            ksm_log(KSM_LOG_WARNING, "the stores are full (%" G_GUINT64_FORMAT
                    " pages, %" G_GUINT64_FORMAT " of user %u): content is "
                    "refused; see --max-store-mib", all->limit, own->used,
                    user->uid);
        }
    } else if (own->used >= ksm_share_most(own)) {
        if (note_is_due(&user->full_noted_us)) {
            ksm_log(KSM_LOG_WARNING, "the stores of user %u have their share, %"
                    G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " pages: content "
                    "is refused; see --max-user-percent and --max-store-mib",
                    user->uid, own->used, all->limit);
        }
    } else if (broker->room_noted_us == 0 ||
               now - broker->room_noted_us > 60 * G_USEC_PER_SEC) {
        limit = ksm_headroom_lack(KSM_STORE_PAGE_BYTES << KSM_MAX_TILE_ORDER);
        if (limit != NULL) {
            ksm_log(KSM_LOG_WARNING, "%s is nearly reached: content is refused",
                    limit);
            broker->room_noted_us = now;
        }
    }
}

guint64 ksm_broker_memory_bytes(const KsmBroker *broker)
{
    GHashTableIter iter;
    gpointer home;
    guint64 bytes = sizeof(KsmBroker);

    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &home)) {
        bytes += ksm_group_bytes(((KsmGroupHome *)home)->group);
    }
    return bytes + broker->sessions * sizeof(KsmSession);
}

void ksm_broker_memory_failed(KsmBroker *broker, const guint8 *addr)
{
    GHashTableIter iter;
    gpointer home;

    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &home)) {
        KsmGroup *group = ((KsmGroupHome *)home)->group;
        guint32 slot;

        if (ksm_store_find_slot(group->store, addr, &slot)) {
            ksm_group_retire(group, slot);
        }
    }
}

static void log_group(const KsmGroupHome *home)
{
    const KsmGroup *group = home->group;

    ksm_log(KSM_LOG_INFO, "group %s: sessions=%u pages_shared=%"
            G_GUINT64_FORMAT " pages_sharing=%" G_GUINT64_FORMAT
            " pages_unshared=%" G_GUINT64_FORMAT " listings=%"
            G_GUINT64_FORMAT " memory_bytes=%" G_GUINT64_FORMAT
            " retired=%" G_GUINT64_FORMAT, home->key,
            group->member_count, ksm_store_used(group->store), group->bound,
            group->listed, ksm_fp_tree_count(group->unstable),
            ksm_group_bytes(group), group->retired);
}

void ksm_broker_log_status(const KsmBroker *broker)
{
    GHashTableIter iter;
    gpointer home;

    ksm_log(KSM_LOG_INFO, "status: sessions=%u connections=%u processes=%u "
            "groups=%u total_pages=%" G_GUINT64_FORMAT " store_pages=%"
            G_GUINT64_FORMAT " memory_bytes=%" G_GUINT64_FORMAT,
            broker->sessions, broker->connections.length,
            g_hash_table_size(broker->processes),
            g_hash_table_size(broker->groups),
            broker->shares[KSM_QUOTA_PAGES].used,
            broker->shares[KSM_QUOTA_SLOTS].used,
            ksm_broker_memory_bytes(broker));
    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &home)) {
        log_group(home);
    }
}
