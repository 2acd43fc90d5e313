/* SPDX-License-Identifier: GPL-2.0-or-later */
/* session.h: what one engine of a process holds in its group. */
#ifndef KSM_SESSION_H
#define KSM_SESSION_H

#include <glib.h>

#include "clients/state.h"
#include "ksm-protocol.h"

/**
 * Whether a HELLO, as far as it goes, is of a version spoken here; its
 * @version, 0 if it does not go that far.
 */
gboolean ksm_session_check_version(const guint8 *packet, gsize bytes,
                                   guint32 *version, GError **errp);

/**
 * Gives a connection a session: the one that this engine of the process had, if
 * there is one and it is not longer than @pages, else a new one.  @store_fd is
 * the store that the client had before, or -1; it stays the caller's.
 */
KsmSession *ksm_session_open(KsmRequestState *state, KsmProcess *process,
                             const KsmMsgHello *hello, int store_fd,
                             KsmWelcome *welcome, GError **errp);

/** FALSE while listings of its former connection are being withdrawn, or while
 * it waits for clients of old (grace.c); broker->ready() is called after
 * that. */
gboolean ksm_session_is_ready(const KsmSession *session);

/** Answers those HELLOs of a group (NULL: of all) that need wait no more. */
void ksm_broker_welcome(KsmBroker *broker, const KsmShard *shard);

gboolean ksm_session_resize(KsmSession *session, guint64 pages,
                            GError **errp);

/**
 * Enters it in the roster of its group's store, if it is not there, and marks
 * @fd, an open file of the store that it has or is to get.  All that it could
 * map the store by must be marked, or none is: roster.h.
 */
gboolean ksm_session_mark(KsmSession *session, int fd, GError **errp);

/** The connection has gone, the process may live. */
void ksm_session_detach(KsmSession *session);

/** The process has gone. */
void ksm_session_end(KsmSession *session);

#endif /* KSM_SESSION_H */
