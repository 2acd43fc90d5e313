/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.h: figures to the broker; the group's, and orders, from it.
 */
#ifndef KSM_REPORT_H
#define KSM_REPORT_H

#include "core/engine-private.h"
#include "ksm-protocol.h"

/* A new connection: no order has come over it yet. */
void ksm_report_begin(KsmEngine *engine);

/* The listed statistics (stats-list.h), for the wire. */
void ksm_report_fill(KsmMsgStats *msg, const KsmStats *stats);

/*
 * Tells the figures, carries out what the broker asks for.  Uses the bulk
 * memory.  FALSE: the broker is lost.
 */
gboolean ksm_report_exchange(KsmEngine *engine);

/*
 * The same when it is connected and the last time was a while ago.  FALSE: the
 * broker was lost by it.
 */
gboolean ksm_report_if_due(KsmEngine *engine);

#endif /* KSM_REPORT_H */
