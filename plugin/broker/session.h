/* SPDX-License-Identifier: GPL-2.0-or-later */
/* session.h: what one process holds under one name in its group. */
#ifndef KSM_SESSION_H
#define KSM_SESSION_H

#include "broker.h"
#include "figures.h"
#include "orders.h"
#include "ksm-protocol.h"

struct KsmSession {
    KsmBroker *broker;
    KsmProcess *process;
    KsmGroupHome *home;
    KsmMember *member;
    char *name;
    KsmConnection *connection;  /* NULL: an orphan */
    guint32 version;            /* of the protocol, that both speak */
    KsmFigures figures;         /* what the client told last */
    KsmOrders orders;           /* what is wanted of it */
};

/** Whether a HELLO, as far as it goes, is of a version spoken here. */
gboolean ksm_session_check_version(const guint8 *packet, gsize bytes,
                                   GError **errp);

/**
 * Gives @connection a session: the orphan of that process and name, if there
 * is one and it is not longer than @pages, else a new one.  @store_fd is the
 * store that the client had before, or -1; it stays the caller's.
 */
KsmSession *ksm_session_open(KsmConnection *connection, KsmProcess *process,
                             const KsmMsgHello *hello, int store_fd,
                             KsmWelcome *welcome, GError **errp);

/** FALSE while listings of its former connection are being withdrawn, or while
 * it waits for clients of old (grace.c); ksm_connection_ready() is called
 * after that. */
gboolean ksm_session_is_ready(const KsmSession *session);

gboolean ksm_session_resize(KsmSession *session, guint64 pages,
                            GError **errp);

/** The connection has gone, the process may live. */
void ksm_session_detach(KsmSession *session);

/** The process has gone. */
void ksm_session_end(KsmSession *session);

#endif /* KSM_SESSION_H */
