/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* release.c: reports to the broker the pages that no longer need it. */
#include "session/release.h"

#include <string.h>

#include "client/broker-client.h"

/* Sends an array of ranges in batches, and empties it. */
static gboolean send_ranges(KsmEngine *engine, GArray *ranges, KsmMsgType type)
{
    guint32 sent = 0;

    while (sent < ranges->len && ksm_broker_client_connected(&engine->broker)) {
        guint32 n = MIN(ranges->len - sent, KSM_BATCH_RANGES);

        memcpy(ksm_broker_client_items(&engine->broker),
               &g_array_index(ranges, KsmRange, sent), n * sizeof(KsmRange));
        if (!ksm_broker_client_call(&engine->broker, type, n, NULL)) {
            return FALSE;
        }
        sent += n;
    }
    g_array_set_size(ranges, 0);
    return ksm_broker_client_connected(&engine->broker);
}

gboolean ksm_release_send(KsmEngine *engine)
{
    return send_ranges(engine, engine->releases.withdrawn, KSM_MSG_WITHDRAW) &&
           send_ranges(engine, engine->releases.released, KSM_MSG_RELEASE);
}
