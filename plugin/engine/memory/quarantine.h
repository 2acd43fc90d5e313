/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * quarantine.h: take pages away from a running guest, verify, commit or give
 * them back.
 */
#ifndef KSM_QUARANTINE_H
#define KSM_QUARANTINE_H

#include "memory/ram.h"
#include "memory/staging.h"
#include "memory/verify.h"
#include "memory/writers.h"

/* Why a window ended before its last page. */
typedef enum KsmVerdict {
    KSM_VERDICT_DONE = 0,       /* it did not */
    KSM_VERDICT_CHANGED,        /* the page differs from its replacement */
    KSM_VERDICT_PINNED,         /* the kernel would not move it */
    KSM_VERDICT_DMA,           /* a device may be writing to it */
    KSM_VERDICT_HOLE,           /* there is no page */
    KSM_VERDICT_ERROR,          /* a system call failed, or the memory */
} KsmVerdict;

typedef struct KsmQuarantine {
    int uffd;                   /* the tracker's */
    int pagemap;                /* the tracker's */
    KsmWriters writers;
    KsmStaging staging;
    gboolean merge_any;         /* new mappings would be mergeable by ksmd */
    KsmVerify verify;
    /* figures */
    guint64 windows;
    guint64 window_ns_total;
    guint64 window_ns_max;
    guint64 window_us_histogram[KSM_STATS_WINDOW_BUCKETS];
} KsmQuarantine;

gboolean ksm_quarantine_open(KsmQuarantine *q, int uffd, int pagemap,
                             GError **errp);
void ksm_quarantine_close(KsmQuarantine *q);

/*
 * Replaces pages [first, first + count) by a private mapping of `store_fd` at
 * `offset`, as far as they are byte-equal to `content`, which was read from
 * the same part of the store.  Returns the pages committed, from `first` on;
 * *verdict tells why it was not more.  The pages' registration is unregistered
 * after it.
 */
guint32 ksm_quarantine_share(KsmQuarantine *q, KsmRegion *region,
                             guint32 first, guint32 count,
                             const guint8 *content, int store_fd,
                             guint64 offset, KsmVerdict *verdict);

/* The same for pages that hold zeros only: they become holes. */
guint32 ksm_quarantine_zero(KsmQuarantine *q, KsmRegion *region,
                            guint32 first, guint32 count,
                            KsmVerdict *verdict);

/*
 * A batch of windows ends: frees what is left in the staging area and puts that
 * out of reach.  Outside of windows, and before the scanner sleeps.
 */
void ksm_quarantine_drop(KsmQuarantine *q);

/* The same and more, where there will be no window for a while. */
void ksm_quarantine_trim(KsmQuarantine *q);

#endif /* KSM_QUARANTINE_H */
