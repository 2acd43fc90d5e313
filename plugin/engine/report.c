/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.c: tells the broker this engine's figures and takes the group's.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "report.h"

#include "budget.h"
#include "sys.h"

gboolean ksm_report_exchange(KsmEngine *engine)
{
    KsmMsgGroup group;
    KsmMsgStats msg = { .mappings = ksm_budget_used(engine),
                        .cpu_ns = ksm_sys_thread_cpu_ns() };
    guint i;

    for (i = 0; i < engine->regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->regions, i);

        msg.pages_total += region->pages;
        msg.pages_volatile += region->counts[KSM_PAGE_PRIVATE];
        msg.pages_unshared += region->counts[KSM_PAGE_CANDIDATE];
        msg.pages_sharing += region->counts[KSM_PAGE_SHARED];
        msg.zero_pages += region->counts[KSM_PAGE_ZERO];
        msg.pages_broken += region->counts[KSM_PAGE_BROKEN];
        msg.pages_excluded += region->counts[KSM_PAGE_EXCLUDED];
    }
    if (!ksm_broker_client_stats(&engine->broker, &msg, &group)) {
        return FALSE;
    }
    engine->counters.group_pages_shared = group.pages_shared;
    engine->counters.group_pages_sharing = group.pages_sharing;
    engine->counters.group_pages_unshared = group.pages_unshared;
    return TRUE;
}
