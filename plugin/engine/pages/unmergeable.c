/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unmergeable.c: keeps ksmd off the memory of guests and of the engine.
 *
 * ksmd merges all mergeable memory, also across trust groups.
 * prctl(PR_SET_MEMORY_MERGE, 1) makes all private memory of a process
 * mergeable, both existing and future mappings.  It survives fork() and
 * exec(), so a service manager or a launcher can set it without the program's
 * knowledge (systemd's MemoryKSM=).  MADV_UNMERGEABLE excludes one mapping,
 * and separates what has been merged there by copying.
 *
 * If it is set before the engine is created, each mapping is excluded where it
 * is created (ram.c, verify.c, staging.c, isolation.c); for store mappings,
 * this is before the first write can create a copy in them.  If it is set
 * later, everything is excluded again in the next round.  ksmd merges a page
 * only on its second pass or later, and a page merged in between is separated
 * by copying.  If two groups then shared an identical page for less than a
 * round, that was because the owner had made the memory mergeable while the
 * guests ran.
 */
#include "pages/unmergeable.h"

#include "memory/ram.h"
#include "memory/staging.h"
#include "memory/verify.h"
#include "sys.h"

/* Pages per call, which holds the mmap lock. */
#define KSM_UNMERGEABLE_PAGES 4096u

static void take_out(guint8 *addr, guint64 pages)
{
    guint64 page, n;

    for (page = 0; page < pages; page += n) {
        n = MIN(pages - page, KSM_UNMERGEABLE_PAGES);
        ksm_sys->advise(addr + page * KSM_PAGE_BYTES, n * KSM_PAGE_BYTES,
                        MADV_UNMERGEABLE);
    }
}

void ksm_unmergeable_check(KsmEngine *engine)
{
    gboolean before = engine->merges_any;
    guint i;

    engine->merges_any = ksm_sys_merges_any();
    if (before || !engine->merges_any) {
        return;
    }
    ksm_staging_unmergeable(&engine->isolation.staging);
    ksm_verify_unmergeable(&engine->isolation.verify);
    if (engine->zero.probe) {
        take_out(engine->zero.probe, 1);
    }
    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);

        take_out(region->addr, region->pages);
        if (region->shadow) {
            take_out(region->shadow, (guint64)region->pages + 1);
        }
        ksm_ram_tables_unmergeable(region);
    }
}
