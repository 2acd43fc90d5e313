/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * publish.c: copies pages to the broker, in runs, and repeated content as
 * tiles.
 *
 * The copy is made from the live page.  The guest may change the page during
 * the copy, which is usually noticed here, or a hostile client may change it
 * in the bulk memory.  The broker then files its copy under the fingerprint of
 * that copy, and the page fails the comparison with its slot and stays
 * private.  So the page need not be isolated for this.
 *
 * A row of adjacent pages with the same content is published once, as a tile
 * of at most a quarter of the row, so that a row of n pages costs about 4 to 8
 * mappings, or n / 64; its other pages are to be looked up again.  The broker
 * recognises content that is repeated elsewhere.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "scan/publish.h"

#include "client/broker-client.h"
#include "core/pace.h"
#include "memory/ram.h"
#include "memory/region.h"
#include "pages/hwpoison.h"
#include "fingerprint.h"
#include "page-scan.h"

static const KsmFingerprinted *item_at(KsmEngine *engine, guint i)
{
    return &g_array_index(engine->batch.publishable, KsmFingerprinted, i);
}

static gboolean same_content(const KsmFingerprint *a, const KsmFingerprint *b)
{
    return a->hi == b->hi && a->lo == b->lo;
}

/* Number of adjacent pages with the same content, from item `first` on. */
static guint32 stretch_at(KsmEngine *engine, guint first)
{
    const KsmFingerprinted *item = item_at(engine, first);
    guint32 n = 1;

    while (first + n < engine->batch.publishable->len &&
           item[n].page == item->page + n &&
           same_content(&item[n].fingerprint, &item->fingerprint)) {
        n++;
    }
    return n;
}

/*
 * Guests have long rows of zeros (see zero.c), no matter which guest publishes
 * them first, and content is published only once: so zeros always get the
 * largest tile.
 */
static guint32 tile_order(KsmEngine *engine, const KsmFingerprinted *item,
                          guint32 stretch)
{
    guint32 quarter = stretch / 4;

    if (engine->zero.none) {
        KsmFingerprint zeros = ksm_fingerprint_zeros();

        if (same_content(&item->fingerprint, &zeros)) {
            return KSM_MAX_TILE_ORDER;
        }
    }
    return quarter ?
               MIN((guint32)g_bit_storage(quarter) - 1, KSM_MAX_TILE_ORDER) :
               0;
}

/* Files the answers to a PUBLISH of `pages`. */
static void file_published(KsmEngine *engine, const guint32 *pages,
                           const KsmAnswer *answers, guint32 count)
{
    guint32 i;

    for (i = 0; i < count; i++) {
        KsmMatch match = { .page = pages[i], .slot = answers[i].slot };

        if (answers[i].kind == KSM_ANSWER_SLOT) {
            g_array_append_val(engine->batch.matches, match);
        } else {
            engine->stats.counters.refused_broker++;
            ksm_ram_back_off(engine->batch.region, pages[i], KSM_PAGE_EXCLUDED);
        }
    }
}

/*
 * Copies a page into the bulk memory.  FALSE if the guest has written to it
 * since it was looked up; this saves the store a useless slot.
 */
static gboolean copy_page(KsmEngine *engine, const KsmFingerprinted *item,
                          guint32 place)
{
    guint8 *copy = ksm_broker_client_content(&engine->broker, place);
    KsmRegion *region = engine->batch.region;
    guint32 page = item->page;
    KsmPageScan scan = { .content = copy };
    KsmFingerprint fingerprint;

    if (!ksm_read_copy(copy, ksm_ram_address(region, page), KSM_PAGE_BYTES) &&
        ksm_hwpoison_probe(engine, region, page, 1)) {
        return FALSE;
    }
    ksm_scan_pages(&scan, 1);
    fingerprint = ksm_page_scan_fingerprint(&scan);
    if (!scan.failed && same_content(&fingerprint, &item->fingerprint)) {
        return TRUE;
    }
    engine->stats.counters.refused_torn++;
    ksm_ram_back_off(region, page, KSM_PAGE_PRIVATE);
    return FALSE;
}

/* Publishes items from *next on until the bulk memory is full. */
static gboolean publish_some(KsmEngine *engine, guint *next, GArray *repeated)
{
    KsmPublish *request = ksm_broker_client_items(&engine->broker);
    guint32 pages[KSM_BATCH_PUBLISH];
    guint32 count = 0, replied;

    while (*next < engine->batch.publishable->len &&
           count < KSM_BATCH_PUBLISH) {
        const KsmFingerprinted *item = item_at(engine, *next);
        guint32 stretch = stretch_at(engine, *next);

        *next += stretch;
        g_array_append_vals(repeated, item + 1, stretch - 1);
        if (!copy_page(engine, item, count)) {
            continue;
        }
        request[count] = (KsmPublish) {
            .page = ksm_ram_session_page(engine->batch.region, item->page),
            .tile_order = tile_order(engine, item, stretch),
        };
        pages[count++] = item->page;
    }
    if (!count) {
        return TRUE;
    }
    if (!ksm_broker_client_call(&engine->broker, KSM_MSG_PUBLISH, count,
                                &replied)) {
        return FALSE;
    }
    engine->stats.counters.publishes += count;
    file_published(engine, pages, ksm_broker_client_reply(&engine->broker),
                   replied);
    return TRUE;
}

gboolean ksm_publish_all(KsmEngine *engine, GArray *repeated)
{
    guint next = 0;

    while (next < engine->batch.publishable->len &&
           !ksm_pace_interrupted(engine)) {
        if (!publish_some(engine, &next, repeated)) {
            return FALSE;
        }
        ksm_pace_safe_point(engine);
    }
    return TRUE;
}
