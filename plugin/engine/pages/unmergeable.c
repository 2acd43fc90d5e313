/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unmergeable.c: keeping ksmd off the memory of guests and of the engine.
 *
 * ksmd merges whatever is mergeable with whatever else is, also across trust
 * groups.  prctl(PR_SET_MEMORY_MERGE, 1) makes all private memory of a process
 * mergeable: what is mapped, and what will be.  It survives fork() and exec(), so
 * a service manager or a launcher can set it without the program's knowledge
 * (systemd's MemoryKSM=).  MADV_UNMERGEABLE takes one mapping out, and copies
 * apart what has been merged there.
 *
 * Set before the engine is made: each mapping is taken out where it is made
 * (ram.c, verify.c, staging.c, isolation.c), store mappings before the first
 * write can have made a copy in them.  Set later: everything is taken out again
 * at the next round; ksmd takes a page only on its second pass at the earliest,
 * and a page merged in between is copied apart.  An identical page that two groups
 * then had in common for less than a round had been in the reach of ksmd by the
 * owner's order, given while the guests ran.
 */
#include "pages/unmergeable.h"

#include "memory/ram.h"
#include "memory/staging.h"
#include "memory/verify.h"
#include "sys.h"

/* Walked by one call, which holds the lock of the process's mappings. */
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
