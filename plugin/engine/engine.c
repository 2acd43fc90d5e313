/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine.c: the public API: engines, regions, options at run time.
 */
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
#include "memory/quarantine.h"
#include "memory/ram.h"
#include "memory/tracker.h"
#include "pages/giveback.h"
#include "scan/round.h"
#include "scan/scanner.h"
#include "session/connection.h"
#include "error.h"
#include "session-name.h"
#include "sys.h"

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
    ksm_quarantine_close(&engine->quarantine);
    ksm_tracker_close(&engine->tracker);
    if (engine->wake_fd >= 0) {
        close(engine->wake_fd);
    }
    g_ptr_array_free(engine->regions, TRUE);
    g_array_free(engine->withdrawn, TRUE);
    g_array_free(engine->released, TRUE);
    g_array_free(engine->calm, TRUE);
    g_array_free(engine->matches, TRUE);
    g_array_free(engine->publishable, TRUE);
    g_mutex_clear(&engine->work_lock);
    g_mutex_clear(&engine->place_lock);
    g_mutex_clear(&engine->sleep_lock);
    g_mutex_clear(&engine->stats_lock);
    g_cond_clear(&engine->sleep_cond);
    g_free(engine->name);
    g_free(engine->group);
    g_free(engine->broker_path);
    g_free(engine->order_reason);
    g_free(engine);
}

/* What it is called in messages, and by the broker to people. */
static char *name_of(const char *name)
{
    if (!name || !*name) {
        name = g_get_prgname() ? g_get_prgname() : "guest";
    }
    return ksm_session_name(name, KSM_NAME_VM_MOST, KSM_NAME_BACKEND_MOST);
}

static KsmEngine *make_parts(const KsmOptions *options)
{
    KsmEngine *engine = g_new0(KsmEngine, 1);

    engine->name = name_of(options->name);
    engine->group = g_strdup(options->group);
    engine->broker_path = options->broker ? g_strdup(options->broker) :
                          ksm_default_broker_path();
    engine->start_broker = options->start_broker;
    engine->required = options->required;
    engine->run = options->run;
    engine->scan_cpu_percent = options->scan_cpu_percent;
    engine->scan_interval_ms = options->scan_interval_ms;
    engine->interval_ms = options->scan_interval_ms;
    engine->turn_run = options->run;
    engine->max_mappings = options->max_mappings;
    engine->keep_huge = options->keep_huge;
    engine->stand_aside = options->stand_aside;
    engine->notify = options->notify;
    engine->opaque = options->opaque;
    engine->regions = g_ptr_array_new();
    engine->withdrawn = g_array_new(FALSE, FALSE, sizeof(KsmRange));
    engine->released = g_array_new(FALSE, FALSE, sizeof(KsmRange));
    engine->calm = g_array_new(FALSE, FALSE, sizeof(guint32));
    engine->matches = g_array_new(FALSE, FALSE, sizeof(KsmMatch));
    engine->publishable = g_array_new(FALSE, FALSE, sizeof(KsmPublishable));
    g_mutex_init(&engine->work_lock);
    g_mutex_init(&engine->place_lock);
    g_mutex_init(&engine->sleep_lock);
    g_mutex_init(&engine->stats_lock);
    g_cond_init(&engine->sleep_cond);
    ksm_kernel_guard_init(&engine->kernel);
    engine->tracker.uffd = engine->tracker.pagemap = -1;
    engine->sync_uffd = -1;
    engine->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    ksm_broker_client_init(&engine->broker, engine->wake_fd, options->node);
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
        !ksm_quarantine_open(&engine->quarantine, engine->tracker.uffd,
                             engine->tracker.pagemap, errp)) {
        free_parts(engine);
        return NULL;
    }
    engine->quarantine.writers = (KsmWriters) {
        .held = options->held,
        .stand_aside = options->stand_aside,
        .opaque = options->opaque,
    };
    ksm_giveback_open(engine);
    engine->merges_any = ksm_sys_merges_any();
    ksm_fork_guard_install(ksm_budget_reset_in_child);
    ksm_stats_publish(engine);
    return engine;
}

gboolean ksm_engine_start(KsmEngine *engine, GError **errp)
{
    GError *error = NULL;
    gboolean ok;

    g_mutex_lock(&engine->work_lock);
    ok = ksm_connection_open(engine, &error);
    g_mutex_unlock(&engine->work_lock);
    if (!ok && engine->required) {
        g_propagate_error(errp, error);
        return FALSE;
    }
    if (!ok) {
        g_warning("%s; '%s' shares nothing until one is there",
                  error->message, engine->name);
        g_error_free(error);
    }
    if (ksm_sys_max_map_count() < 65530) {
        g_warning("vm.max_map_count is %u: sharing will soon run out of "
                  "mappings; set it to 1048576", ksm_sys_max_map_count());
    }
    ksm_kernel_guard_warn(&engine->kernel, engine->name);
    /* It looks at this, to know itself, when it has the lock. */
    ksm_engine_lock(engine);
    engine->thread = g_thread_try_new("ksm-scanner", ksm_scanner_thread,
                                      engine, &error);
    ksm_engine_unlock(engine);
    if (!engine->thread) {
        g_propagate_prefixed_error(errp, error, "Could not start the scanner "
                                   "of '%s': ", engine->name);
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
        g_mutex_lock(&engine->sleep_lock);
        engine->stop = TRUE;
        g_mutex_unlock(&engine->sleep_lock);
        ksm_engine_lock(engine);
        ksm_engine_unlock(engine);
        g_thread_join(engine->thread);
        engine->thread = NULL;
    }
    while (engine->regions->len) {
        ksm_region_remove(g_ptr_array_index(engine->regions, 0));
    }
    free_parts(engine);
}

void ksm_engine_suspend(KsmEngine *engine, const char *reason)
{
    ksm_engine_lock(engine);
    engine->suspended++;
    engine->suspend_reason = reason;
    engine->standing_aside = reason;
    ksm_stats_publish(engine);
    ksm_engine_unlock(engine);
    ksm_lock_wake(engine, TRUE);         /* the scanner detaches */
}

void ksm_engine_detach(KsmEngine *engine)
{
    gboolean suspended;

    ksm_engine_lock(engine);
    suspended = engine->suspended > 0;
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
    matched = engine->suspended > 0;
    engine->suspended -= matched;
    ksm_engine_unlock(engine);
    g_return_if_fail(matched);
    ksm_lock_wake(engine, TRUE);
}

void ksm_engine_run_round(KsmEngine *engine)
{
    guint wanted;

    g_mutex_lock(&engine->sleep_lock);
    wanted = ++engine->rounds_requested;
    g_cond_broadcast(&engine->sleep_cond);
    while ((gint)(engine->rounds_done - wanted) < 0 && !engine->stop) {
        g_cond_wait(&engine->sleep_cond, &engine->sleep_lock);
    }
    g_mutex_unlock(&engine->sleep_lock);
}

const char *ksm_engine_get_group(KsmEngine *engine)
{
    return engine->group;
}

const char *ksm_engine_get_name(KsmEngine *engine)
{
    return engine->name;
}
