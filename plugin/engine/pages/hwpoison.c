/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hwpoison.c: guest pages whose memory has failed.
 *
 * The kernel's term is hwpoison: a page table entry that answers each access
 * with SIGBUS.  The guest may survive the failure, as it could without this
 * engine: its own access gets the error, and until then it need not know.  The
 * engine must only avoid touching the page again:
 *   - a private page is excluded without a time limit;
 *   - a shared page stays: the slot beneath it is what failed.  A broken page
 *     stays as well.  Neither can be copied, so neither is given back.
 * The page is usable again when another page replaces it: its owner discards
 * or remaps it (discard.c), or the tracker finds it written.  Every change of
 * its state clears the mark (ksm_ram_set_state()).
 *
 * If a read of several pages fails, or a system call fails for no known
 * reason, each page is probed separately.  So a page is never marked because
 * of a system call's result, but only because a read of that page failed.
 *
 * Memory that cannot be read back from swap is treated in the same way.
 *
 * Thread: the scanner's, under the work lock; ksm_handle_sigbus(): any.
 */
#include "pages/hwpoison.h"

#include "memory/page-state.h"
#include "memory/ram.h"
#include "memory/region.h"
#include "safe-read.h"
#include "page-scan.h"

static void record_failed(KsmEngine *engine, KsmRegion *region, guint32 page)
{
    if (!ksm_page_in_store(region->state[page])) {
        ksm_ram_set_state(region, page, KSM_PAGE_EXCLUDED);
    }
    ksm_ram_set_hwpoison(region, page);
    if (!engine->hwpoison_warned) {
        engine->hwpoison_warned = TRUE;
        g_warning("Guest memory of '%s' has failed (page %u of '%s'): the page "
                  "is left alone; more are only counted in pages-hwpoison",
                  engine->link.name, page, region->name);
    }
}

guint32 ksm_hwpoison_probe(KsmEngine *engine, KsmRegion *region, guint32 first,
                           guint32 count)
{
    guint32 page, found = 0;

    for (page = first; page < first + count; page++) {
        if (!(region->state[page] & KSM_PAGE_HWPOISON) &&
            !ksm_read_works(ksm_ram_address(region, page))) {
            record_failed(engine, region, page);
            found++;
        }
    }
    return found;
}

gboolean ksm_handle_sigbus(const siginfo_t *info)
{
    return ksm_safe_read_catch(info);
}
