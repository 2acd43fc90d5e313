/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shards.h: the groups of a broker, and the turns that they get. */
#ifndef KSM_SHARDS_H
#define KSM_SHARDS_H

#include <glib.h>

#include "clients/state.h"

/** The group of that user and name for that node, made if there is none. */
KsmShard *ksm_broker_get_group(KsmBroker *broker, const char *family,
                                   int node, GError **errp);

/** Puts the group away if it has no member, and waits for none. */
void ksm_broker_check_group(KsmBroker *broker, KsmGroup *group);

#endif /* KSM_SHARDS_H */
