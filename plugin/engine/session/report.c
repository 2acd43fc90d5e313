/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.c: figures to the broker; the group's, and orders, from it.
 *
 * The broker never speaks first, so its orders wait for our next report, which
 * comes after each round and at least about once a second, whatever the run
 * mode.  An order takes the way that a program's own calls take
 * (ksm_engine_set_*), with the same checks: a wrong or hostile broker can make
 * the engine pause or hurry, which costs savings or CPU time, and no more.  It
 * is acknowledged at once by a second report.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "session/report.h"

#include "client/broker-client.h"
#include "core/stats.h"
#include "session/page-map.h"
#include "sys.h"

G_STATIC_ASSERT(KSM_WINDOW_BUCKETS == KSM_STATS_WINDOW_BUCKETS);

void ksm_report_begin(KsmEngine *engine)
{
    engine->report.order_serial = engine->report.order_error =
        engine->report.map_serial = 0;
    g_clear_pointer(&engine->report.order_reason, g_free);
}

static void fill_states(KsmMsgStats *msg, const KsmStats *s)
{
    msg->pages_total = s->pages_total;
    msg->pages_untouched = s->pages_untouched;
    msg->pages_volatile = s->pages_volatile;
    msg->pages_unshared = s->pages_unshared;
    msg->pages_sharing = s->pages_sharing;
    msg->zero_pages = s->zero_pages;
    msg->pages_broken = s->pages_broken;
    msg->pages_excluded = s->pages_excluded;
    msg->pages_hwpoison = s->pages_hwpoison;
    msg->pages_kept_huge = s->pages_kept_huge;
    msg->pages_resting = s->pages_resting;
}

static void fill_counters(KsmMsgStats *msg, const KsmStats *s)
{
    guint i;

    msg->full_scans = s->full_scans;
    msg->merges = s->merges;
    msg->zero_merges = s->zero_merges;
    msg->breaks = s->breaks;
    msg->rollbacks = s->rollbacks;
    msg->refused_pinned = s->refused_pinned;
    msg->refused_budget = s->refused_budget;
    msg->refused_torn = s->refused_torn;
    msg->refused_broker = s->refused_broker;
    msg->refused_error = s->refused_error;
    msg->refused_held = s->refused_held;
    msg->given_back = s->given_back;
    msg->collapses = s->collapses;
    msg->fingerprints = s->fingerprints;
    msg->lookups = s->lookups;
    msg->publishes = s->publishes;
    msg->hints = s->hints;
    msg->broker_requests = s->broker_requests;
    msg->broker_losses = s->broker_losses;
    msg->cpu_ns = s->cpu_ns;
    msg->windows = s->windows;
    msg->window_ns_total = s->window_ns_total;
    msg->window_ns_max = s->window_ns_max;
    for (i = 0; i < KSM_WINDOW_BUCKETS; i++) {
        msg->window_us_histogram[i] = s->window_us_histogram[i];
    }
}

static void fill_present(KsmMsgStats *msg, KsmEngine *engine,
                         const KsmStats *s)
{
    msg->runs = s->runs;
    msg->mappings = s->mappings;
    msg->max_mappings = s->max_mappings;
    msg->metadata_bytes = s->metadata_bytes;
    msg->round_ns = s->round_ns;
    msg->general_profit = s->general_profit;
    msg->state = s->state;
    msg->degraded = s->degraded;
    msg->interval_ms = (guint32)s->scan_interval_ms;
    msg->run = g_atomic_int_get(&engine->tunables.run);
    msg->scan_cpu_percent = ksm_engine_get_scan_cpu_percent(engine);
    msg->scan_interval_ms = ksm_engine_get_scan_interval(engine);
    msg->max_mappings_set = ksm_engine_get_max_mappings(engine);
    msg->keep_huge = ksm_engine_get_keep_huge(engine);
    msg->order_serial = engine->report.order_serial;
    msg->order_error = engine->report.order_error;
    g_strlcpy(msg->order_reason, engine->report.order_reason ?: "",
              sizeof(msg->order_reason));
    g_strlcpy(msg->stand_aside, s->stand_aside ?: "",
              sizeof(msg->stand_aside));
}

static gboolean exchange_once(KsmEngine *engine, KsmMsgGroup *group)
{
    KsmMsgStats msg = { 0 };
    KsmStats stats;

    ksm_stats_collect(engine, &stats);
    fill_states(&msg, &stats);
    fill_counters(&msg, &stats);
    fill_present(&msg, engine, &stats);
    if (!ksm_broker_client_stats(&engine->broker, &msg, group)) {
        return FALSE;
    }
    engine->report.reported_ns = ksm_sys_now_ns();
    engine->figures.counters.group_pages_shared = group->pages_shared;
    engine->figures.counters.group_pages_sharing = group->pages_sharing;
    engine->figures.counters.group_pages_unshared = group->pages_unshared;
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

/* The fields in turn, up to the first that cannot be. */
static gboolean carry_out(KsmEngine *engine, const KsmOrder *order,
                          GError **errp)
{
    if ((order->fields & ~KSM_ORDER_ALL) != 0) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_UNSUPPORTED,
                    "This library is older than the broker and does not know "
                    "all of the order");
        return FALSE;
    }
    return (!(order->fields & KSM_ORDER_SCAN_CPU_PERCENT) ||
            ksm_engine_set_scan_cpu_percent(engine, order->scan_cpu_percent,
                                            errp)) &&
           (!(order->fields & KSM_ORDER_SCAN_INTERVAL) ||
            ksm_engine_set_scan_interval(engine, order->scan_interval_ms,
                                         errp)) &&
           (!(order->fields & KSM_ORDER_MAX_MAPPINGS) ||
            ksm_engine_set_max_mappings(engine, order->max_mappings, errp)) &&
           (!(order->fields & KSM_ORDER_KEEP_HUGE) ||
            ksm_engine_set_keep_huge(engine, order->keep_huge, errp)) &&
           (!(order->fields & KSM_ORDER_RUN) ||
            set_run(engine, order->run, errp));
}

static void obey(KsmEngine *engine, const KsmOrder *order)
{
    g_autoptr(GError) error = NULL;

    engine->report.order_serial = order->serial;
    g_clear_pointer(&engine->report.order_reason, g_free);
    engine->report.order_error = 0;
    if (!carry_out(engine, order, &error)) {
        engine->report.order_error = (guint32)error->code;
        engine->report.order_reason = g_strdup(error->message);
    }
    g_debug("'%s': order %u: %s", engine->link.name, order->serial,
            error ? error->message : "carried out");
}

gboolean ksm_report_exchange(KsmEngine *engine)
{
    KsmMsgGroup group;

    if (!exchange_once(engine, &group)) {
        return FALSE;
    }
    if (group.order.serial &&
        group.order.serial != engine->report.order_serial) {
        obey(engine, &group.order);
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

gboolean ksm_report_if_due(KsmEngine *engine)
{
    guint64 due = engine->report.reported_ns +
                  KSM_REPORT_MS * G_GUINT64_CONSTANT(900000);

    return !ksm_broker_client_connected(&engine->broker) ||
           ksm_sys_now_ns() < due || ksm_report_exchange(engine);
}
