/* SPDX-License-Identifier: GPL-2.0-or-later */
/* connection.h: one client's socket: packets in, one reply to each out. */
#ifndef KSM_CONNECTION_H
#define KSM_CONNECTION_H

#include <glib.h>

#include "clients/state.h"
#include "host/watch.h"
#include "ksm-protocol.h"

/* The longest packet either way; a longer one is refused unread. */
#define KSM_CONNECTION_PACKET 1024u

/** Ranges of a WITHDRAW, RELEASE or HOLD that is carried out in steps. */
typedef struct KsmRangeJob {
    KsmHold *ranges;            /* NULL: no job; the slots are HOLD's */
    guint count;
    guint at;                   /* range, and pages done of it */
    guint64 done;
    guint32 type;
} KsmRangeJob;

/** Items of a PUBLISH that is carried out in steps. */
typedef struct KsmPublishJob {
    KsmPublish *items;          /* NULL: no job */
    KsmAnswer *answers;
    guint count;
    guint at;
} KsmPublishJob;

/** What requests are, to a connection: request.c. */
typedef struct KsmConnectionOps {
    /* Carries out one request and replies, or begins to.  FALSE: the client
       must go; the connection is still there. */
    gboolean (*handle)(KsmConnection *connection, const guint8 *packet,
                       gsize bytes, GError **errp);
    /* One step of one that goes on in steps; TRUE while there is more.  When
       @errp gets set it is over, and the client must go. */
    gboolean (*step)(KsmConnection *connection, GError **errp);
    /* The session that HELLO waits for is ready: answers it. */
    gboolean (*ready)(KsmConnection *connection, GError **errp);
    /* The connection of @session has been closed and freed. */
    void (*closed)(KsmSession *session);
} KsmConnectionOps;

struct KsmConnection {
    const KsmConnectionOps *ops;
    KsmBroker *broker;
    KsmProcess *process;
    KsmSession *session;        /* NULL before HELLO */
    GList link;                 /* in broker->connections */
    int fd;
    KsmWatch watch;
    guint hello_timer;
    GSource *job_source;
    KsmRangeJob job;
    KsmPublishJob publish;
    guint8 *bulk;               /* KSM_BULK_BYTES, shared with the client */
    guint8 out[KSM_CONNECTION_PACKET];  /* a reply that is not sent yet */
    gsize out_bytes;
    int out_fds[2];
    guint out_fd_count;
    guint32 serial;             /* of the request at work */
    KsmWelcome welcome;
    int store_fd;               /* that came with HELLO, or -1 */
};

/** Takes over @fd, just accepted. */
void ksm_connection_new(KsmBroker *broker, int fd, const KsmConnectionOps *ops);

/** Closes it and frees it, silently. */
void ksm_connection_close(KsmConnection *connection);

/** Logs @error, tells the client, closes.  Frees the connection. */
void ksm_connection_fail(KsmConnection *connection, const GError *error);

/** Sends the reply to the request at work and goes on to the next one. */
void ksm_connection_reply(KsmConnection *connection, gconstpointer reply,
                          gsize bytes);

/** The session that HELLO waits for is ready. */
void ksm_connection_ready(KsmConnection *connection);

/** Forgets what goes on in steps; what was done stands. */
void ksm_connection_drop_job(KsmConnection *connection);

KsmSession *ksm_connection_session(const KsmConnection *connection);
KsmProcess *ksm_connection_process(const KsmConnection *connection);

#endif /* KSM_CONNECTION_H */
