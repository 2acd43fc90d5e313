/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stats-table.h: the list of statistics as a table of the fields of STATS. */
#ifndef KSM_STATS_TABLE_H
#define KSM_STATS_TABLE_H

#include <glib.h>

#include "ksm-protocol.h"
#include "stats-list.h"

typedef struct KsmStatsRow {
    const char *name;
    gsize offset; /* of a guint64 in KsmMsgStats */
    KsmStatUnit unit;
} KsmStatsRow;

/** In the order of the list, which is also the order of the offsets. */
extern const KsmStatsRow ksm_stats_table[KSM_STATS_COUNT];

#endif /* KSM_STATS_TABLE_H */
