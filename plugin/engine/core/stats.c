/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stats.c: the published snapshot of the statistics.
 *
 * The scanner counts in plain variables and copies them here at the end of a
 * turn and at safe points.  So a reader never waits for the scanner, and the
 * scanner never waits in a window.
 */
#include "core/stats.h"

#include <string.h>

#include "client/broker-client.h"
#include "memory/isolation.h"
#include "memory/ram.h"
#include "memory/tracker.h"
#include "sys.h"

/*
 * What the kernel needs for a mapping: vm_area_struct, and its part of a maple
 * node.  Measured on Linux 6.18 by the growth of Slab in /proc/meminfo with
 * 120,000 mappings: 256; the page tables are those of the memory without them.
 */
#define KSM_MAPPING_BYTES 256u

static void add_region(KsmStats *s, const KsmRegion *region)
{
    s->pages_total += region->pages;
    s->pages_untouched += region->counts[KSM_PAGE_UNTOUCHED];
    s->pages_volatile += region->counts[KSM_PAGE_PRIVATE];
    s->pages_unshared += region->counts[KSM_PAGE_CANDIDATE];
    s->pages_sharing += region->counts[KSM_PAGE_SHARED];
    s->zero_pages += region->counts[KSM_PAGE_ZERO];
    s->pages_broken += region->counts[KSM_PAGE_BROKEN];
    s->pages_excluded += region->counts[KSM_PAGE_EXCLUDED];
    s->pages_kept_huge += region->kept;
    s->pages_parked += (guint64)region->parked * KSM_BLOCK_PAGES;
    s->pages_hwpoison += region->hwpoison;
    s->mappings += region->mappings;
    s->runs += region->store_mappings;
    s->metadata_bytes += region->metadata_bytes;
}

/*
 * The tables are as long as the region, but only touched parts take memory: a
 * region of 512 GiB with 200 MiB in use has 2 MiB of tables, not 3 GiB.  The
 * kernel reports it in about a microsecond for each 100 MiB present.
 */
void ksm_stats_measure(KsmEngine *engine)
{
    guint i;

    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);
        guint64 pages =
            ksm_tracker_present_pages(&engine->tracker, region->state,
                                      region->pages) +
            ksm_tracker_present_pages(&engine->tracker, region->wait,
                                      region->pages) +
            ksm_tracker_present_pages(&engine->tracker, region->slot,
                                      (gsize)region->pages * sizeof(guint32));

        region->metadata_bytes = ksm_ram_fixed_bytes(region) +
                                 pages * KSM_PAGE_BYTES;
    }
}

static void add_isolation(KsmStats *s, const KsmIsolation *q)
{
    s->windows = q->windows;
    s->window_ns_total = q->window_ns_total;
    s->window_ns_max = q->window_ns_max;
    memcpy(s->window_us_histogram, q->window_us_histogram,
           sizeof(s->window_us_histogram));
}

/*
 * See guest-ksm.h; uses the group's statistics from the broker's last report.
 */
static gint64 general_profit(const KsmStats *s)
{
    double kept = 0;

    if (s->group_pages_sharing) {
        kept = (double)s->pages_sharing * (double)s->group_pages_shared /
               (double)s->group_pages_sharing;
        kept = MIN(kept, (double)s->pages_sharing);
    }
    return (gint64)((s->pages_sharing + s->zero_pages) * KSM_PAGE_BYTES) -
           (gint64)(kept * KSM_PAGE_BYTES) - (gint64)s->metadata_bytes -
           (gint64)(s->mappings * KSM_MAPPING_BYTES);
}

static KsmState state(const KsmEngine *engine, const KsmStats *s)
{
    if (s->stand_aside) {
        return KSM_STATE_STOOD_ASIDE;
    }
    if (engine->turn.run != KSM_RUN_RUN) {
        return engine->turn.run == KSM_RUN_PAUSE ? KSM_STATE_PAUSED :
                                                   KSM_STATE_UNMERGED;
    }
    return s->broker == KSM_BROKER_CONNECTED ? KSM_STATE_RUNNING :
                                               KSM_STATE_NO_BROKER;
}

void ksm_stats_collect(KsmEngine *engine, KsmStats *s)
{
    guint i;

    if (engine->thread == g_thread_self()) {
        engine->stats.counters.cpu_ns = ksm_sys_thread_cpu_ns();
    }
    *s = engine->stats.counters;
    for (i = 0; i < engine->ram.regions->len; i++) {
        add_region(s, g_ptr_array_index(engine->ram.regions, i));
    }
    add_isolation(s, &engine->isolation);
    s->max_mappings = engine->budget.allowed;
    s->stand_aside = engine->turn.standing_aside;
    s->broker = ksm_broker_client_connected(&engine->broker) ?
                    KSM_BROKER_CONNECTED :
                engine->link.was_connected ? KSM_BROKER_LOST :
                                             KSM_BROKER_NONE;
    s->state = state(engine, s);
    s->degraded = engine->notice.degraded;
    s->broker_requests = engine->broker.requests;
    s->general_profit = general_profit(s);
    s->scan_interval_ms = engine->turn.interval_ms;
    if (s->broker != KSM_BROKER_CONNECTED) {
        s->group_pages_shared = s->group_pages_sharing = 0;
        s->group_pages_unshared = 0;
    }
}

void ksm_stats_publish(KsmEngine *engine)
{
    KsmStats s;

    ksm_stats_collect(engine, &s);
    engine->stats.published_ns = ksm_sys_now_ns();
    g_mutex_lock(&engine->stats.lock);
    engine->stats.published = s;
    g_mutex_unlock(&engine->stats.lock);
}

void ksm_engine_get_stats(KsmEngine *engine, KsmStats *stats)
{
    g_mutex_lock(&engine->stats.lock);
    *stats = engine->stats.published;
    g_mutex_unlock(&engine->stats.lock);
    stats->run = g_atomic_int_get(&engine->tunables.run);
    stats->scan_cpu_percent = ksm_engine_get_scan_cpu_percent(engine);
    if (stats->state != KSM_STATE_RUNNING) {
        stats->scan_interval_ms = ksm_engine_get_scan_interval(engine);
    }
}
