/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * connection.h: one client's socket: packets in, one reply to each out.
 *
 * Connections are known by their KsmRequestState.
 */
#ifndef KSM_CONNECTION_H
#define KSM_CONNECTION_H

#include "clients/state.h"

/** Takes over @fd, just accepted. */
void ksm_connection_new(KsmBroker *broker, int fd);

/** broker->close: closes it and frees it, silently; @state is gone then. */
void ksm_connection_close(KsmRequestState *state);

/** broker->ready: the session that HELLO waits for is ready; may close it. */
void ksm_connection_ready(KsmRequestState *state);

#endif /* KSM_CONNECTION_H */
