/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scanner.h: the engine's thread.
 */
#ifndef KSM_SCANNER_H
#define KSM_SCANNER_H

#include "engine-private.h"

/* GThreadFunc; data is the engine. */
gpointer ksm_scanner_thread(gpointer data);

/* Takes tracking off all regions, however long that takes; work lock. */
void ksm_scanner_detach(KsmEngine *engine);

#endif /* KSM_SCANNER_H */
