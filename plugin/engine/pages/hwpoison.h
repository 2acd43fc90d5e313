/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hwpoison.h: guest pages whose memory has failed. */
#ifndef KSM_HWPOISON_H
#define KSM_HWPOISON_H

#include "core/engine-private.h"

/*
 * Finds the pages that cannot be read and marks them, so that they are left
 * alone.  Returns their number.  Call it outside of windows.
 */
guint32 ksm_hwpoison_probe(KsmEngine *engine, KsmRegion *region, guint32 first,
                           guint32 count);

#endif /* KSM_HWPOISON_H */
