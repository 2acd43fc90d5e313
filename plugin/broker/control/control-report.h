/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control-report.h: replies of the control socket with statistics. */
#ifndef KSM_CONTROL_REPORT_H
#define KSM_CONTROL_REPORT_H

#include <glib.h>

#include "clients/state.h"
#include "control/control-json.h"

/** Broker, host and groups; call ksm_totals_update() first. */
void ksm_control_report_status(KsmBroker *broker, KsmJson *json);

/** "sessions": details of each; call ksm_totals_update() first. */
void ksm_control_report_sessions(const GPtrArray *sessions, KsmJson *json);

/** "fields", and "samples" of the last @seconds. */
void ksm_control_report_history(const KsmHistory *history, gint64 seconds,
                                KsmJson *json);

#endif /* KSM_CONTROL_REPORT_H */
