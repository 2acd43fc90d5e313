/* SPDX-License-Identifier: GPL-2.0-or-later */
/* broker-limits.c: the broker-wide limits, logging refusals, and idle exit. */
#include "clients/broker-limits.h"

#include <poll.h>
#include <unistd.h>

#include "clients/cpu-grants.h"
#include "host/cgroup.h"
#include "host/headroom.h"
#include "host/log.h"
#include "host/share.h"
#include "store/store.h"

#define PAGE_BYTES 4096u

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
        .max_cpu_percent = ksm_cpu_grants_default_percent(),
    };
}

/* A client that connects at this moment finds a closed socket and retries,
 * which starts another broker. */
static gboolean broker_on_idle(gpointer data)
{
    KsmBroker *broker = data;
    struct pollfd entry = { .fd = broker->acceptor.fd, .events = POLLIN };

    if (poll(&entry, 1, 0) == 1) {
        return G_SOURCE_CONTINUE;
    }
    broker->idle_timer = 0;
    ksm_log(KSM_LOG_INFO, "no client for %u s: exiting",
            broker->idle_exit_seconds);
    broker->idle(broker->opaque);
    return G_SOURCE_REMOVE;
}

void ksm_broker_check_idle(KsmBroker *broker)
{
    gboolean idle = broker->idle_exit_seconds > 0 &&
                    g_queue_is_empty(&broker->connections) &&
                    g_hash_table_size(broker->processes) == 0 &&
                    broker->sessions == 0;

    if (idle && broker->idle_timer == 0) {
        broker->idle_timer = g_timeout_add_seconds(broker->idle_exit_seconds,
                                                   broker_on_idle, broker);
    } else if (!idle && broker->idle_timer != 0) {
        g_source_remove(broker->idle_timer);
        broker->idle_timer = 0;
    }
}

/* Whether to log it now: once a minute. */
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
            ksm_log(KSM_LOG_WARNING,
                    "the stores are full (%" G_GUINT64_FORMAT
                    " pages, %" G_GUINT64_FORMAT " of user %u): new pages are "
                    "refused; see --max-store-mib",
                    all->limit, own->used, user->uid);
        }
    } else if (own->used >= ksm_share_most(own)) {
        if (note_is_due(&user->full_noted_us)) {
            ksm_log(KSM_LOG_WARNING,
                    "the stores of user %u have reached their "
                    "share, %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    " pages: new pages are refused; see --max-user-percent and "
                    "--max-store-mib",
                    user->uid, own->used, all->limit);
        }
    } else if (broker->room_noted_us == 0 ||
               now - broker->room_noted_us > 60 * G_USEC_PER_SEC) {
        limit = ksm_headroom_lack(KSM_STORE_PAGE_BYTES << KSM_MAX_TILE_ORDER);
        if (limit != NULL) {
            ksm_log(KSM_LOG_WARNING,
                    "%s is nearly reached: new pages are "
                    "refused",
                    limit);
            broker->room_noted_us = now;
        }
    }
}
