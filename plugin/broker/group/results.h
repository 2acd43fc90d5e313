/* SPDX-License-Identifier: GPL-2.0-or-later */
/* results.h: the request FETCH_RESULTS. */
#ifndef KSM_RESULTS_H
#define KSM_RESULTS_H

#include <glib.h>

#include "group/state.h"
#include "ksm-protocol.h"

/** FETCH_RESULTS: binds up to @max pages; returns their number. */
guint ksm_group_take_results(KsmMember *member, KsmResult *results, guint max);

#endif /* KSM_RESULTS_H */
