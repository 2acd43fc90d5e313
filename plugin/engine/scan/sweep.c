/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sweep.c: idle pages, from finding them to merging them.
 *
 * Batches are small enough that a page is still in the processor's cache when
 * it is published, compared and merged after it was fingerprinted; reading a
 * page from memory costs three times as much.  The kernel joins runs that are
 * longer than a batch, because their slots are consecutive.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "scan/sweep.h"

#include <string.h>

#include "client/broker-client.h"
#include "core/pace.h"
#include "memory/page-state.h"
#include "memory/ram.h"
#include "memory/region.h"
#include "pages/huge.h"
#include "pages/hwpoison.h"
#include "pages/merge.h"
#include "pages/waits.h"
#include "scan/lookup.h"
#include "scan/publish.h"
#include "session/release.h"
#include "session/report.h"
#include "page-scan.h"
#include "core/zero.h"

/* Idle pages in a batch: 2 MiB (the cheapest of 256 to 4096 pages). */
#define KSM_SWEEP_PAGES 512u
/* Pages between two safe points. */
#define KSM_SAFE_POINT_PAGES 256u
/* Pages read at once. */
#define KSM_SCAN_PAGES 32u

/* If huge pages are weighed, blocks are not divided between batches. */
#define KSM_SWEEP_MAX (KSM_SWEEP_PAGES + KSM_BLOCK_PAGES)

G_STATIC_ASSERT(KSM_SWEEP_MAX <= KSM_BATCH_LOOKUPS);

/* Gives zero pages (guint32) back, in runs. */
static void merge_zeros(KsmEngine *engine, GArray *zeros)
{
    guint i = 0;

    while (i < zeros->len && !ksm_pace_interrupted(engine)) {
        guint32 first = g_array_index(zeros, guint32, i), count = 1;

        while (i + count < zeros->len && count < KSM_WINDOW_PAGES &&
               g_array_index(zeros, guint32, i + count) == first + count) {
            count++;
        }
        ksm_merge_zeros(engine, engine->batch.region, first, count);
        i += count;
        ksm_pace_safe_point(engine);
    }
}

/* Reads idle pages from number `from` on, at most KSM_SCAN_PAGES. */
static guint32 scan_idle(KsmEngine *engine, guint from, KsmPageScan *scans)
{
    guint32 count = MIN(engine->batch.idle->len - from, KSM_SCAN_PAGES), i;

    for (i = 0; i < count; i++) {
        guint32 page = g_array_index(engine->batch.idle, guint32, from + i);

        scans[i].content = ksm_ram_address(engine->batch.region, page);
    }
    ksm_scan_pages(scans, count);
    engine->stats.counters.fingerprints += count;
    return count;
}

/* Fingerprints the idle pages; returns how many must be looked up. */
static guint32 fingerprint_idle(KsmEngine *engine, KsmFingerprinted *items,
                                GArray *zeros)
{
    KsmPageScan scans[KSM_SCAN_PAGES];
    guint32 count = 0, looked, j;
    guint i;

    for (i = 0; i < engine->batch.idle->len && !ksm_pace_interrupted(engine);
         i += looked) {
        looked = scan_idle(engine, i, scans);
        for (j = 0; j < looked; j++) {
            guint32 page = g_array_index(engine->batch.idle, guint32, i + j);

            if (scans[j].failed) {
                ksm_hwpoison_probe(engine, engine->batch.region, page, 1);
            } else if (scans[j].zero && ksm_zero_has_page(engine)) {
                g_array_append_val(zeros, page);
            } else {
                items[count++] = (KsmFingerprinted) {
                    .fingerprint = ksm_page_scan_fingerprint(&scans[j]),
                    .page = page,
                };
            }
        }
        if ((i + looked) % KSM_SAFE_POINT_PAGES == 0) {
            ksm_pace_safe_point(engine);
        }
    }
    return count;
}

/* Publishes pages, and looks up again those that may have got a slot. */
static gboolean publish(KsmEngine *engine)
{
    g_autoptr(GArray) repeated = NULL;

    if (!engine->batch.publishable->len) {
        return TRUE;
    }
    repeated = g_array_new(FALSE, FALSE, sizeof(KsmFingerprinted));
    if (!ksm_publish_all(engine, repeated)) {
        return FALSE;
    }
    return !repeated->len || ksm_pace_interrupted(engine) ||
           ksm_lookup_send(engine,
                           &g_array_index(repeated, KsmFingerprinted, 0),
                           repeated->len);
}

/* Looks up the collected idle pages, publishes, merges. */
static gboolean process_idle(KsmEngine *engine)
{
    g_autofree KsmFingerprinted *items = g_new(KsmFingerprinted, KSM_SWEEP_MAX);
    g_autoptr(GArray) zeros = g_array_new(FALSE, FALSE, sizeof(guint32));
    guint32 count = fingerprint_idle(engine, items, zeros);
    gboolean ok;

    g_array_set_size(engine->batch.idle, 0);
    ok = ksm_report_if_due(engine) && ksm_lookup_send(engine, items, count);
    if (ok) {
        ksm_huge_weigh(engine, zeros);
        merge_zeros(engine, zeros);
        ok = publish(engine);
    }
    g_array_set_size(engine->batch.publishable, 0);
    if (!ok) {
        /* Lost with the connection, or kept by the process's session. */
        g_array_set_size(engine->batch.matches, 0);
        return FALSE;
    }
    ksm_merge_matches(engine);
    ksm_register_pending(engine); /* for zeros alone */
    return ksm_release_send(engine);
}

/* Whether the page's wait is over; else counts it down. */
static inline gboolean is_idle(KsmEngine *engine, KsmRegion *region,
                               guint32 page)
{
    KsmPageState state = ksm_page_state(region->state[page]);

    if ((state != KSM_PAGE_PRIVATE && state != KSM_PAGE_EXCLUDED) ||
        ksm_page_is_spared(region->state[page])) {
        return FALSE;
    }
    return ksm_waits_over(engine, region, page);
}

/* Whether the idle pages up to this one fill a batch. */
static gboolean is_batch(KsmEngine *engine, const KsmRegion *region,
                         guint32 page)
{
    return engine->batch.idle->len >= KSM_SWEEP_PAGES &&
           (!ksm_huge_weighs(engine) ||
            (page + 1 - region->block_first) % KSM_BLOCK_PAGES == 0);
}

/* Sweeps pages [first, end); *stop: interrupted.  FALSE: broker is lost. */
static gboolean sweep_armed(KsmEngine *engine, KsmRegion *region, guint32 first,
                            guint32 end, gboolean *stop)
{
    guint32 page;

    for (page = first; page < end && !*stop; page++) {
        if (is_idle(engine, region, page)) {
            g_array_append_val(engine->batch.idle, page);
        }
        if (is_batch(engine, region, page) && !process_idle(engine)) {
            return FALSE;
        }
        *stop = page % 4096 == 0 && ksm_pace_interrupted(engine);
    }
    return TRUE;
}

gboolean ksm_sweep_region(KsmEngine *engine, KsmRegion *region)
{
    gboolean stop = FALSE;
    guint32 first, end;

    if (region->counts[KSM_PAGE_PRIVATE] + region->counts[KSM_PAGE_EXCLUDED] ==
        region->kept) {
        return TRUE;
    }
    engine->batch.region = region;
    for (first = ksm_ram_find_armed(region, 0, &end);
         first < region->pages && !stop;
         first = ksm_ram_find_armed(region, end, &end)) {
        if (!sweep_armed(engine, region, first, end, &stop)) {
            return FALSE;
        }
    }
    return !engine->batch.idle->len || process_idle(engine);
}
