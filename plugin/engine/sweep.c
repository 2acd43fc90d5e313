/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sweep.c: calm pages, from finding them to having them merged.
 *
 * Taken in batches small enough that a page is still in the processor's cache
 * when it is published, compared and merged after its fingerprint was made;
 * reading a page from memory costs three times as much.  Runs longer than a
 * batch are joined by the kernel, as their slots follow each other.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "sweep.h"

#include <string.h>

#include "fingerprint.h"
#include "merge.h"
#include "pace.h"
#include "publish.h"
#include "report.h"
#include "round.h"

/* Calm pages taken together: 2 MiB (of 256 to 4096 the cheapest). */
#define KSM_SWEEP_PAGES     512u
/* Pages between two looks at the clock. */
#define KSM_REST_PAGES      256u

G_STATIC_ASSERT(KSM_SWEEP_PAGES <= KSM_BATCH_LOOKUPS);

/* Files the answers to LOOKUP of `count` items. */
static void file_answers(KsmEngine *engine, const KsmLookup *items,
                         const KsmAnswer *answers, guint32 count)
{
    guint32 i;

    for (i = 0; i < count; i++) {
        KsmRegion *region = ksm_engine_find_region(engine, items[i].page);
        guint32 page = items[i].page - region->base;
        KsmMatch match = { .page = items[i].page, .slot = answers[i].slot };
        KsmPublishable publishable = {
            .page = items[i].page, .fingerprint = items[i].fingerprint,
        };

        switch ((KsmAnswerKind)answers[i].kind) {
        case KSM_ANSWER_LISTED:
            ksm_ram_set_state(region, page, KSM_PAGE_CANDIDATE);
            region->wait[page] = engine->round;
            break;
        case KSM_ANSWER_SLOT:
            g_array_append_val(engine->matches, match);
            break;
        case KSM_ANSWER_PUBLISH:
            g_array_append_val(engine->publishable, publishable);
            break;
        case KSM_ANSWER_REFUSED:
        default:
            engine->counters.refused_broker++;
            ksm_ram_back_off(region, page, KSM_PAGE_EXCLUDED);
            break;
        }
    }
}

gboolean ksm_sweep_look_up(KsmEngine *engine, const KsmLookup *items,
                           guint32 count)
{
    const KsmAnswer *answers;
    guint32 replied;

    if (!count) {
        return TRUE;
    }
    memcpy(ksm_broker_client_items(&engine->broker), items,
           count * sizeof(KsmLookup));
    if (!ksm_broker_client_call(&engine->broker, KSM_MSG_LOOKUP, count,
                                &replied)) {
        return FALSE;
    }
    engine->counters.lookups += count;
    answers = ksm_broker_client_reply(&engine->broker);
    file_answers(engine, items, answers, replied);
    return TRUE;
}

/* Zero pages found in a row; they need nobody's answer. */
typedef struct KsmZeroRun {
    KsmRegion *region;
    guint32 first;
    guint32 count;
} KsmZeroRun;

static void flush_zeros(KsmEngine *engine, KsmZeroRun *run)
{
    if (run->count) {
        ksm_merge_zeros(engine, run->region, run->first, run->count);
        run->count = 0;
    }
}

static void add_zero(KsmEngine *engine, KsmZeroRun *run, KsmRegion *region,
                     guint32 page)
{
    if (run->count == KSM_WINDOW_PAGES || run->region != region ||
        run->first + run->count != page) {
        flush_zeros(engine, run);
        run->region = region;
        run->first = page;
    }
    run->count++;
}

/* Fingerprints the calm pages; returns how many wait for an answer. */
static guint32 fingerprint_calm(KsmEngine *engine, KsmLookup *items)
{
    KsmZeroRun zeros = { 0 };
    guint32 count = 0;
    guint i;

    for (i = 0; i < engine->calm->len && !ksm_pace_interrupted(engine); i++) {
        guint32 number = g_array_index(engine->calm, guint32, i);
        KsmRegion *region = ksm_engine_find_region(engine, number);
        const guint8 *content = ksm_ram_address(region, number - region->base);

        engine->counters.fingerprints++;
        if (ksm_fingerprint_is_zero(content)) {
            add_zero(engine, &zeros, region, number - region->base);
        } else {
            items[count] = (KsmLookup) {
                .fingerprint = ksm_fingerprint_page(content), .page = number,
            };
            count++;
        }
        if (i % KSM_REST_PAGES == KSM_REST_PAGES - 1) {
            ksm_pace_rest(engine);
        }
    }
    flush_zeros(engine, &zeros);
    return count;
}

/* Looks the collected calm pages up, publishes, merges. */
static gboolean process_calm(KsmEngine *engine)
{
    g_autofree KsmLookup *items = g_new(KsmLookup, KSM_SWEEP_PAGES);
    guint32 count = fingerprint_calm(engine, items);
    gboolean ok;

    g_array_set_size(engine->calm, 0);
    ok = ksm_report_if_due(engine) &&
         ksm_sweep_look_up(engine, items, count) && ksm_publish_all(engine);
    g_array_set_size(engine->publishable, 0);
    if (!ok) {
        /* Lost with the connection, or kept by the process's session. */
        g_array_set_size(engine->matches, 0);
        return FALSE;
    }
    ksm_merge_matches(engine);
    ksm_merge_settle(engine);   /* zeros alone */
    return ksm_round_send_released(engine);
}

/* Whether the page's time has come; counts its rest down otherwise. */
static inline gboolean is_calm(KsmRegion *region, guint32 page)
{
    KsmPageState state = ksm_page_state(region->state[page]);

    if (state != KSM_PAGE_PRIVATE && state != KSM_PAGE_EXCLUDED) {
        return FALSE;
    }
    if (region->wait[page] > 1) {
        region->wait[page]--;
        return FALSE;
    }
    return TRUE;
}

gboolean ksm_sweep_region(KsmEngine *engine, KsmRegion *region)
{
    guint32 page;

    if (!region->counts[KSM_PAGE_PRIVATE] &&
        !region->counts[KSM_PAGE_EXCLUDED]) {
        return TRUE;
    }
    for (page = 0; page < region->pages; page++) {
        if (is_calm(region, page)) {
            guint32 number = region->base + page;

            g_array_append_val(engine->calm, number);
            if (engine->calm->len == KSM_SWEEP_PAGES &&
                !process_calm(engine)) {
                return FALSE;
            }
        }
        if (page % 4096 == 0 && ksm_pace_interrupted(engine)) {
            break;
        }
    }
    return !engine->calm->len || process_calm(engine);
}
