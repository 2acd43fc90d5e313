/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * zero.c: whether the kernel has a shared zero page, and what to do if not.
 *
 * Normally the kernel maps one shared zero page where memory is read that was
 * never written.  So a guest page of zeros is made a hole: it takes no memory,
 * however often it is read.  But a kernel may allocate a page for each such
 * read (s390x does for the process of a KVM guest that is protected or uses
 * storage keys).  There a hole lasts only until the guest reads it.  It is
 * then a page like any other that was written, becomes idle, is found to hold
 * zeros, and is made a hole again: forever, with the memory for all zeros
 * allocated again each time.
 *
 * On such a host zeros are treated like any other content: they are looked up,
 * published as a tile, and mapped from the group's store.  Reading a slot
 * copies nothing.  They count as pages-sharing; zero-pages stays 0, because no
 * page of zeros is free of cost.  The rest of the engine needs no special
 * case: the window compares, a write breaks the page, and giving it back fills
 * it with zeros.
 *
 * Content never depends on the answer being right.  If it is wrong, or changes
 * (it does on s390x when the guest first uses a storage key), holes that are
 * read become private pages, and slots of zeros stay what they are.  So it is
 * enough to test from time to time, and a failed test does no harm: the last
 * answer stays in force.
 *
 * The test: drop and read a page of the engine's own, then query pagemap for
 * whether the zero page is mapped there.  It is a small page, like a hole: a
 * window takes less than a huge page, so it leaves a page table behind, in
 * which the kernel fills single entries.
 *
 * Thread: the scanner's, under the work lock, or the thread that creates the
 * engine.
 */
#include "core/zero.h"

#include "memory/verify.h"
#include "page-scan.h"
#include "sys.h"

static gboolean ask_kernel(KsmEngine *engine, gboolean *has)
{
    struct page_region range = { 0 };
    guint64 start = (guintptr)engine->zero.probe;
    struct pm_scan_arg arg = {
        .size = sizeof(arg),
        .start = start,
        .end = start + KSM_PAGE_BYTES,
        .vec = (guintptr)&range,
        .vec_len = 1,
        .category_mask = PAGE_IS_PRESENT,
        .return_mask = PAGE_IS_PFNZERO,
    };

    if (ksm_sys->advise(engine->zero.probe, KSM_PAGE_BYTES,
                        MADV_DONTNEED_LOCKED) ||
        !ksm_read_works(engine->zero.probe) ||
        ksm_sys->pagemap_scan(engine->tracker.pagemap, &arg) != 1) {
        return FALSE;
    }
    *has = (range.categories & PAGE_IS_PFNZERO) != 0;
    return TRUE;
}

void ksm_zero_ask(KsmEngine *engine)
{
    static gint told;
    gboolean has;

    engine->zero.asked = engine->stats.counters.full_scans;
    if (!engine->zero.probe &&
        ksm_verify_map_private(KSM_PAGE_BYTES, &engine->zero.probe)) {
        return;
    }
    if (!ask_kernel(engine, &has)) {
        return;
    }
    engine->zero.none = !has;
    if (!has && g_atomic_int_compare_and_exchange(&told, 0, 1)) {
        g_message("'%s': the kernel has no shared zero page for this process; "
                  "pages of zeros are shared like other pages and count as "
                  "pages-sharing, not as zero-pages",
                  engine->link.name);
    }
}

void ksm_zero_close(KsmEngine *engine)
{
    if (engine->zero.probe) {
        ksm_sys->unmap(engine->zero.probe, KSM_PAGE_BYTES);
        engine->zero.probe = NULL;
    }
}

gboolean ksm_zero_has_page(KsmEngine *engine)
{
    if (engine->zero.asked != engine->stats.counters.full_scans) {
        ksm_zero_ask(engine);
    }
    return !engine->zero.none;
}
