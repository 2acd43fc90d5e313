/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * regions.h: the engine's regions, by page.
 */
#ifndef KSM_REGIONS_H
#define KSM_REGIONS_H

#include "core/engine-private.h"

/* The region of a session-wide page, or NULL. */
KsmRegion *ksm_engine_find_region(KsmEngine *engine, guint32 page);

#endif /* KSM_REGIONS_H */
