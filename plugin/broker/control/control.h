/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.h: the control socket: authorised users read statistics and change
 * settings.  docs/control-protocol.md describes the protocol.
 */
#ifndef KSM_CONTROL_H
#define KSM_CONTROL_H

#include <sys/types.h>

#include "clients/state.h"

/** Maximum number of clients at the same time. */
#define KSM_CONTROL_CLIENTS 32u
/** The same for one user that is neither root nor the broker's own. */
#define KSM_CONTROL_USER_CLIENTS (KSM_CONTROL_CLIENTS / 2)

/** Starts serving on @listen_fd, which it takes over; it cannot be stopped. */
void ksm_control_start(KsmBroker *broker, int listen_fd, gid_t group);

#endif /* KSM_CONTROL_H */
