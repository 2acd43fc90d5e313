/* SPDX-License-Identifier: GPL-2.0-or-later */
/* session.h: everything that one engine of a process holds in its group. */
#ifndef KSM_SESSION_H
#define KSM_SESSION_H

#include <glib.h>

#include "clients/state.h"
#include "ksm-protocol.h"

/**
 * Whether the protocol version of a HELLO is supported.  The packet may be
 * truncated.  Stores the version in @version; 0 if the packet has none.
 */
gboolean ksm_session_check_version(const guint8 *packet, gsize bytes,
                                   guint32 *version, GError **errp);

/**
 * Gives a connection a session: the one that this engine of the process had, if
 * it exists and is not longer than the pages in @hello; otherwise a new one.
 * @store_fd is the store that the client had before, or -1; it stays the
 * caller's.
 */
KsmSession *ksm_session_open(KsmRequestState *state, KsmProcess *process,
                             const KsmMsgHello *hello, int store_fd,
                             KsmWelcome *welcome, GError **errp);

/**
 * FALSE while listings of its former connection are being withdrawn, or while
 * it waits for clients of the previous broker (grace.c).  Then broker->ready()
 * is called later.
 */
gboolean ksm_session_is_ready(const KsmSession *session);

/** Answers the HELLOs of a group (NULL: of all) that need not wait any more. */
void ksm_broker_welcome(KsmBroker *broker, const KsmShard *shard);

/** Grows the session to @pages; fails at a limit, or if it would shrink. */
gboolean ksm_session_resize(KsmSession *session, guint64 pages, GError **errp);

/**
 * Adds the session to the roster of its group's store, if it is not there yet,
 * and marks @fd, an open file of the store that the client has or will get.
 * Either every open file by which it could map the store is marked, or none
 * (roster.h).
 */
gboolean ksm_session_mark(KsmSession *session, int fd, GError **errp);

/** The connection has closed; the process may be alive. */
void ksm_session_detach(KsmSession *session);

/** The process has exited. */
void ksm_session_end(KsmSession *session);

#endif /* KSM_SESSION_H */
