/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* report.h: sends statistics to the broker; gets the group's, and settings. */
#ifndef KSM_REPORT_H
#define KSM_REPORT_H

#include "core/engine-private.h"
#include "ksm-protocol.h"

/* A new connection: it has not delivered a setting yet. */
void ksm_report_begin(KsmEngine *engine);

/* Copies the listed statistics (stats-list.h) to a message. */
void ksm_report_fill(KsmMsgStats *msg, const KsmStats *stats);

/*
 * Sends the statistics and carries out what the broker asks for.  Uses the
 * bulk memory.  FALSE: the broker is lost.
 */
gboolean ksm_report_exchange(KsmEngine *engine);

/*
 * The same if it is connected and the last report was a while ago.  FALSE: the
 * broker was lost in doing so.
 */
gboolean ksm_report_if_due(KsmEngine *engine);

#endif /* KSM_REPORT_H */
