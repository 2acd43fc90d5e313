/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * report.h: this engine's figures to the broker, the group's from it.
 */
#ifndef KSM_REPORT_H
#define KSM_REPORT_H

#include "engine-private.h"

/* One exchange; FALSE: the broker is lost. */
gboolean ksm_report_exchange(KsmEngine *engine);

#endif /* KSM_REPORT_H */
