/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connection.c: what a new connection means for the pages.
 *
 * Losing the broker loses nothing: shared pages stay mapped, because the store
 * exists as long as a process maps it.  When the engine connects again:
 *   - to the same broker, which still has this engine's bindings ("resumed"):
 *     listings were dropped with the old connection, so candidates become
 *     private again.  Every page that is not in the store is released, because
 *     answers that were in transit may have bound it without the engine's
 *     knowledge.
 *   - to another broker that takes over the store ("handed"): it knows nothing
 *     of the engine's pages, and frees no slot of the store until it does.  All
 *     mapped slots are reported (RECLAIM), and are bound as before.  Bindings
 *     at the old broker that were not used went with it.  A connection that
 *     ends halfway through does no harm: the next one reports everything again,
 *     and releases what was reported over the first one and given back since.
 *     The same if the broker has no memory for it now: another attempt later
 *     costs less than a store that nobody frees.
 *   - to another broker with another store: no reference is held for the slots
 *     that are mapped, and they will never be freed.  Those pages are marked
 *     orphaned: they are still shared with all processes that map the same old
 *     store, no new page joins them, they are released to no broker, and they
 *     are given back gradually to be shared again.
 *
 * Between attempts there is a delay, which doubles each time.  A connection
 * resets it only if it was useful: a whole round was done with it, or it
 * lasted.  So a broker that is polite at first and then lies or hangs up is
 * tried as rarely as one that does not exist.
 *
 * Thread: the scanner's or ksm_engine_start()'s, under the work lock.
 */
#include "session/connection.h"

#include "client/broker-client.h"
#include "client/broker-launch.h"
#include "core/lock.h"
#include "core/pace.h"
#include "core/releases.h"
#include "memory/page-state.h"
#include "memory/ram.h"
#include "memory/region.h"
#include "session/report.h"
#include "error.h"
#include "sys.h"

#define KSM_RETRY_FIRST_MS 100u
#define KSM_LAUNCH_WAIT_MS 3000u
#define NS_PER_MS G_GUINT64_CONSTANT(1000000)

typedef void (*PageFunc)(KsmEngine *engine, KsmRegion *region, guint32 page);

static void each_page(KsmEngine *engine, PageFunc function)
{
    guint i;

    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);
        guint32 page;

        for (page = 0; page < region->pages; page++) {
            function(engine, region, page);
        }
    }
}

/* Makes a candidate private, to be looked up again (at another broker). */
static void forget_candidate(KsmEngine *engine, KsmRegion *region, guint32 page)
{
    (void)engine;
    if (ksm_page_state(region->state[page]) == KSM_PAGE_CANDIDATE ||
        ksm_page_is_spared(region->state[page])) {
        ksm_ram_retry(region, page);
    }
}

static void release_unmapped(KsmEngine *engine, KsmRegion *region, guint32 page)
{
    if (!ksm_page_in_store(region->state[page])) {
        ksm_releases_add(engine, region, page);
    }
}

static void mark_orphaned(KsmEngine *engine, KsmRegion *region, guint32 page)
{
    if (ksm_page_in_store(region->state[page])) {
        region->state[page] |= KSM_PAGE_ORPHANED;
        engine->lost = TRUE;
    }
}

/* Number of pages from `page` on that map consecutive slots; 0: none. */
static guint32 held_stretch(const KsmRegion *region, guint32 page)
{
    guint32 n = 0;

    while (page + n < region->pages &&
           ksm_page_in_store(region->state[page + n]) &&
           !(region->state[page + n] & KSM_PAGE_ORPHANED) &&
           region->slot[page + n] == region->slot[page] + n) {
        n++;
    }
    return n;
}

static gboolean send_reclaims(KsmEngine *engine, guint32 *count)
{
    gboolean ok = ksm_broker_client_call(&engine->broker, KSM_MSG_RECLAIM,
                                         *count, NULL);

    *count = 0;
    return ok;
}

static gboolean reclaim_region(KsmEngine *engine, const KsmRegion *region)
{
    KsmReclaimRange *items = ksm_broker_client_items(&engine->broker);
    guint32 page = 0, count = 0;

    while (page < region->pages) {
        guint32 n = held_stretch(region, page);

        if (n) {
            items[count++] = (KsmReclaimRange) {
                ksm_ram_session_page(region, page),
                region->slot[page],
                n,
            };
        }
        if (count == KSM_BATCH_RECLAIMS && !send_reclaims(engine, &count)) {
            return FALSE;
        }
        page += MAX(n, 1);
    }
    return !count || send_reclaims(engine, &count);
}

/* Reports all mapped slots, and then that this is all. */
static gboolean reclaim_everything(KsmEngine *engine)
{
    guint32 none = 0;
    guint i;

    for (i = 0; i < engine->ram.regions->len; i++) {
        if (!reclaim_region(engine,
                            g_ptr_array_index(engine->ram.regions, i))) {
            return FALSE;
        }
    }
    return send_reclaims(engine, &none);
}

/* The store will not be taken over: start with a new one. */
static void give_store_up(KsmEngine *engine)
{
    g_warning("The new broker does not take over the shared pages of '%s': "
              "they stay shared, but new guests cannot share them",
              engine->link.name);
    each_page(engine, mark_orphaned);
    ksm_broker_client_forget_store(&engine->broker);
}

static gboolean reclaim_all(KsmEngine *engine, GError **errp)
{
    if (reclaim_everything(engine)) {
        return TRUE;
    }
    if (engine->broker.refusal && engine->broker.refusal != KSM_ERROR_LIMIT) {
        give_store_up(engine);
    }
    /* A broker that lacks memory is there: no other one is to be started. */
    g_set_error(errp, KSM_ERROR,
                engine->broker.refusal == KSM_ERROR_LIMIT ? KSM_ERROR_LIMIT :
                                                            KSM_ERROR_NO_BROKER,
                "Lost the broker while handing over shared pages");
    return FALSE;
}

static gboolean try_connect(KsmEngine *engine, GError **errp)
{
    KsmWelcome welcome;

    if (!ksm_broker_client_connect(&engine->broker, engine->link.broker_path,
                                   engine->link.group, engine->link.name,
                                   engine->ram.session_pages, &welcome, errp)) {
        if (ksm_broker_client_store_refused(&engine->broker)) {
            give_store_up(engine);
        }
        return FALSE;
    }
    g_array_set_size(engine->releases.withdrawn, 0);
    g_array_set_size(engine->releases.released, 0);
    g_array_set_size(engine->batch.matches, 0);
    each_page(engine, forget_candidate);
    if (welcome == KSM_WELCOME_NEW) {
        each_page(engine, mark_orphaned);
    } else {
        if (welcome == KSM_WELCOME_HANDED && !reclaim_all(engine, errp)) {
            return FALSE;
        }
        each_page(engine, release_unmapped);
    }
    engine->link.was_connected = engine->link.is_connected = TRUE;
    engine->link.was_useful = FALSE;
    engine->link.connected_ns = ksm_sys_now_ns();
    ksm_pace_forget_grant(engine);
    ksm_report_begin(engine);
    return TRUE;
}

/* Starts a broker and waits until it listens. */
static gboolean launch(KsmEngine *engine, GError **errp)
{
    guint waited = 0;

    if (!ksm_broker_launch(engine->link.broker_path, errp)) {
        return FALSE;
    }
    for (;;) {
        GError *error = NULL;

        if (try_connect(engine, &error)) {
            return TRUE;
        }
        if (!g_error_matches(error, KSM_ERROR, KSM_ERROR_NO_BROKER) ||
            waited >= KSM_LAUNCH_WAIT_MS || ksm_lock_waited_for(engine)) {
            g_propagate_error(errp, error);
            return FALSE;
        }
        g_error_free(error);
        g_usleep(10000);
        waited += 10;
    }
}

gboolean ksm_connection_open(KsmEngine *engine, GError **errp)
{
    GError *error = NULL;

    if (try_connect(engine, &error)) {
        return TRUE;
    }
    if (engine->link.start_broker &&
        g_error_matches(error, KSM_ERROR, KSM_ERROR_NO_BROKER)) {
        g_clear_error(&error);
        if (launch(engine, &error)) {
            return TRUE;
        }
    }
    g_propagate_error(errp, error);
    return FALSE;
}

/* Lengthens the delay before the next attempt. */
static void pause_longer(KsmEngine *engine)
{
    engine->link.retry_ms = CLAMP(engine->link.retry_ms * 2, KSM_RETRY_FIRST_MS,
                                  KSM_RETRY_MAX_MS);
    engine->link.retry_at_ns = ksm_sys_now_ns() +
                               engine->link.retry_ms * NS_PER_MS;
}

/* The connection existed at the last check, and is lost. */
static void note_loss(KsmEngine *engine)
{
    guint64 lasted_ns = ksm_sys_now_ns() - engine->link.connected_ns;

    engine->link.is_connected = FALSE;
    engine->stats.counters.broker_losses++;
    if (engine->link.was_useful || lasted_ns >= KSM_RETRY_MAX_MS * NS_PER_MS) {
        engine->link.retry_ms = 0;
    }
    pause_longer(engine);
}

gboolean ksm_connection_keep(KsmEngine *engine)
{
    GError *error = NULL;

    if (ksm_broker_client_connected(&engine->broker)) {
        return TRUE;
    }
    if (engine->link.is_connected) {
        note_loss(engine);
    }
    if (ksm_sys_now_ns() < engine->link.retry_at_ns) {
        return FALSE;
    }
    if (ksm_connection_open(engine, &error)) {
        g_message("'%s' is connected to the broker at '%s'", engine->link.name,
                  engine->link.broker_path);
        return TRUE;
    }
    g_debug("%s", error->message);
    g_error_free(error);
    pause_longer(engine);
    return FALSE;
}

guint64 ksm_connection_retry_ms(KsmEngine *engine)
{
    guint64 now = ksm_sys_now_ns();

    return engine->link.retry_at_ns > now ?
               (engine->link.retry_at_ns - now) / 1000000 + 1 :
               1;
}
