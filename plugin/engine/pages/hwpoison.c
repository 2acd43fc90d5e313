/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hwpoison.c: guest pages whose memory has failed.
 *
 * The kernel's word is hwpoison: a page table entry that answers each access
 * with SIGBUS.  The guest may live with it, as it would without us: its own
 * access gets the error, and until then nobody need know.  What is left to do
 * here is not to touch the page again:
 *  - a private one is excluded without an end;
 *  - a shared one stays: the slot beneath it is what failed.  So does a broken
 *    one: neither can be copied, so neither is given back.
 * A page is well again when another takes its place: its owner discards it or
 * maps anew (discard.c), or the tracker finds it written.  Every change of its
 * state takes the mark off (ksm_ram_set_state()).
 *
 * A read that fails where several pages are at hand, or a call of the kernel
 * that fails for no known reason, is followed by a look at each: so no answer of
 * the kernel decides that a page has failed, but a read of it alone.
 *
 * Memory that cannot be read back from swap is the same to all of this.
 *
 * Thread: the scanner's, under the work lock; ksm_handle_sigbus() any.
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
        g_warning("'%s' has memory that failed (page %u of '%s'): it is left "
                  "alone; further pages are counted in pages-hwpoison",
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
