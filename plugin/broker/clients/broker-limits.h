/* SPDX-License-Identifier: GPL-2.0-or-later */
/* broker-limits.h: the broker-wide limits, logging refusals, and idle exit. */
#ifndef KSM_BROKER_LIMITS_H
#define KSM_BROKER_LIMITS_H

#include <glib.h>

#include "clients/state.h"

/** Fills in default limits that suit the machine. */
void ksm_broker_default_limits(KsmBrokerLimits *limits);

/** Starts the idle-exit timer if the broker is idle, stops it otherwise. */
void ksm_broker_check_idle(KsmBroker *broker);

/**
 * A page of the user was refused.  If a limit is the reason, logs that, at most
 * once a minute.
 */
void ksm_broker_note_refused(KsmBroker *broker, KsmUser *user);

#endif /* KSM_BROKER_LIMITS_H */
