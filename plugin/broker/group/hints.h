/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hints.h: the request HINTS. */
#ifndef KSM_HINTS_H
#define KSM_HINTS_H

#include <glib.h>

#include "group/state.h"
#include "ksm-protocol.h"

/** HINTS: binds up to @max pages; returns their number. */
guint ksm_group_take_hints(KsmMember *member, KsmHint *hints, guint max);

#endif /* KSM_HINTS_H */
