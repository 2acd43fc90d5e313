/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connection.h: the engine's broker: found, started, lost, found again.
 */
#ifndef KSM_CONNECTION_H
#define KSM_CONNECTION_H

#include "core/engine-private.h"

/* Connects, starting a broker if that is allowed.  Waits up to 3 s for one. */
gboolean ksm_connection_open(KsmEngine *engine, GError **errp);

/* Connects again if it is time to try; TRUE while connected. */
gboolean ksm_connection_keep(KsmEngine *engine);

/* Milliseconds until the next attempt. */
guint64 ksm_connection_retry_ms(KsmEngine *engine);

#endif /* KSM_CONNECTION_H */
