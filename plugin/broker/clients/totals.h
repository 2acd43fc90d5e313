/* SPDX-License-Identifier: GPL-2.0-or-later */
/* totals.h: the figures of sessions, added up per group and over all. */
#ifndef KSM_TOTALS_H
#define KSM_TOTALS_H

#include <glib.h>

typedef struct KsmBroker KsmBroker;
typedef struct KsmSession KsmSession;

/** Pages unless named otherwise; names as in KsmStats (guest-ksm.h). */
typedef struct KsmTotals {
    guint64 vms;                /* processes that have some */
    guint64 sessions;
    guint64 pages_total;
    guint64 pages_untouched;
    guint64 pages_volatile;
    guint64 pages_unshared;
    guint64 pages_sharing;      /* mapped to slots, as the clients say */
    guint64 zero_pages;
    guint64 pages_broken;
    guint64 pages_excluded;
    guint64 pages_shared;       /* slots in use */
    guint64 metadata_bytes;     /* of the engines */
    guint64 cpu_ns;             /* of the sessions that are there */
    guint64 cpu_centi;          /* hundredths of a per cent of one CPU */
} KsmTotals;

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

#endif /* KSM_TOTALS_H */
