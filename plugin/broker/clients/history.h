/* SPDX-License-Identifier: GPL-2.0-or-later */
/* history.h: the memory saved over the last hours, in a bounded ring. */
#ifndef KSM_HISTORY_H
#define KSM_HISTORY_H

#include <glib.h>

#include "clients/state.h"

#define KSM_HISTORY_SECONDS 10u   /* between two samples */
#define KSM_HISTORY_SAMPLES 2160u /* six hours */
#define KSM_HISTORY_GROUPS 256u   /* maximum of groups with a history */

/**
 * Seconds since the host was booted.  That clock cannot be set, so samples stay
 * in order; their time of day follows from their age.
 */
gint64 ksm_history_now(void);

/** Takes a sample of the broker and of each group, from their totals. */
void ksm_history_sample(KsmBroker *broker);

/** Sample @index of history->count; 0 is the oldest. */
const KsmSample *ksm_history_get(const KsmHistory *history, guint index);

/** Adds one sample; ksm_history_sample() calls it for each ring. */
void ksm_history_add(KsmHistory *history, const KsmTotals *totals,
                     gint64 time_s);

/** Sums up the histories of a group's nodes; the caller clears @sum. */
void ksm_history_of_family(const KsmBroker *broker, const char *family,
                           KsmHistory *sum);

void ksm_history_clear(KsmHistory *history);

#endif /* KSM_HISTORY_H */
