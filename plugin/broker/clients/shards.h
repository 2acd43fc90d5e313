/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shards.h: the groups of a broker, and their scheduling. */
#ifndef KSM_SHARDS_H
#define KSM_SHARDS_H

#include <glib.h>

#include "clients/state.h"

/** The group of @family ("UID:NAME") for @node; created if missing. */
KsmShard *ksm_broker_get_group(KsmBroker *broker, const char *family, int node,
                               GError **errp);

/** Frees the group if it has no member, and waits for none. */
void ksm_broker_check_group(KsmBroker *broker, KsmGroup *group);

#endif /* KSM_SHARDS_H */
