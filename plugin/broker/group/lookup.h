/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lookup.h: the request LOOKUP. */
#ifndef KSM_LOOKUP_H
#define KSM_LOOKUP_H

#include <glib.h>

#include "group/state.h"
#include "ksm-protocol.h"

/**
 * LOOKUP.  Fills @answers, one for each of the @count items.  FALSE with
 * KSM_ERROR_PROTOCOL if an item is invalid; earlier items may already have been
 * carried out.
 */
gboolean ksm_group_lookup(KsmMember *member, const KsmLookup *items,
                          guint count, KsmAnswer *answers, GError **errp);

#endif /* KSM_LOOKUP_H */
