/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hwpoison.h: guest pages whose memory has failed.
 */
#ifndef KSM_HWPOISON_H
#define KSM_HWPOISON_H

#include "core/engine-private.h"

/*
 * Finds which of the pages cannot be read, and records them: they are left alone
 * from now on.  Returns how many.  Outside of windows.
 */
guint32 ksm_hwpoison_probe(KsmEngine *engine, KsmRegion *region, guint32 first,
                          guint32 count);

#endif /* KSM_HWPOISON_H */
