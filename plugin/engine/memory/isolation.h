/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * isolation.h: takes pages away from a running guest, verifies them, and
 * replaces them or puts them back.
 */
#ifndef KSM_ISOLATION_H
#define KSM_ISOLATION_H

#include "memory/ram.h"
#include "memory/staging.h"
#include "memory/verify.h"
#include "memory/writers.h"

/* Why a window ended before its last page. */
typedef enum KsmVerdict {
    KSM_VERDICT_DONE = 0, /* it did not */
    KSM_VERDICT_CHANGED,  /* the page differs from its replacement */
    KSM_VERDICT_PINNED,   /* the kernel refused to move it */
    KSM_VERDICT_DMA,      /* a device may be writing to it */
    KSM_VERDICT_HOLE,     /* there is no page */
    KSM_VERDICT_ERROR,    /* a system call or the memory failed */
} KsmVerdict;

typedef struct KsmIsolation {
    int uffd;    /* the tracker's */
    int pagemap; /* the tracker's */
    KsmWriters writers;
    KsmStaging staging;
    gboolean merge_any; /* ksmd may merge new mappings by default */
    KsmVerify verify;
    /* statistics */
    guint64 windows;
    guint64 window_ns_total;
    guint64 window_ns_max;
    guint64 window_us_histogram[KSM_STATS_WINDOW_BUCKETS];
} KsmIsolation;

gboolean ksm_isolation_open(KsmIsolation *q, int uffd, int pagemap,
                            GError **errp);
void ksm_isolation_close(KsmIsolation *q);

/*
 * Replaces pages [first, first + count) by a private mapping of `store_fd` at
 * `offset` (bytes), as far as they are byte-equal to `content`, which was read
 * from the same part of the store.  Returns the number of pages replaced,
 * starting at `first`; *verdict says why there were not more.  Afterwards the
 * replaced pages are unregistered.
 */
guint32 ksm_isolation_share(KsmIsolation *q, KsmRegion *region, guint32 first,
                            guint32 count, const guint8 *content, int store_fd,
                            guint64 offset, KsmVerdict *verdict);

/* The same for pages that hold only zeros: they become holes. */
guint32 ksm_isolation_zero(KsmIsolation *q, KsmRegion *region, guint32 first,
                           guint32 count, KsmVerdict *verdict);

/*
 * Ends a batch of windows: frees what is left in the staging area and makes
 * the area inaccessible.  Call it outside of windows, and before the scanner
 * sleeps.
 */
void ksm_isolation_drop(KsmIsolation *q);

/* The same, and frees more memory; when no window will follow for a while. */
void ksm_isolation_trim(KsmIsolation *q);

#endif /* KSM_ISOLATION_H */
