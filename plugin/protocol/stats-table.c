/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stats-table.c: the list of statistics as a table of the fields of STATS. */
#include "stats-table.h"

#include <stddef.h>

#define ROW(name, kind, unit) \
    { #name, offsetof(KsmMsgStats, name), KSM_STAT_##unit },

const KsmStatsRow ksm_stats_table[KSM_STATS_COUNT] = { KSM_STATS_FIELDS(ROW) };

/* Sums over the states use KSM_STATS_STATES: all states and the total. */
#define IS_STATE(name, kind, unit) +(KSM_STAT_##kind == KSM_STAT_STATE)
G_STATIC_ASSERT((1 KSM_STATS_FIELDS(IS_STATE)) ==
                (0 KSM_STATS_STATES(KSM_STATS_ONE_MORE)));
