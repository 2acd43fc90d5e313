/* SPDX-License-Identifier: GPL-2.0-or-later */
/* history.h: what was saved over the last hours, in a bounded ring. */
#ifndef KSM_HISTORY_H
#define KSM_HISTORY_H

#include <glib.h>

#include "clients/state.h"

#define KSM_HISTORY_SECONDS 10u         /* between two samples */
#define KSM_HISTORY_SAMPLES 2160u       /* six hours */
#define KSM_HISTORY_GROUPS 256u         /* most groups that have one */

/**
 * Seconds since the host was started.  Nobody sets that clock, so samples stay
 * in order; their time of day follows from how long ago they were taken.
 */
gint64 ksm_history_now(void);

/** Takes a sample of the broker and of its groups, from their totals. */
void ksm_history_sample(KsmBroker *broker);

/** Sample @index of history->count, the oldest being 0. */
const KsmSample *ksm_history_get(const KsmHistory *history, guint index);

/** Puts one in; what ksm_history_sample() does for each ring. */
void ksm_history_add(KsmHistory *history, const KsmTotals *totals,
                     gint64 time_s);

/** The histories of a group's nodes, added up; to be cleared. */
void ksm_history_of_family(const KsmBroker *broker, const char *family,
                           KsmHistory *sum);

void ksm_history_clear(KsmHistory *history);

#endif /* KSM_HISTORY_H */
