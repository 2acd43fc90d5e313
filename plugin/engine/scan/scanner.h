/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scanner.h: the engine's thread.
 */
#ifndef KSM_SCANNER_H
#define KSM_SCANNER_H

#include "core/engine-private.h"

/* GThreadFunc; data is the engine. */
gpointer ksm_scanner_thread(gpointer data);

/*
 * Removes tracking from all regions, piece by piece, under the work lock;
 * engine->turn.detached says whether it is done.  Unless `at_once`, it ends
 * early if a thread waits for the engine, and continues with the next call.
 */
void ksm_scanner_detach(KsmEngine *engine, gboolean at_once);

/* From here on, regions are registered again (ksm_tracker_register()). */
void ksm_scanner_attach(KsmEngine *engine);

#endif /* KSM_SCANNER_H */
