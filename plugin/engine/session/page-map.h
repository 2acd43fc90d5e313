/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* page-map.h: a map of the guest pages by state, for the broker. */
#ifndef KSM_PAGE_MAP_H
#define KSM_PAGE_MAP_H

#include "core/engine-private.h"

/* Sends the map with this serial; FALSE: the broker is lost. */
gboolean ksm_page_map_send(KsmEngine *engine, guint32 serial);

#endif /* KSM_PAGE_MAP_H */
