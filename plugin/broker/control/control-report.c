/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control-report.c: replies of the control socket with statistics.
 *
 * docs/control-protocol.md describes each field.  Values are in pages unless
 * the name ends in a unit.
 */
#include "control/control-report.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clients/cpu-grants.h"
#include "clients/history.h"
#include "clients/names.h"
#include "clients/totals.h"
#include "control/control-target.h"
#include "group/group.h"
#include "host/cgroup.h"
#include "host/share.h"
#include "guest-ksm.h"
#include "ksm-protocol.h"
#include "stats-table.h"

#define PAGE_BYTES 4096u

static void add_totals(KsmJson *json, const KsmTotals *totals)
{
#define ADD(name, kind, unit) ksm_json_uint(json, #name, totals->name);
    ksm_json_uint(json, "vms", totals->vms);
    ksm_json_uint(json, "sessions", totals->sessions);
    KSM_STATS_STATES(ADD)
    ksm_json_uint(json, "pages_shared", totals->pages_shared);
    ksm_json_uint(json, "metadata_bytes", totals->metadata_bytes);
    ksm_json_uint(json, "cpu_ns", totals->cpu_ns);
    ksm_json_centi(json, "cpu_percent", totals->cpu_centi);
    ksm_json_int(json, "saved_pages", ksm_totals_saved_pages(totals));
    ksm_json_uint(json, "worst_case_pages",
                  totals->pages_sharing + totals->zero_pages);
#undef ADD
}

/* The value of a line of /proc/meminfo in bytes; 0 if there is none. */
static guint64 meminfo_bytes(const char *text, const char *name)
{
    const char *line = text != NULL ? strstr(text, name) : NULL;

    return line != NULL ?
               g_ascii_strtoull(line + strlen(name), NULL, 10) * 1024 :
               0;
}

static void add_host(KsmJson *json)
{
    g_autofree char *text = NULL;

    g_file_get_contents("/proc/meminfo", &text, NULL, NULL);
    ksm_json_open(json, "host", '{');
    ksm_json_uint(json, "memory_bytes", meminfo_bytes(text, "MemTotal:"));
    ksm_json_uint(json, "available_bytes",
                  meminfo_bytes(text, "MemAvailable:"));
    ksm_json_close(json, '}');
}

static guint64 own_cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (guint64)now.tv_sec * 1000000000u + (guint64)now.tv_nsec;
}

/* The smallest limit of its control groups, and the least room left. */
static void add_cgroup(KsmJson *json)
{
    const KsmCgroup *cgroup = ksm_cgroup_own();
    guint64 limit = ksm_cgroup_limit_bytes(cgroup);
    gboolean limited = limit != G_MAXUINT64;

    ksm_json_uint(json, "cgroup_limit_bytes", limited ? limit : 0);
    ksm_json_uint(json, "cgroup_room_bytes",
                  limited ? ksm_cgroup_room_bytes(cgroup) : 0);
}

static void add_broker(KsmBroker *broker, KsmJson *json)
{
    gint64 now_us = g_get_monotonic_time();

    ksm_json_open(json, "broker", '{');
    ksm_json_string(json, "version", KSM_VERSION);
    ksm_json_uint(json, "protocol", KSM_PROTO_VERSION);
    ksm_json_uint(json, "pid", (guint64)getpid());
    ksm_json_uint(json, "uid", geteuid());
    ksm_json_uint(json, "uptime_ms",
                  (guint64)(now_us - broker->started_us) / 1000);
    ksm_json_uint(json, "cpu_ns", own_cpu_ns());
    ksm_json_uint(json, "memory_bytes", ksm_broker_memory_bytes(broker));
    ksm_json_uint(json, "store_pages", broker->shares[KSM_QUOTA_SLOTS].used);
    ksm_json_uint(json, "store_pages_max", broker->limits.max_store_slots);
    add_cgroup(json);
    ksm_json_uint(json, "sessions_max", broker->limits.max_sessions);
    ksm_json_uint(json, "guest_pages", broker->shares[KSM_QUOTA_PAGES].used);
    ksm_json_uint(json, "guest_pages_max", broker->limits.max_total_pages);
    ksm_json_uint(json, "process_pages_max", broker->limits.max_process_pages);
    ksm_json_uint(json, "user_percent_max", broker->limits.max_user_percent);
    ksm_json_uint(json, "cpu_percent_max", broker->limits.max_cpu_percent);
    ksm_json_uint(json, "scanners_asking",
                  ksm_cpu_grants_count(&broker->cpu, now_us));
    ksm_json_uint(json, "processes", g_hash_table_size(broker->processes));
    ksm_json_close(json, '}');
}

/* The NUMA node that a group is bound to. */
static void add_node(KsmJson *json, const KsmShard *shard)
{
    if (shard->node == KSM_NODE_ANY) {
        ksm_json_string(json, "node", NULL);
    } else {
        ksm_json_int(json, "node", shard->node);
    }
}

static void add_group(const KsmShard *shard, KsmJson *json)
{
    ksm_json_open(json, NULL, '{');
    ksm_json_string(json, "name", ksm_names_group(shard->family));
    ksm_json_uint(json, "uid", g_ascii_strtoull(shard->family, NULL, 10));
    add_node(json, shard);
    add_totals(json, &shard->totals);
    ksm_json_uint(json, "bound_pages", shard->group->bound);
    ksm_json_uint(json, "listed_pages", shard->group->listed);
    ksm_json_uint(json, "broker_memory_bytes", ksm_group_bytes(shard->group));
    ksm_json_close(json, '}');
}

/* What a user has, and its maximum while other users' use is unchanged. */
static void add_user(const KsmUser *user, KsmJson *json)
{
    static const struct {
        KsmQuota quota;
        const char *used, *max;
    } fields[] = {
        { KSM_QUOTA_SESSIONS, "sessions", "sessions_max" },
        { KSM_QUOTA_CONNECTIONS, "connections", "connections_max" },
        { KSM_QUOTA_PROCESSES, "processes", "processes_max" },
        { KSM_QUOTA_PAGES, "guest_pages", "guest_pages_max" },
        { KSM_QUOTA_SLOTS, "store_pages", "store_pages_max" },
    };
    guint i;

    ksm_json_open(json, NULL, '{');
    ksm_json_uint(json, "uid", user->uid);
    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        const KsmShare *share = &user->shares[fields[i].quota];

        ksm_json_uint(json, fields[i].used, share->used);
        ksm_json_uint(json, fields[i].max,
                      MIN(ksm_share_most(share), share->all->limit));
    }
    ksm_json_close(json, '}');
}

void ksm_control_report_status(KsmBroker *broker, KsmJson *json)
{
    GHashTableIter iter;
    gpointer shard, user;

    ksm_json_uint(json, "page_bytes", PAGE_BYTES);
    add_broker(broker, json);
    add_host(json);
    ksm_json_open(json, "total", '{');
    add_totals(json, &broker->totals);
    ksm_json_close(json, '}');
    ksm_json_open(json, "groups", '[');
    g_hash_table_iter_init(&iter, broker->groups);
    while (g_hash_table_iter_next(&iter, NULL, &shard)) {
        add_group(shard, json);
    }
    ksm_json_close(json, ']');
    ksm_json_open(json, "users", '[');
    g_hash_table_iter_init(&iter, broker->users);
    while (g_hash_table_iter_next(&iter, NULL, &user)) {
        add_user(user, json);
    }
    ksm_json_close(json, ']');
}

static const char *run_name(guint32 run)
{
    static const char *const names[] = {
        [KSM_RUN_PAUSE] = "pause",
        [KSM_RUN_RUN] = "run",
        [KSM_RUN_UNMERGE] = "unmerge",
    };

    return run < G_N_ELEMENTS(names) ? names[run] : "unknown";
}

/* The limit that keeps duplicates from being shared; NULL: none. */
static const char *degraded_name(guint32 degraded)
{
    switch (degraded) {
    case KSM_DEGRADED_NOT:
        return NULL;
    case KSM_DEGRADED_MAPPINGS:
        return "mappings";
    case KSM_DEGRADED_BROKER:
        return "broker";
    default:
        return "unknown";
    }
}

/* The state of a session as one word. */
static const char *state_name(const KsmSession *session)
{
    const KsmMsgStats *stats = &session->client.stats;

    if (session->served_by == NULL) {
        return "disconnected";
    }
    if (session->client.last_seen_us == 0) {
        return "starting";
    }
    if (stats->stand_aside[0] != '\0') {
        return "stood-aside";
    }
    switch (stats->run) {
    case KSM_RUN_RUN:
        return stats->degraded != KSM_DEGRADED_NOT ? "degraded" : "running";
    case KSM_RUN_UNMERGE:
        return stats->pages_sharing > 0 ? "unmerging" : "unmerged";
    default:
        return "paused";
    }
}

static void add_identity(const KsmSession *session, KsmJson *json)
{
    const char *slash = strrchr(session->name, '/');
    g_autofree char *vm = ksm_names_vm(session);

    ksm_json_string(json, "name", session->name);
    ksm_json_string(json, "vm", vm);
    ksm_json_string(json, "backend",
                    slash != NULL && slash > session->name ? slash + 1 : NULL);
    ksm_json_string(json, "group", ksm_names_group(session->shard->family));
    add_node(json, session->shard);
    ksm_json_uint(json, "uid", session->process->uid);
    ksm_json_uint(json, "pid", (guint64)session->process->pid);
}

static void add_condition(const KsmSession *session, KsmJson *json)
{
    const KsmMsgStats *stats = &session->client.stats;
    gint64 last_seen_us = session->client.last_seen_us;

    ksm_json_string(json, "state", state_name(session));
    ksm_json_string(json, "run", run_name(stats->run));
    ksm_json_string(json, "stand_aside",
                    stats->stand_aside[0] != '\0' ? stats->stand_aside : NULL);
    ksm_json_string(json, "degraded", degraded_name(stats->degraded));
    ksm_json_int(json, "last_seen_ms",
                 last_seen_us == 0 ?
                     -1 :
                     (g_get_monotonic_time() - last_seen_us) / 1000);
    ksm_json_uint(json, "scan_cpu_percent", stats->scan_cpu_percent);
    ksm_json_uint(json, "scan_interval_ms", stats->scan_interval_ms);
    ksm_json_uint(json, "max_mappings_set", stats->max_mappings_set);
    ksm_json_uint(json, "interval_ms", stats->interval_ms);
    ksm_json_int(json, "general_profit_bytes", stats->general_profit);
    ksm_json_uint(json, "protocol", session->version);
}

/* A VM with an older library does not report all of them. */
static void add_statistics(KsmJson *json, const KsmMsgStats *stats,
                           guint32 version)
{
    gsize told = ksm_proto_stats_bytes(version);
    guint i;

    for (i = 0; i < KSM_STATS_COUNT && ksm_stats_table[i].offset < told; i++) {
        ksm_json_uint(json, ksm_stats_table[i].name,
                      G_STRUCT_MEMBER(guint64, stats,
                                      ksm_stats_table[i].offset));
    }
    if (offsetof(KsmMsgStats, keep_huge) < told) {
        ksm_json_uint(json, "keep_huge", stats->keep_huge);
    }
}

static void add_session(const KsmSession *session, KsmJson *json)
{
    const KsmMsgStats *stats = &session->client.stats;
    guint i;

    ksm_json_open(json, NULL, '{');
    add_identity(session, json);
    add_condition(session, json);
    add_statistics(json, stats, session->version);
    ksm_json_centi(json, "cpu_percent", session->client.cpu_centi);
    ksm_json_int(json, "saved_pages", ksm_totals_session_saved_pages(session));
    ksm_json_uint(json, "worst_case_pages",
                  stats->pages_sharing + stats->zero_pages);
    ksm_json_uint(json, "bound_pages", session->member->bound);
    ksm_json_uint(json, "listed_pages", session->member->listed);
    ksm_json_open(json, "window_us_histogram", '[');
    for (i = 0; i < KSM_WINDOW_BUCKETS; i++) {
        ksm_json_uint(json, NULL, stats->window_us_histogram[i]);
    }
    ksm_json_close(json, ']');
    ksm_json_close(json, '}');
}

void ksm_control_report_sessions(const GPtrArray *sessions, KsmJson *json)
{
    guint i;

    ksm_json_open(json, "sessions", '[');
    for (i = 0; i < sessions->len; i++) {
        add_session(g_ptr_array_index(sessions, i), json);
    }
    ksm_json_close(json, ']');
}

static void add_sample(const KsmSample *sample, gint64 real_time_s,
                       KsmJson *json)
{
    ksm_json_open(json, NULL, '[');
    ksm_json_int(json, NULL, real_time_s);
    ksm_json_uint(json, NULL, sample->pages_shared);
    ksm_json_uint(json, NULL, sample->pages_sharing);
    ksm_json_uint(json, NULL, sample->zero_pages);
    ksm_json_uint(json, NULL, sample->pages_broken);
    ksm_json_int(json, NULL, sample->saved_pages);
    ksm_json_centi(json, NULL, sample->cpu_centi);
    ksm_json_close(json, ']');
}

void ksm_control_report_history(const KsmHistory *history, gint64 seconds,
                                KsmJson *json)
{
    static const char *const fields[] = {
        "time_s",       "pages_shared", "pages_sharing", "zero_pages",
        "pages_broken", "saved_pages",  "cpu_percent",
    };
    gint64 now_s = ksm_history_now();
    gint64 started_s = g_get_real_time() / G_USEC_PER_SEC - now_s;
    guint i;

    ksm_json_uint(json, "interval_s", KSM_HISTORY_SECONDS);
    ksm_json_open(json, "fields", '[');
    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        ksm_json_string(json, NULL, fields[i]);
    }
    ksm_json_close(json, ']');
    ksm_json_open(json, "samples", '[');
    for (i = 0; i < history->count; i++) {
        const KsmSample *sample = ksm_history_get(history, i);

        if (sample->time_s >= now_s - seconds) {
            add_sample(sample, started_s + sample->time_s, json);
        }
    }
    ksm_json_close(json, ']');
}
