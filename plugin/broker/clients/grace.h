/* SPDX-License-Identifier: GPL-2.0-or-later */
/* grace.h: clients of a broker that has gone come before newcomers. */
#ifndef KSM_GRACE_H
#define KSM_GRACE_H

#include <glib.h>

#include "clients/state.h"

/**
 * Begins, when the broker before this one ended with sessions.  @mark_fd: a
 * file that outlives brokers, not empty while one has sessions; -1: none.
 */
void ksm_grace_begin(KsmBroker *broker, int mark_fd);

/** Whether a session that hands no store in waits for those that may. */
gboolean ksm_grace_holds(const KsmSession *session);

/** Tells of sessions that have come or gone. */
void ksm_grace_note_sessions(KsmBroker *broker);

#endif /* KSM_GRACE_H */
