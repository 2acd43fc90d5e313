/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* engine.c: the public API of engines: creation, start, options at run time. */
#include "core/engine-private.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/broker-client.h"
#include "core/budget.h"
#include "core/kernel-guard.h"
#include "core/lock.h"
#include "core/options.h"
#include "core/pace.h"
#include "core/stats.h"
#include "memory/fork-guard.h"
#include "memory/isolation.h"
#include "memory/ram.h"
#include "memory/tracker.h"
#include "pages/giveback.h"
#include "scan/round.h"
#include "scan/scanner.h"
#include "session/connection.h"
#include "error.h"
#include "session-name.h"
#include "sys.h"
#include "core/zero.h"

gboolean ksm_check_requirements(GError **errp)
{
    KsmTracker tracker;

    if (!ksm_tracker_open(&tracker, errp)) {
        return FALSE;
    }
    ksm_tracker_close(&tracker);
    return TRUE;
}

static void free_parts(KsmEngine *engine)
{
    ksm_budget_leave(engine);
    ksm_broker_client_close(&engine->broker);
    ksm_giveback_close(engine);
    ksm_zero_close(engine);
    ksm_isolation_close(&engine->isolation);
    ksm_tracker_close(&engine->tracker);
    if (engine->lock.sleep_fd >= 0) {
        close(engine->lock.sleep_fd);
    }
    if (engine->lock.wake_fd >= 0) {
        close(engine->lock.wake_fd);
    }
    g_ptr_array_free(engine->ram.regions, TRUE);
    g_array_free(engine->releases.withdrawn, TRUE);
    g_array_free(engine->releases.released, TRUE);
    g_array_free(engine->batch.idle, TRUE);
    g_array_free(engine->batch.matches, TRUE);
    g_array_free(engine->batch.publishable, TRUE);
    g_mutex_clear(&engine->lock.work);
    g_mutex_clear(&engine->place_lock);
    g_mutex_clear(&engine->lock.sleep);
    g_mutex_clear(&engine->stats.lock);
    g_cond_clear(&engine->lock.sleep_cond);
    g_free(engine->link.name);
    g_free(engine->link.group);
    g_free(engine->link.broker_path);
    g_free(engine->report.setting_reason);
    g_free(engine);
}

/* The engine's name in messages and, for display, at the broker. */
static char *name_of(const char *name)
{
    if (!name || !*name) {
        name = g_get_prgname() ? g_get_prgname() : "guest";
    }
    return ksm_session_name(name, KSM_NAME_VM_MAX, KSM_NAME_BACKEND_MAX);
}

static KsmEngine *make_parts(const KsmOptions *options)
{
    KsmEngine *engine = g_new0(KsmEngine, 1);

    engine->link.name = name_of(options->name);
    engine->link.group = g_strdup(options->group);
    engine->link.broker_path = options->broker ? g_strdup(options->broker) :
                                                 ksm_default_broker_path();
    engine->link.start_broker = options->start_broker;
    engine->link.required = options->required;
    engine->tunables.run = options->run;
    engine->tunables.scan_cpu_percent = options->scan_cpu_percent;
    engine->tunables.scan_interval_ms = options->scan_interval_ms;
    engine->turn.interval_ms = options->scan_interval_ms;
    engine->turn.run = options->run;
    engine->tunables.max_mappings = options->max_mappings;
    engine->tunables.keep_huge = options->keep_huge;
    engine->program.stand_aside = options->stand_aside;
    engine->program.notify = options->notify;
    engine->program.opaque = options->opaque;
    engine->ram.regions = g_ptr_array_new();
    engine->releases.withdrawn = g_array_new(FALSE, FALSE, sizeof(KsmRange));
    engine->releases.released = g_array_new(FALSE, FALSE, sizeof(KsmRange));
    engine->batch.idle = g_array_new(FALSE, FALSE, sizeof(guint32));
    engine->batch.matches = g_array_new(FALSE, FALSE, sizeof(KsmMatch));
    engine->batch.publishable = g_array_new(FALSE, FALSE,
                                            sizeof(KsmFingerprinted));
    g_mutex_init(&engine->lock.work);
    g_mutex_init(&engine->place_lock);
    g_mutex_init(&engine->lock.sleep);
    g_mutex_init(&engine->stats.lock);
    g_cond_init(&engine->lock.sleep_cond);
    ksm_kernel_guard_init(&engine->kernel);
    engine->tracker.uffd = engine->tracker.pagemap = -1;
    engine->sync_uffd = -1;
    engine->lock.sleep_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    engine->lock.wake_fd = eventfd(0,
                                   EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    ksm_broker_client_init(&engine->broker, engine->lock.wake_fd,
                           options->node);
    return engine;
}

KsmEngine *ksm_engine_new(const KsmOptions *options, GError **errp)
{
    KsmEngine *engine;

    if (!ksm_options_check(options, errp)) {
        return NULL;
    }
    engine = make_parts(options);
    if (!ksm_broker_client_draw_id(&engine->broker, errp) ||
        !ksm_tracker_open(&engine->tracker, errp) ||
        !ksm_isolation_open(&engine->isolation, engine->tracker.uffd,
                            engine->tracker.pagemap, errp)) {
        free_parts(engine);
        return NULL;
    }
    engine->isolation.writers = (KsmWriters) {
        .dma_in_flight = options->dma_in_flight,
        .stand_aside = options->stand_aside,
        .opaque = options->opaque,
    };
    ksm_giveback_open(engine);
    engine->merges_any = ksm_sys_merges_any();
    ksm_zero_ask(engine);
    ksm_fork_guard_install(ksm_budget_reset_in_child);
    ksm_stats_publish(engine);
    return engine;
}

gboolean ksm_engine_start(KsmEngine *engine, GError **errp)
{
    GError *error = NULL;
    gboolean ok;

    g_mutex_lock(&engine->lock.work);
    ok = ksm_connection_open(engine, &error);
    g_mutex_unlock(&engine->lock.work);
    if (!ok && engine->link.required) {
        g_propagate_error(errp, error);
        return FALSE;
    }
    if (!ok) {
        g_warning("%s; '%s' will not share memory until a broker is available",
                  error->message, engine->link.name);
        g_error_free(error);
    }
    if (ksm_sys_max_map_count() < 65530) {
        g_warning("vm.max_map_count is %u: sharing will soon run out of "
                  "mappings; set it to 1048576",
                  ksm_sys_max_map_count());
    }
    ksm_kernel_guard_warn(&engine->kernel, engine->link.name);
    /* The thread reads this under the lock, to recognise itself. */
    ksm_engine_lock(engine);
    engine->thread = g_thread_try_new("ksm-scanner", ksm_scanner_thread, engine,
                                      &error);
    ksm_engine_unlock(engine);
    if (!engine->thread) {
        g_propagate_prefixed_error(errp, error,
                                   "Could not start the scanner "
                                   "of '%s': ",
                                   engine->link.name);
        return FALSE;
    }
    return TRUE;
}

void ksm_engine_free(KsmEngine *engine)
{
    if (!engine) {
        return;
    }
    if (engine->thread) {
        g_mutex_lock(&engine->lock.sleep);
        engine->lock.stop = TRUE;
        g_mutex_unlock(&engine->lock.sleep);
        ksm_engine_lock(engine);
        ksm_engine_unlock(engine);
        g_thread_join(engine->thread);
        engine->thread = NULL;
    }
    while (engine->ram.regions->len) {
        ksm_region_remove(g_ptr_array_index(engine->ram.regions, 0));
    }
    free_parts(engine);
}

void ksm_engine_suspend(KsmEngine *engine, const char *reason)
{
    ksm_engine_lock(engine);
    engine->turn.suspended++;
    engine->turn.suspend_reason = reason;
    engine->turn.standing_aside = reason;
    ksm_stats_publish(engine);
    ksm_engine_unlock(engine);
    ksm_lock_wake(engine, TRUE); /* the scanner detaches then */
}

void ksm_engine_detach(KsmEngine *engine)
{
    gboolean suspended;

    ksm_engine_lock(engine);
    suspended = engine->turn.suspended > 0;
    if (suspended) {
        ksm_scanner_detach(engine, TRUE);
    }
    ksm_engine_unlock(engine);
    g_return_if_fail(suspended);
}

void ksm_engine_resume(KsmEngine *engine)
{
    gboolean matched;

    ksm_engine_lock(engine);
    matched = engine->turn.suspended > 0;
    engine->turn.suspended -= matched;
    ksm_engine_unlock(engine);
    g_return_if_fail(matched);
    ksm_lock_wake(engine, TRUE);
}

void ksm_engine_run_round(KsmEngine *engine)
{
    guint wanted;

    g_mutex_lock(&engine->lock.sleep);
    wanted = ++engine->lock.rounds_requested;
    ksm_lock_rouse(engine);
    while ((gint)(engine->lock.rounds_done - wanted) < 0 &&
           !engine->lock.stop) {
        g_cond_wait(&engine->lock.sleep_cond, &engine->lock.sleep);
    }
    g_mutex_unlock(&engine->lock.sleep);
}

const char *ksm_engine_get_group(KsmEngine *engine)
{
    return engine->link.group;
}

const char *ksm_engine_get_name(KsmEngine *engine)
{
    return engine->link.name;
}
