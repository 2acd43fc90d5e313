/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* slots.h: access to the store of slots, without its socket. */
#ifndef KSM_SLOTS_H
#define KSM_SLOTS_H

#include "core/engine-private.h"

/* The store's descriptor, for reading and mapping; not owned by the caller. */
int ksm_slots_fd(const KsmEngine *engine);

/* Whether the store has this slot. */
gboolean ksm_slots_have(KsmEngine *engine, guint32 slot);

#endif /* KSM_SLOTS_H */
