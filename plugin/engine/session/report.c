/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.c: sends statistics to the broker; gets the group's, and settings.
 *
 * Changed settings come with the reply to a report, which is sent after each
 * round and at least about once a second, whatever the run mode; while nothing
 * changes, every ten seconds and when the broker wakes the engine.  A setting goes through the same
 * functions as the program's own calls (ksm_engine_set_*), with the same
 * checks: a faulty or hostile broker can make the engine pause or hurry, which
 * costs savings or CPU time, and no more.  A second report acknowledges the
 * setting at once.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "session/report.h"

#include <string.h>

#include "client/broker-client.h"
#include "core/stats.h"
#include "session/page-map.h"
#include "sys.h"

G_STATIC_ASSERT(KSM_WINDOW_BUCKETS == KSM_STATS_WINDOW_BUCKETS);

void ksm_report_begin(KsmEngine *engine)
{
    engine->report.setting_serial = engine->report.setting_error =
        engine->report.map_serial = 0;
    g_clear_pointer(&engine->report.setting_reason, g_free);
}

/* The part of KsmStats that is not in the list: fill_present() handles it. */
typedef struct NotListed {
    guint64 window_us_histogram[KSM_STATS_WINDOW_BUCKETS];
    KsmState state;
    KsmDegraded degraded;
    gint64 general_profit;
    guint64 scan_interval_ms;
    guint scan_cpu_percent;
    KsmRunMode run;
    KsmBrokerState broker;
    const char *stand_aside;
    guint64 group_pages[3]; /* from the broker */
} NotListed;
G_STATIC_ASSERT(sizeof(KsmStats) ==
                KSM_STATS_COUNT * sizeof(guint64) + sizeof(NotListed));

void ksm_report_fill(KsmMsgStats *msg, const KsmStats *s)
{
#define FILL(name, kind, unit) msg->name = s->name;
    KSM_STATS_FIELDS(FILL)
#undef FILL
}

static void fill_present(KsmMsgStats *msg, KsmEngine *engine, const KsmStats *s)
{
    memcpy(msg->window_us_histogram, s->window_us_histogram,
           sizeof(msg->window_us_histogram));
    msg->general_profit = s->general_profit;
    msg->state = s->state;
    msg->degraded = s->degraded;
    msg->interval_ms = (guint32)s->scan_interval_ms;
    msg->run = g_atomic_int_get(&engine->tunables.run);
    msg->scan_cpu_percent = ksm_engine_get_scan_cpu_percent(engine);
    msg->scan_interval_ms = ksm_engine_get_scan_interval(engine);
    msg->max_mappings_set = ksm_engine_get_max_mappings(engine);
    msg->keep_huge = ksm_engine_get_keep_huge(engine);
    msg->setting_serial = engine->report.setting_serial;
    msg->setting_error = engine->report.setting_error;
    g_strlcpy(msg->setting_reason, engine->report.setting_reason ?: "",
              sizeof(msg->setting_reason));
    g_strlcpy(msg->stand_aside, s->stand_aside ?: "", sizeof(msg->stand_aside));
}

/* Without what changes while nothing happens. */
static void keep_steady(KsmMsgStats *msg)
{
    memset(&msg->msg, 0, sizeof(msg->msg));
    msg->full_scans = msg->broker_requests = 0;
    msg->cpu_ns = msg->round_ns = 0;
}

static void fill(KsmEngine *engine, KsmMsgStats *msg)
{
    KsmStats stats;

    memset(msg, 0, sizeof(*msg));
    ksm_stats_collect(engine, &stats);
    ksm_report_fill(msg, &stats);
    fill_present(msg, engine, &stats);
}

static gboolean exchange_once(KsmEngine *engine, KsmMsgGroup *group)
{
    KsmMsgStats msg;

    fill(engine, &msg);
    engine->report.last = msg;
    keep_steady(&engine->report.last);
    if (!ksm_broker_client_stats(&engine->broker, &msg, group)) {
        return FALSE;
    }
    engine->report.reported_ns = ksm_sys_now_ns();
    engine->report.results_waiting = group->results_waiting;
    engine->stats.counters.group_pages_shared = group->pages_shared;
    engine->stats.counters.group_pages_sharing = group->pages_sharing;
    engine->stats.counters.group_pages_unshared = group->pages_unshared;
    return TRUE;
}

static gboolean set_run(KsmEngine *engine, guint32 run, GError **errp)
{
    if (run > KSM_RUN_UNMERGE) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "Run mode %u is unknown", run);
        return FALSE;
    }
    ksm_engine_set_run(engine, (KsmRunMode)run);
    return TRUE;
}

/* Sets the fields in turn, up to the first that is invalid. */
static gboolean carry_out(KsmEngine *engine, const KsmSetting *order,
                          GError **errp)
{
    if ((order->fields & ~KSM_SETTING_ALL) != 0) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_UNSUPPORTED,
                    "This library is older than the broker and does not know "
                    "all of the settings");
        return FALSE;
    }
    return (!(order->fields & KSM_SETTING_SCAN_CPU_PERCENT) ||
            ksm_engine_set_scan_cpu_percent(engine, order->scan_cpu_percent,
                                            errp)) &&
           (!(order->fields & KSM_SETTING_SCAN_INTERVAL) ||
            ksm_engine_set_scan_interval(engine, order->scan_interval_ms,
                                         errp)) &&
           (!(order->fields & KSM_SETTING_MAX_MAPPINGS) ||
            ksm_engine_set_max_mappings(engine, order->max_mappings, errp)) &&
           (!(order->fields & KSM_SETTING_KEEP_HUGE) ||
            ksm_engine_set_keep_huge(engine, order->keep_huge, errp)) &&
           (!(order->fields & KSM_SETTING_RUN) ||
            set_run(engine, order->run, errp));
}

static void obey(KsmEngine *engine, const KsmSetting *order)
{
    g_autoptr(GError) error = NULL;

    engine->report.setting_serial = order->serial;
    g_clear_pointer(&engine->report.setting_reason, g_free);
    engine->report.setting_error = 0;
    if (!carry_out(engine, order, &error)) {
        engine->report.setting_error = (guint32)error->code;
        engine->report.setting_reason = g_strdup(error->message);
    }
    g_debug("'%s': setting %u: %s", engine->link.name, order->serial,
            error ? error->message : "carried out");
}

gboolean ksm_report_exchange(KsmEngine *engine)
{
    KsmMsgGroup group;

    if (!exchange_once(engine, &group)) {
        return FALSE;
    }
    if (group.setting.serial &&
        group.setting.serial != engine->report.setting_serial) {
        obey(engine, &group.setting);
        if (!exchange_once(engine, &group)) {
            return FALSE;
        }
    }
    if (group.map_serial && group.map_serial != engine->report.map_serial) {
        engine->report.map_serial = group.map_serial;
        return ksm_page_map_send(engine, group.map_serial);
    }
    return TRUE;
}

/* Whether the broker knows everything, and says by WAKE if it wants something. */
static gboolean has_nothing_new(KsmEngine *engine)
{
    KsmMsgStats msg;

    if (!engine->turn.quiet || !ksm_broker_client_is_woken(&engine->broker)) {
        return FALSE;
    }
    fill(engine, &msg);
    keep_steady(&msg);
    return memcmp(&msg, &engine->report.last, sizeof(msg)) == 0;
}

gboolean ksm_report_if_due(KsmEngine *engine)
{
    guint64 since = ksm_sys_now_ns() - engine->report.reported_ns;

    return !ksm_broker_client_connected(&engine->broker) ||
           since < KSM_REPORT_MS * G_GUINT64_CONSTANT(900000) ||
           (since < KSM_REPORT_QUIET_MS * G_GUINT64_CONSTANT(900000) &&
            has_nothing_new(engine)) ||
           ksm_report_exchange(engine);
}
