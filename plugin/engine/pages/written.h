/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* written.h: how a write changes the state of a page. */
#ifndef KSM_WRITTEN_H
#define KSM_WRITTEN_H

#include "core/engine-private.h"

/* An anonymous page was written, or counts as written. */
void ksm_written_note(KsmEngine *engine, KsmRegion *region, guint32 page);

#endif /* KSM_WRITTEN_H */
