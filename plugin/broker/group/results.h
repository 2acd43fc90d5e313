/* SPDX-License-Identifier: GPL-2.0-or-later */
/* results.h: the request FETCH_RESULTS. */
#ifndef KSM_RESULTS_H
#define KSM_RESULTS_H

#include <glib.h>

#include "group/state.h"
#include "ksm-protocol.h"

/**
 * FETCH_RESULTS: takes deferred results, and binds pages whose content has a
 * slot.  Writes at most @max @results; returns their number.
 */
guint ksm_group_take_results(KsmMember *member, KsmResult *results, guint max);

#endif /* KSM_RESULTS_H */
