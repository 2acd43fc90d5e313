/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * page-scan.h: contents of pages, which may have failed, read under a guard.
 */
#ifndef KSM_PAGE_SCAN_H
#define KSM_PAGE_SCAN_H

#include "ksm-protocol.h"

/* What a page holds, as far as it could be read. */
typedef struct KsmPageScan {
    const guint8 *content;      /* what to look at */
    gboolean failed;
    gboolean zero;
    KsmFingerprint fingerprint; /* where neither failed nor zero */
} KsmPageScan;

/* Looks at each of the pages. */
void ksm_scan_pages(KsmPageScan *scans, guint32 count);

/* Of a page that could be read, zero or not. */
KsmFingerprint ksm_page_scan_fingerprint(const KsmPageScan *look);

/* Copies; FALSE: not all of it. */
gboolean ksm_read_copy(guint8 *to, const guint8 *from, gsize bytes);

/* Pages from the first on that are equal; *failed: the next one is unreadable. */
guint32 ksm_read_equal(const guint8 *a, const guint8 *b, guint32 count,
                       gboolean *failed);

/* The same for pages that hold zeros only. */
guint32 ksm_read_zeros(const guint8 *pages, guint32 count, gboolean *failed);

/* Whether all of a page can be read. */
gboolean ksm_read_works(const guint8 *page);

#endif /* KSM_PAGE_SCAN_H */
