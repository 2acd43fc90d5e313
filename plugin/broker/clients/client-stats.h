/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client-stats.h: statistics from a client, made safe to display and to add. */
#ifndef KSM_CLIENT_STATS_H
#define KSM_CLIENT_STATS_H

#include <glib.h>

#include "ksm-protocol.h"

typedef struct KsmClientStats {
    KsmMsgStats stats;
    gint64 last_seen_us; /* monotonic; 0: never */
    gint64 rate_us;      /* start of the CPU time measurement */
    guint64 rate_cpu_ns;
    gboolean rate_known;
    guint cpu_centi; /* hundredths of a per cent of one CPU */
} KsmClientStats;

/**
 * Stores a client's STATS.  Page counts are limited to @pages, the size of its
 * session; strings are made NUL-terminated and printable.
 */
void ksm_client_stats_take(KsmClientStats *client, const KsmMsgStats *stats,
                           guint64 pages);

#endif /* KSM_CLIENT_STATS_H */
