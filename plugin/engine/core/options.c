/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* options.c: validates an engine's options, and changes them at run time. */
#include "core/options.h"

#include <string.h>

#include "core/lock.h"
#include "memory/block.h"
#include "error.h"
#include "ksm-protocol.h"
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
    options->scan_interval_ms = KSM_SCAN_INTERVAL_MS;
    options->node = KSM_NODE_ANY;
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
                    "that first",
                    max_mappings, limit);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_keep_huge(guint pages, GError **errp)
{
    if (pages > KSM_KEEP_HUGE_MAX) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "keep-huge must be at most %u, the pages of a huge page, "
                    "not %u",
                    KSM_KEEP_HUGE_MAX, pages);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_group(const char *group, GError **errp)
{
    static const char allowed[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-";

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
                    "digits, '.', '_' and '-'",
                    group, KSM_GROUP_BYTES - 1);
        return FALSE;
    }
    return TRUE;
}

gboolean ksm_options_check(const KsmOptions *options, GError **errp)
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

void ksm_engine_set_run(KsmEngine *engine, KsmRunMode run)
{
    g_atomic_int_set(&engine->tunables.run, run);
    ksm_lock_wake(engine, TRUE);
}

KsmRunMode ksm_engine_get_run(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->tunables.run);
}

/* Wakes the scanner, so that it uses the new value immediately. */
static void change(KsmEngine *engine, guint *tunable, guint value)
{
    g_atomic_int_set(tunable, value);
    ksm_lock_wake(engine, TRUE);
}

gboolean ksm_engine_set_scan_cpu_percent(KsmEngine *engine, guint percent,
                                         GError **errp)
{
    if (!check_percent(percent, errp)) {
        return FALSE;
    }
    change(engine, &engine->tunables.scan_cpu_percent, percent);
    return TRUE;
}

gboolean ksm_engine_set_scan_interval(KsmEngine *engine, guint ms,
                                      GError **errp)
{
    if (!check_interval(ms, errp)) {
        return FALSE;
    }
    change(engine, &engine->tunables.scan_interval_ms, ms);
    return TRUE;
}

gboolean ksm_engine_set_max_mappings(KsmEngine *engine, guint max_mappings,
                                     GError **errp)
{
    if (!check_mappings(max_mappings, errp)) {
        return FALSE;
    }
    change(engine, &engine->tunables.max_mappings, max_mappings);
    return TRUE;
}

gboolean ksm_engine_set_keep_huge(KsmEngine *engine, guint pages, GError **errp)
{
    if (!check_keep_huge(pages, errp)) {
        return FALSE;
    }
    change(engine, &engine->tunables.keep_huge, pages);
    return TRUE;
}

guint ksm_engine_get_scan_cpu_percent(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->tunables.scan_cpu_percent);
}

guint ksm_engine_get_scan_interval(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->tunables.scan_interval_ms);
}

guint ksm_engine_get_max_mappings(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->tunables.max_mappings);
}

guint ksm_engine_get_keep_huge(KsmEngine *engine)
{
    return g_atomic_int_get(&engine->tunables.keep_huge);
}
