/* SPDX-License-Identifier: GPL-2.0-or-later */
/* publish.h: the request PUBLISH. */
#ifndef KSM_PUBLISH_H
#define KSM_PUBLISH_H

#include <glib.h>

#include "group/state.h"
#include "ksm-protocol.h"

/**
 * PUBLISH of @count @items.  The content of item i is at @contents + i * 4096,
 * in memory that the client may change at any time.  Fills @answers.  FALSE
 * with KSM_ERROR_PROTOCOL if an item is invalid.
 */
gboolean ksm_group_publish(KsmMember *member, const KsmPublish *items,
                           guint count, const guint8 *contents,
                           KsmAnswer *answers, GError **errp);

#endif /* KSM_PUBLISH_H */
