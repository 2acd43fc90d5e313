/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * slots.h: the store that slots are in, without its socket.
 */
#ifndef KSM_SLOTS_H
#define KSM_SLOTS_H

#include "core/engine-private.h"

/* Its descriptor, for reading and mapping. */
int ksm_slots_fd(const KsmEngine *engine);

/* Whether the store has such a slot. */
gboolean ksm_slots_have(KsmEngine *engine, guint32 slot);

#endif /* KSM_SLOTS_H */
