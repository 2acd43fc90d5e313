/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stats.h: the published snapshot of the statistics. */
#ifndef KSM_STATS_H
#define KSM_STATS_H

#include "core/engine-private.h"

/* Collects the current statistics; scanner, or under the work lock. */
void ksm_stats_collect(KsmEngine *engine, KsmStats *stats);

/* Measures the memory that the bookkeeping takes.  Scanner thread. */
void ksm_stats_measure(KsmEngine *engine);

/* Publishes a snapshot for ksm_engine_get_stats(). */
void ksm_stats_publish(KsmEngine *engine);

#endif /* KSM_STATS_H */
