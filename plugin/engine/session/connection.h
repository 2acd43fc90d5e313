/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* connection.h: the engine's broker: connecting, loss, reconnecting. */
#ifndef KSM_CONNECTION_H
#define KSM_CONNECTION_H

#include "core/engine-private.h"

/* Connects; starts a broker if that is allowed and waits up to 3 s for it. */
gboolean ksm_connection_open(KsmEngine *engine, GError **errp);

/* Connects again if an attempt is due; TRUE while connected. */
gboolean ksm_connection_keep(KsmEngine *engine);

/* Milliseconds until the next attempt. */
guint64 ksm_connection_retry_ms(KsmEngine *engine);

#endif /* KSM_CONNECTION_H */
