/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * staging.h: where pages lie between being taken away and being dropped.
 */
#ifndef KSM_STAGING_H
#define KSM_STAGING_H

#include <glib.h>

/* Scanner thread only. */
typedef struct KsmStaging {
    int uffd;                   /* the tracker's */
    guint8 *area;
    gboolean is_open;           /* it can be reached, and is registered */
    guint32 used;               /* pages handed out since it was emptied */
    guint64 opened_ns;
} KsmStaging;

/* Reserves the addresses; 0 or -errno.  ksm_staging_free() after either. */
int ksm_staging_init(KsmStaging *staging, int uffd);
void ksm_staging_free(KsmStaging *staging);

/*
 * Room for `count` pages that holds nothing, or NULL: a page left there by
 * another window would be taken for one that has arrived.  Opens the area.
 */
guint8 *ksm_staging_take(KsmStaging *staging, guint32 count);

/*
 * Frees what the area holds and puts it out of reach.  Outside of windows, and
 * before the scanner sleeps.
 */
void ksm_staging_shut(KsmStaging *staging);

/* Advises the area once more: ksmd is to leave it alone. */
void ksm_staging_unmergeable(KsmStaging *staging);

/* Whether it is open for so long that whoever waits for it should go on. */
gboolean ksm_staging_is_old(const KsmStaging *staging);

#endif /* KSM_STAGING_H */
