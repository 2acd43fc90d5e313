/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client-stats.h: what a client tells of itself, made safe to show and to add. */
#ifndef KSM_CLIENT_STATS_H
#define KSM_CLIENT_STATS_H

#include <glib.h>

#include "ksm-protocol.h"

typedef struct KsmClientStats {
    KsmMsgStats stats;
    gint64 last_seen_us;            /* monotonic; 0: never */
    gint64 rate_us;             /* since when CPU time is measured */
    guint64 rate_cpu_ns;
    gboolean rate_known;
    guint cpu_centi;            /* hundredths of a per cent of one CPU */
} KsmClientStats;

/**
 * Takes a client's STATS.  Nothing it says exceeds what its session has:
 * counts of pages end at @pages, strings are terminated and printable.
 */
void ksm_client_stats_take(KsmClientStats *client, const KsmMsgStats *stats,
                      guint64 pages);

#endif /* KSM_CLIENT_STATS_H */
