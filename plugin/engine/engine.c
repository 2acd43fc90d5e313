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
#include "core/pace.h"
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

#define KSM_MAX_INTERVAL_MS 3600000u
#define KSM_MIN_INTERVAL_MS 10u
G_STATIC_ASSERT(KSM_KEEP_HUGE_MAX == KSM_BLOCK_PAGES);

void ksm_options_init(KsmOptions *options)
{
    memset(options, 0, sizeof(*options));
    options->start_broker = TRUE;
    options->run = KSM_RUN_RUN;
    options->scan_cpu_percent = 10;
    options->scan_interval_ms = 1000;
    options->node = KSM_NODE_ANY;
}

gboolean ksm_check_requirements(GError **errp)
{
    KsmTracker tracker;

    if (!ksm_tracker_open(&tracker, errp)) {
        return FALSE;
    }
    ksm_tracker_close(&tracker);
    return TRUE;
}

static gboolean check_percent(guint percent, GError **errp)
{
    if (percent < 1 || percent > 100) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "scan-cpu-percent must be between 1 and 100, not %u",
                    percent);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_interval(guint ms, GError **errp)
{
    if (ms < KSM_MIN_INTERVAL_MS || ms > KSM_MAX_INTERVAL_MS) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "scan-interval must be between %u and %u ms, not %u",
                    KSM_MIN_INTERVAL_MS, KSM_MAX_INTERVAL_MS, ms);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_mappings(guint max_mappings, GError **errp)
{
    guint limit = ksm_sys_max_map_count();

    if (limit && max_mappings > limit) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "max-mappings %u is above vm.max_map_count (%u); raise "
                    "that first", max_mappings, limit);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_keep_huge(guint pages, GError **errp)
{
    if (pages > KSM_KEEP_HUGE_MAX) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "keep-huge must be at most %u, the pages of a huge page, "
                    "not %u", KSM_KEEP_HUGE_MAX, pages);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_group(const char *group, GError **errp)
{
    static const char allowed[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS
                                  "._-";

    if (!group || !*group) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "A trust group must be named (group=NAME): only VMs of "
                    "one group share memory");
        return FALSE;
    }
    if (strlen(group) >= KSM_GROUP_BYTES ||
        strspn(group, allowed) != strlen(group)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "Group '%s' is not a valid name: use 1 to %u letters, "
                    "digits, '.', '_' and '-'", group, KSM_GROUP_BYTES - 1);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_options(const KsmOptions *options, GError **errp)
{
    if (options->run != KSM_RUN_PAUSE && options->run != KSM_RUN_RUN &&
        options->run != KSM_RUN_UNMERGE) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "Run mode %d is unknown: use pause, run or unmerge",
                    (int)options->run);
        return FALSE;
    }
    if (options->node < KSM_NODE_ANY || options->node > KSM_MAX_NODE) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "There is no NUMA node %d: use 0 to %d, or %d for all",
                    options->node, KSM_MAX_NODE, KSM_NODE_ANY);
        return FALSE;
    }
    return check_group(options->group, errp) &&
           check_percent(options->scan_cpu_percent, errp) &&
           check_interval(options->scan_interval_ms, errp) &&
           check_mappings(options->max_mappings, errp) &&
           check_keep_huge(options->keep_huge, errp);
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

    if (!check_options(options, errp)) {
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
    ksm_fork_guard_install();
    ksm_stats_publish(engine);
    return engine;
}

/* Wakes the scanner from a sleep; `poke` ends the sleep between rounds. */
static void wake(KsmEngine *engine, gboolean poke)
{
    g_mutex_lock(&engine->sleep_lock);
    engine->poked = engine->poked || poke;
    g_cond_broadcast(&engine->sleep_cond);
    g_mutex_unlock(&engine->sleep_lock);
}

void ksm_engine_lock(KsmEngine *engine)
{
    guint64 one = 1;

    g_atomic_int_inc(&engine->interrupt);
    /* Cannot fail: the counter is far below its limit. */
    if (write(engine->wake_fd, &one, sizeof(one)) < 0) {
        g_debug("eventfd: %s", g_strerror(errno));
    }
    wake(engine, FALSE);
    g_mutex_lock(&engine->work_lock);
}

/*
 * Each thread takes back the one that it put into the eventfd, and no more:
 * what another thread has put there meanwhile must still shorten the scanner's
 * wait for a broker that hangs.
 */
void ksm_engine_unlock(KsmEngine *engine)
{
    guint64 one;

    g_atomic_int_add(&engine->interrupt, -1);
    if (read(engine->wake_fd, &one, sizeof(one)) < 0) {
        g_debug("eventfd: %s", g_strerror(errno));
    }
    g_mutex_unlock(&engine->work_lock);
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

KsmRegion *ksm_engine_find_region(KsmEngine *engine, guint32 page)
{
    guint i;

    for (i = 0; i < engine->regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->regions, i);

        if (page - region->base < region->pages) {
            return region;
        }
    }
    return NULL;
}

void ksm_ranges_add(GArray *ranges, guint32 page)
{
    KsmRange one = { .first = page, .count = 1 };

    if (ranges->len) {
        KsmRange *last = &g_array_index(ranges, KsmRange, ranges->len - 1);

        if (last->first + last->count == page) {
            last->count++;
            return;
        }
    }
    g_array_append_val(ranges, one);
}

/* Puts the region in the first gap of page numbers that holds it. */
static void place_region(KsmEngine *engine, KsmRegion *region)
{
    guint64 end;
    guint i;

    region->base = 0;
    for (i = 0; i < engine->regions->len; i++) {
        KsmRegion *other = g_ptr_array_index(engine->regions, i);

        if (region->base + (guint64)region->pages <= other->base) {
            break;
        }
        region->base = other->base + other->pages;
    }
    g_ptr_array_insert(engine->regions, (gint)i, region);
    end = region->base + (guint64)region->pages;
    if (end > engine->session_pages) {
        engine->session_pages = end;
        ksm_broker_client_resize(&engine->broker, end);
    }
}

static gboolean check_range(const char *name, void *addr, guint64 bytes,
                            GError **errp)
{
    if (!bytes || bytes % KSM_PAGE_BYTES ||
        (guintptr)addr % KSM_PAGE_BYTES ||
        bytes / KSM_PAGE_BYTES > KSM_MAX_SLOT) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "Memory '%s' at %p, %" G_GUINT64_FORMAT " bytes, cannot "
                    "be shared: address and size must be multiples of %u",
                    name, addr, bytes, KSM_PAGE_BYTES);
        return FALSE;
    }
    if (sysconf(_SC_PAGESIZE) != KSM_PAGE_BYTES) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_UNSUPPORTED,
                    "Memory '%s' cannot be shared: this kernel's pages have "
                    "%ld bytes, not %u", name, sysconf(_SC_PAGESIZE),
                    KSM_PAGE_BYTES);
        return FALSE;
    }
    return TRUE;
}

/* Under the work lock. */
static gboolean check_overlap(KsmEngine *engine, const char *name,
                              guint8 *addr, guint64 bytes, GError **errp)
{
    guint i;

    for (i = 0; i < engine->regions->len; i++) {
        KsmRegion *other = g_ptr_array_index(engine->regions, i);
        guint8 *end = other->addr + (gsize)other->pages * KSM_PAGE_BYTES;

        if (addr < end && other->addr < addr + bytes) {
            g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                        "Memory '%s' at %p cannot be shared: it overlaps "
                        "'%s', which already is", name, (void *)addr,
                        other->name);
            return FALSE;
        }
    }
    return TRUE;
}

/*
 * Writes to the region cannot be tracked: leaves its memory as it was.  Where
 * another userfaultfd has it, ours has nothing of it; and a kernel may take
 * the other one's registration off if asked.
 */
static void give_up(KsmEngine *engine, KsmRegion *region, int error)
{
    if (error != -EBUSY &&
        ksm_tracker_detach(&engine->tracker, region)) {
        engine->counters.refused_error++;
    }
    ksm_ram_abandon(region);
}

KsmRegion *ksm_region_add(KsmEngine *engine, const char *name, void *addr,
                          guint64 bytes, KsmRegionFlags flags, GError **errp)
{
    KsmRegion *region = NULL;
    int ret;

    if (!check_range(name, addr, bytes, errp)) {
        return NULL;
    }
    if (!ksm_sys_is_private_anonymous(addr, bytes)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "Memory '%s' at %p cannot be shared: all of it must be "
                    "mapped private and anonymous (no file, no huge page "
                    "pool, not share=on)", name, addr);
        return NULL;
    }
    ksm_engine_lock(engine);
    if (check_overlap(engine, name, addr, bytes, errp)) {
        region = ksm_ram_new(engine, name, addr, bytes, flags, errp);
    }
    if (region) {
        ret = engine->detached || engine->standing_aside ? 0 :
              ksm_tracker_settle(&engine->tracker, region);
        if (ret) {
            ksm_error_set_errno(errp, KSM_ERROR_FAILED, ret,
                "Could not track writes to memory '%s'; it must be private "
                "anonymous memory that no other userfaultfd watches", name);
            give_up(engine, region, ret);
            region = NULL;
        } else {
            place_region(engine, region);
        }
    }
    ksm_budget_tell_regions(engine);
    ksm_stats_publish(engine);
    ksm_engine_unlock(engine);
    return region;
}

void ksm_region_remove(KsmRegion *region)
{
    KsmEngine *engine = region->engine;
    KsmRange range = { .first = region->base, .count = region->pages };

    ksm_engine_lock(engine);
    g_ptr_array_remove(engine->regions, region);
    /* First what waits to be sent: no message names a page twice. */
    ksm_round_send_released(engine);
    if (ksm_ram_free(region)) {
        g_array_append_val(engine->withdrawn, range);
        g_array_append_val(engine->released, range);
        ksm_round_send_released(engine);
    }
    ksm_budget_tell_regions(engine);
    ksm_stats_publish(engine);
    ksm_engine_unlock(engine);
}

void ksm_engine_set_run(KsmEngine *engine, KsmRunMode run)
{
    g_atomic_int_set(&engine->run, run);
    wake(engine, TRUE);
}

KsmRunMode ksm_engine_get_run(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->run);
}

gboolean ksm_engine_set_scan_cpu_percent(KsmEngine *engine, guint percent,
                                         GError **errp)
{
    if (!check_percent(percent, errp)) {
        return FALSE;
    }
    g_atomic_int_set(&engine->scan_cpu_percent, percent);
    wake(engine, TRUE);
    return TRUE;
}

gboolean ksm_engine_set_scan_interval(KsmEngine *engine, guint ms,
                                      GError **errp)
{
    if (!check_interval(ms, errp)) {
        return FALSE;
    }
    g_atomic_int_set(&engine->scan_interval_ms, ms);
    wake(engine, TRUE);
    return TRUE;
}

gboolean ksm_engine_set_max_mappings(KsmEngine *engine, guint max_mappings,
                                     GError **errp)
{
    if (!check_mappings(max_mappings, errp)) {
        return FALSE;
    }
    g_atomic_int_set(&engine->max_mappings, max_mappings);
    wake(engine, TRUE);
    return TRUE;
}

gboolean ksm_engine_set_keep_huge(KsmEngine *engine, guint pages,
                                  GError **errp)
{
    if (!check_keep_huge(pages, errp)) {
        return FALSE;
    }
    g_atomic_int_set(&engine->keep_huge, pages);
    wake(engine, TRUE);
    return TRUE;
}

guint ksm_engine_get_scan_cpu_percent(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->scan_cpu_percent);
}

guint ksm_engine_get_scan_interval(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->scan_interval_ms);
}

guint ksm_engine_get_max_mappings(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->max_mappings);
}

guint ksm_engine_get_keep_huge(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->keep_huge);
}

void ksm_engine_suspend(KsmEngine *engine, const char *reason)
{
    ksm_engine_lock(engine);
    engine->suspended++;
    engine->suspend_reason = reason;
    engine->standing_aside = reason;
    ksm_stats_publish(engine);
    ksm_engine_unlock(engine);
    wake(engine, TRUE);         /* the scanner detaches */
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
    wake(engine, TRUE);
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
