/* SPDX-License-Identifier: GPL-2.0-or-later */
/* grace.h: clients of a previous broker take precedence over new ones. */
#ifndef KSM_GRACE_H
#define KSM_GRACE_H

#include <glib.h>

#include "clients/state.h"

/**
 * Starts the grace period if the previous broker exited while it had sessions.
 * @mark_fd: a file that outlives brokers, and is not empty while a broker has
 * sessions; -1: none.
 */
void ksm_grace_begin(KsmBroker *broker, int mark_fd);

/** Whether a session without a store must wait for clients that have one. */
gboolean ksm_grace_holds(const KsmSession *session);

/** Updates the mark when the number of sessions has changed. */
void ksm_grace_note_sessions(KsmBroker *broker);

#endif /* KSM_GRACE_H */
