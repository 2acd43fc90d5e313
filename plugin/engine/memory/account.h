/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* account.h: how many kernel mappings a region's pages need. */
#ifndef KSM_ACCOUNT_H
#define KSM_ACCOUNT_H

#include "memory/region.h"

/*
 * Number of borders between mappings in pages [first - 1, end); *stores is the
 * number of those where a store mapping begins.
 */
guint32 ksm_account_borders(const KsmRegion *region, guint32 first, guint32 end,
                            guint32 *stores);

/*
 * Mappings that changing pages [first, first + count) from anonymous memory to
 * consecutive slots, starting at `slot`, would add (or save, if negative).
 */
gint64 ksm_account_delta(const KsmRegion *region, guint32 first, guint32 count,
                         guint32 slot);

/* What pages [first, end) need before they change. */
typedef struct KsmAccountChange {
    guint32 first;
    guint32 end;
    guint32 borders;
    guint32 stores;
} KsmAccountChange;

/*
 * Must enclose every change of a page's mapping: only these update the count.
 */
KsmAccountChange ksm_account_begin(const KsmRegion *region, guint32 first,
                                   guint32 end);
void ksm_account_end(KsmRegion *region, const KsmAccountChange *change);

#endif /* KSM_ACCOUNT_H */
