/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stats.h: the snapshot that others see.
 */
#ifndef KSM_STATS_H
#define KSM_STATS_H

#include "core/engine-private.h"

/* The figures now, by the scanner or under the work lock. */
void ksm_stats_collect(KsmEngine *engine, KsmStats *stats);

/* Finds out what memory the bookkeeping has taken.  The scanner's. */
void ksm_stats_measure(KsmEngine *engine);

/* Copies them for ksm_engine_get_stats(). */
void ksm_stats_publish(KsmEngine *engine);

#endif /* KSM_STATS_H */
