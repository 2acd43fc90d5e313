/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* staging.h: where pages are between being taken away and being dropped. */
#ifndef KSM_STAGING_H
#define KSM_STAGING_H

#include <glib.h>

/* Scanner thread only. */
typedef struct KsmStaging {
    int uffd; /* the tracker's */
    guint8 *area;
    gboolean is_open; /* accessible and registered */
    guint32 used;     /* pages handed out since it was emptied */
    guint64 opened_ns;
} KsmStaging;

/* Reserves the addresses; 0 or -errno.  Always call ksm_staging_free(). */
int ksm_staging_init(KsmStaging *staging, int uffd);
void ksm_staging_free(KsmStaging *staging);

/*
 * Returns empty room for `count` pages, or NULL.  It must be empty, because a
 * page that another window left there would be taken for one that has arrived.
 * Opens the area.
 */
guint8 *ksm_staging_take(KsmStaging *staging, guint32 count);

/*
 * Frees what the area holds and makes it inaccessible.  Call it outside of
 * windows, and before the scanner sleeps.
 */
void ksm_staging_shut(KsmStaging *staging);

/* Repeats the advice on the area that excludes it from ksmd. */
void ksm_staging_unmergeable(KsmStaging *staging);

/* Whether it has been open so long that threads waiting for it must run. */
gboolean ksm_staging_is_old(const KsmStaging *staging);

#endif /* KSM_STAGING_H */
