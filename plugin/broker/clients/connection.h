/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * connection.h: one client's socket: receives packets, sends one reply to each.
 *
 * A connection is identified by its KsmRequestState.
 */
#ifndef KSM_CONNECTION_H
#define KSM_CONNECTION_H

#include "clients/state.h"

/** Takes over @fd, just accepted. */
void ksm_connection_new(KsmBroker *broker, int fd);

/** broker->close: closes and frees the connection and @state; logs nothing. */
void ksm_connection_close(KsmRequestState *state);

/**
 * broker->wake: something waits for the client.  Tells it if its version knows
 * WAKE and it has made a request since the last one; never closes.
 */
void ksm_connection_wake(KsmRequestState *state);

/**
 * broker->ready: the session that HELLO waits for is ready.  May close the
 * connection.
 */
void ksm_connection_ready(KsmRequestState *state);

#endif /* KSM_CONNECTION_H */
