/* SPDX-License-Identifier: GPL-2.0-or-later */
/* broker-limits.h: limits of all, who is told of them, and the idle end. */
#ifndef KSM_BROKER_LIMITS_H
#define KSM_BROKER_LIMITS_H

#include <glib.h>

#include "clients/state.h"

/** Limits that suit the machine. */
void ksm_broker_default_limits(KsmBrokerLimits *limits);

/** Starts or stops the timer of idle-exit, as the broker is idle or not. */
void ksm_broker_check_idle(KsmBroker *broker);

/**
 * Content of the user was refused: if a limit did it, logs it, at most once a
 * minute.
 */
void ksm_broker_note_refused(KsmBroker *broker, KsmUser *user);

#endif /* KSM_BROKER_LIMITS_H */
