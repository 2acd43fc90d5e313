/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.h: the control socket: figures for who may see them, orders from
 * who may give them.  docs/control-protocol.md says what is spoken.
 */
#ifndef KSM_CONTROL_H
#define KSM_CONTROL_H

#include <sys/types.h>

#include "clients/state.h"

/** Most clients at the same time. */
#define KSM_CONTROL_CLIENTS 32u
/** Most of one user that is neither root nor the broker's own. */
#define KSM_CONTROL_USER_CLIENTS (KSM_CONTROL_CLIENTS / 2)

/** Serves on @listen_fd from now on; there is no way to stop it. */
void ksm_control_start(KsmBroker *broker, int listen_fd, gid_t group);

#endif /* KSM_CONTROL_H */
