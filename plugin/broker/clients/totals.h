/* SPDX-License-Identifier: GPL-2.0-or-later */
/* totals.h: the figures of sessions, added up per group and over all. */
#ifndef KSM_TOTALS_H
#define KSM_TOTALS_H

#include <glib.h>

#include "clients/state.h"

/** Fills the totals of @broker and of each of its groups. */
void ksm_totals_update(KsmBroker *broker);

/**
 * What sharing saves: pages mapped to slots or given back as zero, less the
 * slots.  Negative when most users of the slots have written to their pages.
 */
gint64 ksm_totals_saved_pages(const KsmTotals *totals);

/**
 * A session's part of that: of the slots it bears as large a part as it has
 * of the group's pages in store mappings.  After ksm_totals_update().
 */
gint64 ksm_totals_session_saved_pages(const KsmSession *session);

/** Called for each session whose process lives. */
typedef void (*KsmSessionVisit)(KsmSession *session, gpointer opaque);
void ksm_totals_visit(KsmBroker *broker, KsmSessionVisit visit,
                      gpointer opaque);

/** Memory for trees, tables and metadata, without stores and bulk memory. */
guint64 ksm_broker_memory_bytes(const KsmBroker *broker);

#endif /* KSM_TOTALS_H */
