/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * broker.c: creates a broker and connects its parts.
 */
#include "broker.h"

#include <sys/random.h>

#include "clients/connection.h"
#include "clients/descent.h"
#include "clients/grace.h"
#include "clients/history.h"
#include "clients/broker-limits.h"
#include "clients/request-state.h"
#include "clients/session.h"
#include "clients/totals.h"
#include "group/content.h"
#include "group/group.h"
#include "host/acceptor.h"
#include "host/log.h"
#include "store/store.h"
#include "tree/fp-tree.h"

static gboolean broker_on_sample(gpointer data)
{
    KsmBroker *broker = data;

    ksm_totals_update(broker);
    ksm_history_sample(broker);
    return G_SOURCE_CONTINUE;
}

typedef struct IterationSource {
    GSource source;
    KsmBroker *broker;
} IterationSource;

/* GLib calls every source's prepare once an iteration; this is never ready. */
static gboolean iteration_prepare(GSource *source, gint *timeout_ms)
{
    ((IterationSource *)source)->broker->iteration++;
    *timeout_ms = -1;
    return FALSE;
}

static gboolean iteration_check(GSource *source)
{
    (void)source;
    return FALSE;
}

static gboolean iteration_dispatch(GSource *source, GSourceFunc function,
                                   gpointer opaque)
{
    (void)source;
    (void)function;
    (void)opaque;
    return G_SOURCE_CONTINUE;
}

/* At the highest priority: GLib skips lower ones if a source is ready. */
static void count_iterations(KsmBroker *broker)
{
    static GSourceFuncs functions = {
        .prepare = iteration_prepare,
        .check = iteration_check,
        .dispatch = iteration_dispatch,
    };
    GSource *source = g_source_new(&functions, sizeof(IterationSource));

    ((IterationSource *)source)->broker = broker;
    g_source_set_priority(source, G_PRIORITY_HIGH);
    g_source_attach(source, NULL);
    g_source_unref(source);
}

static void broker_on_connect(int fd, gpointer opaque)
{
    ksm_connection_new(opaque, fd);
}

/* Closes its connections, and begins to end its sessions. */
static void broker_on_process_end(KsmProcess *process)
{
    KsmBroker *broker = process->broker;
    GList *link, *next;

    for (link = broker->connections.head; link != NULL; link = next) {
        KsmRequestState *state = link->data;

        next = link->next;
        if (state->process == process) {
            ksm_connection_close(state);
        }
    }
    for (link = process->sessions.head; link != NULL; link = next) {
        next = link->next;
        ksm_session_end(link->data);
    }
}

KsmBroker *ksm_broker_new(const KsmBrokerLimits *limits, int listen_fd,
                          int mark_fd, guint idle_exit_seconds,
                          void (*idle)(gpointer opaque), gpointer opaque)
{
    KsmBroker *broker = g_new0(KsmBroker, 1);

    broker->limits = *limits;
    broker->cpu.percent = limits->max_cpu_percent;
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
    broker->welcome = ksm_broker_welcome;
    broker->ready = ksm_connection_ready;
    broker->close = ksm_connection_close;
    broker->wake = ksm_connection_wake;
    broker->ended = broker_on_process_end;
    broker->started_us = g_get_monotonic_time();
    broker->history_timer = g_timeout_add_seconds(KSM_HISTORY_SECONDS,
                                                  broker_on_sample, broker);
    count_iterations(broker);
    ksm_acceptor_start(&broker->acceptor, listen_fd, &broker->log_limits,
                       broker_on_connect, broker);
    ksm_grace_begin(broker, mark_fd);
    ksm_broker_check_idle(broker);
    return broker;
}

void ksm_broker_memory_failed(KsmBroker *broker, const guint8 *addr)
{
    GHashTableIter iter;
    gpointer shard;

    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &shard)) {
        KsmGroup *group = ((KsmShard *)shard)->group;
        guint32 slot;

        if (ksm_store_find_slot(group->store, addr, &slot)) {
            ksm_group_retire(group, slot);
        }
    }
}

static void log_group(const KsmShard *shard)
{
    const KsmGroup *group = shard->group;

    ksm_log(KSM_LOG_INFO,
            "group %s: sessions=%u pages_shared=%" G_GUINT64_FORMAT
            " pages_sharing=%" G_GUINT64_FORMAT
            " pages_unshared=%" G_GUINT64_FORMAT " listings=%" G_GUINT64_FORMAT
            " memory_bytes=%" G_GUINT64_FORMAT " retired=%" G_GUINT64_FORMAT,
            shard->key, group->member_count, ksm_store_used(group->store),
            group->bound, group->listed, ksm_fp_tree_count(group->unstable),
            ksm_group_bytes(group), group->retired);
}

void ksm_broker_log_status(const KsmBroker *broker)
{
    GHashTableIter iter;
    gpointer shard;

    ksm_log(KSM_LOG_INFO,
            "status: sessions=%u connections=%u processes=%u "
            "groups=%u total_pages=%" G_GUINT64_FORMAT
            " store_pages=%" G_GUINT64_FORMAT
            " memory_bytes=%" G_GUINT64_FORMAT,
            broker->sessions, broker->connections.length,
            g_hash_table_size(broker->processes),
            g_hash_table_size(broker->groups),
            broker->shares[KSM_QUOTA_PAGES].used,
            broker->shares[KSM_QUOTA_SLOTS].used,
            ksm_broker_memory_bytes(broker));
    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &shard)) {
        log_group(shard);
    }
}
