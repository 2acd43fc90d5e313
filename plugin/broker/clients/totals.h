/* SPDX-License-Identifier: GPL-2.0-or-later */
/* totals.h: statistics of sessions, summed per group and over all groups. */
#ifndef KSM_TOTALS_H
#define KSM_TOTALS_H

#include <glib.h>

#include "clients/state.h"

/** Fills the totals of @broker and of each of its groups. */
void ksm_totals_update(KsmBroker *broker);

/**
 * Pages saved by sharing: pages mapped to slots or freed as zero, minus the
 * slots.  Negative if most users of the slots have written to their pages.
 */
gint64 ksm_totals_saved_pages(const KsmTotals *totals);

/**
 * A session's part of the saved pages.  Slots are charged to it in proportion
 * to its part of the group's pages in store mappings.  Call ksm_totals_update()
 * first.
 */
gint64 ksm_totals_session_saved_pages(const KsmSession *session);

/** Called for each session whose process is alive. */
typedef void (*KsmSessionVisit)(KsmSession *session, gpointer opaque);
void ksm_totals_visit(KsmBroker *broker, KsmSessionVisit visit,
                      gpointer opaque);

/** Bytes of trees, tables and metadata, without stores and bulk memory. */
guint64 ksm_broker_memory_bytes(const KsmBroker *broker);

#endif /* KSM_TOTALS_H */
