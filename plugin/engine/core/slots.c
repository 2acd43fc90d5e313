/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* slots.c: access to the store of slots, without its socket. */
#include "core/slots.h"

#include "client/broker-client.h"

int ksm_slots_fd(const KsmEngine *engine)
{
    return engine->broker.store_fd;
}

gboolean ksm_slots_have(KsmEngine *engine, guint32 slot)
{
    return ksm_broker_client_slot_ok(&engine->broker, slot);
}
