/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* releases.h: pages to report to the broker, by session page. */
#ifndef KSM_RELEASES_H
#define KSM_RELEASES_H

#include "core/engine-private.h"

/* The page no longer needs its slot. */
void ksm_releases_add(KsmEngine *engine, const KsmRegion *region, guint32 page);

/* The page no longer has the content that it is listed with. */
void ksm_releases_withdraw(KsmEngine *engine, const KsmRegion *region,
                           guint32 page);

#endif /* KSM_RELEASES_H */
