/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * account.h: how many kernel mappings a region's pages need.
 */
#ifndef KSM_ACCOUNT_H
#define KSM_ACCOUNT_H

#include "memory/region.h"

/*
 * Places between pages first - 1 and end where one mapping ends and another
 * begins; *stores counts those where a store mapping begins.
 */
guint32 ksm_account_borders(const KsmRegion *region, guint32 first,
                           guint32 end, guint32 *stores);

/*
 * Mappings that the change of pages [first, first + count) from anonymous to
 * slots from `slot` on would add (or save, when negative).
 */
gint64 ksm_account_delta(const KsmRegion *region, guint32 first, guint32 count,
                        guint32 slot);


/* What pages [first, end) needed before they change. */
typedef struct KsmAccountChange {
    guint32 first;
    guint32 end;
    guint32 borders;
    guint32 stores;
} KsmAccountChange;

/* Around every change of what pages are in: the only ones that keep the count. */
KsmAccountChange ksm_account_begin(const KsmRegion *region, guint32 first,
                                   guint32 end);
void ksm_account_end(KsmRegion *region, const KsmAccountChange *change);

#endif /* KSM_ACCOUNT_H */
