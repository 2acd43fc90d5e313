/* SPDX-License-Identifier: GPL-2.0-or-later */
/* publish.h: the request PUBLISH. */
#ifndef KSM_PUBLISH_H
#define KSM_PUBLISH_H

#include <glib.h>

#include "group/state.h"
#include "ksm-protocol.h"

/** PUBLISH; content i at @contents + i * 4096, where a client may write. */
gboolean ksm_group_publish(KsmMember *member, const KsmPublish *items,
                           guint count, const guint8 *contents,
                           KsmAnswer *answers, GError **errp);

#endif /* KSM_PUBLISH_H */
