/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * region.c: the public API of regions.
 */
#include "core/engine-private.h"

#include <errno.h>
#include <unistd.h>

#include "client/broker-client.h"
#include "core/budget.h"
#include "core/due.h"
#include "core/lock.h"
#include "core/stats.h"
#include "memory/ram.h"
#include "memory/tracker.h"
#include "session/release.h"
#include "error.h"
#include "sys.h"

/* Puts the region in the first gap of page numbers that is large enough. */
static void place_region(KsmEngine *engine, KsmRegion *region)
{
    guint64 end;
    guint i;

    region->base = 0;
    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *other = g_ptr_array_index(engine->ram.regions, i);

        if (region->base + (guint64)region->pages <= other->base) {
            break;
        }
        region->base = other->base + other->pages;
    }
    g_ptr_array_insert(engine->ram.regions, (gint)i, region);
    end = region->base + (guint64)region->pages;
    if (end > engine->ram.session_pages) {
        engine->ram.session_pages = end;
        ksm_broker_client_resize(&engine->broker, end);
    }
}

static gboolean check_range(const char *name, void *addr, guint64 bytes,
                            GError **errp)
{
    if (!bytes || bytes % KSM_PAGE_BYTES || (guintptr)addr % KSM_PAGE_BYTES ||
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
                    "%ld bytes, not %u",
                    name, sysconf(_SC_PAGESIZE), KSM_PAGE_BYTES);
        return FALSE;
    }
    return TRUE;
}

/* Under the work lock. */
static gboolean check_overlap(KsmEngine *engine, const char *name, guint8 *addr,
                              guint64 bytes, GError **errp)
{
    guint i;

    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *other = g_ptr_array_index(engine->ram.regions, i);
        guint8 *end = other->addr + (gsize)other->pages * KSM_PAGE_BYTES;

        if (addr < end && other->addr < addr + bytes) {
            g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                        "Memory '%s' at %p cannot be shared: it overlaps "
                        "'%s', which is already shared",
                        name, (void *)addr, other->name);
            return FALSE;
        }
    }
    return TRUE;
}

/*
 * Writes to the region cannot be tracked: gives it up and leaves its memory as
 * it was.  If another userfaultfd is registered there, ours has no
 * registration in the region; and some kernels would remove the other
 * registration if asked to unregister.
 */
static void give_up(KsmEngine *engine, KsmRegion *region, int error)
{
    if (error != -EBUSY && ksm_tracker_detach(&engine->tracker, region)) {
        engine->stats.counters.refused_error++;
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
                    "pool, not share=on)",
                    name, addr);
        return NULL;
    }
    ksm_engine_lock(engine);
    if (check_overlap(engine, name, addr, bytes, errp)) {
        region = ksm_ram_new(engine, name, addr, bytes, flags, errp);
    }
    if (region) {
        ret = engine->turn.detached || engine->turn.standing_aside ?
                  0 :
                  ksm_tracker_register(&engine->tracker, region);
        if (ret) {
            ksm_error_set_errno(
                errp, KSM_ERROR_FAILED, ret,
                "Could not track writes to memory '%s'; it must be private "
                "anonymous memory that no other userfaultfd watches",
                name);
            give_up(engine, region, ret);
            region = NULL;
        } else {
            place_region(engine, region);
            ksm_due_forget(engine);
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
    g_ptr_array_remove(engine->ram.regions, region);
    ksm_due_forget(engine);
    /* First send what is pending: no message may name a page twice. */
    ksm_release_send(engine);
    if (ksm_ram_free(region)) {
        g_array_append_val(engine->releases.withdrawn, range);
        g_array_append_val(engine->releases.released, range);
        ksm_release_send(engine);
    }
    ksm_budget_tell_regions(engine);
    ksm_stats_publish(engine);
    ksm_engine_unlock(engine);
}
