/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * zero.c: whether the kernel keeps a page of zeros for all, and what if not.
 *
 * As a rule the kernel maps one shared page of zeros where memory is read that
 * nobody has written.  So a guest page of zeros is made a hole: it costs nothing,
 * however often it is read.  But a kernel may give each read a page of its own
 * (s390x to the process of a KVM guest that is protected or uses storage keys).
 * There a hole lasts until the guest reads it.  It is then a page like any
 * that was written, is idle, is found to hold zeros, and made a hole again: for
 * ever, with all memory of zeros taken again each time.
 *
 * On such a host zeros are a content like any other: looked up, published as a
 * tile, and mapped from the group's store.  Reading a slot copies nothing.
 * They count as pages-sharing; zero-pages stays 0, as no page of zeros is free
 * of cost.  The rest of the engine knows no difference: the window compares, a
 * write breaks the page, giving it back fills it with zeros.
 *
 * Neither answer is ever trusted with content.  If it is wrong, or the kernel
 * changes its mind (s390x does, when the guest first uses a storage key), holes
 * that are read become private pages, and slots of zeros stay what they are.
 * So it is enough to ask from time to time, and not to be told is no harm: the
 * last answer holds.
 *
 * What is asked: a page of ours is dropped and read, and pagemap says whether
 * the zero page is there now.  It is a small page, as holes are: a window takes
 * less than a huge page, so it leaves a page table behind, and the kernel fills
 * single places in it.
 *
 * Thread: the scanner's, under the work lock, or whoever makes the engine.
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
                  "pages of zeros are shared as others are, and count as "
                  "pages-sharing, not as zero-pages", engine->link.name);
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
