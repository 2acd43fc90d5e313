/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* page-scan.h: guarded reads of pages whose memory may have failed. */
#ifndef KSM_PAGE_SCAN_H
#define KSM_PAGE_SCAN_H

#include "ksm-protocol.h"

/* Result of reading a page of 4096 bytes. */
typedef struct KsmPageScan {
    const guint8 *content; /* in: the page to read */
    gboolean failed;
    gboolean zero;
    KsmFingerprint fingerprint; /* valid if neither failed nor zero */
} KsmPageScan;

/* Reads each of the `count` pages and fills in its result. */
void ksm_scan_pages(KsmPageScan *scans, guint32 count);

/* Fingerprint of a page that could be read, zero or not. */
KsmFingerprint ksm_page_scan_fingerprint(const KsmPageScan *look);

/* Copies `bytes`; FALSE: not everything could be read. */
gboolean ksm_read_copy(guint8 *to, const guint8 *from, gsize bytes);

/*
 * Returns the number of leading pages that are equal; *failed: the next page
 * cannot be read.
 */
guint32 ksm_read_equal(const guint8 *a, const guint8 *b, guint32 count,
                       gboolean *failed);

/* The same, for pages that hold only zeros. */
guint32 ksm_read_zeros(const guint8 *pages, guint32 count, gboolean *failed);

/* Whether a whole page can be read. */
gboolean ksm_read_works(const guint8 *page);

#endif /* KSM_PAGE_SCAN_H */
