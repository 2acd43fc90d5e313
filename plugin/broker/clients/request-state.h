/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * request-state.h: the state shared by the requests of one connection.
 *
 * It is embedded in the connection and has the same lifetime.  It has no
 * reference to the socket, which only connection.c knows.
 */
#ifndef KSM_REQUEST_STATE_H
#define KSM_REQUEST_STATE_H

#include <glib.h>

#include "clients/state.h"
#include "ksm-protocol.h"

/** Ranges of a WITHDRAW, RELEASE or RECLAIM that is processed in steps. */
typedef struct KsmRangeJob {
    KsmReclaimRange *ranges; /* NULL: no job; only RECLAIM uses the slots */
    guint count;
    guint at;     /* current range */
    guint64 done; /* pages done of it */
    guint32 type;
} KsmRangeJob;

/** Items of a PUBLISH that is processed in steps. */
typedef struct KsmPublishJob {
    KsmPublish *items; /* NULL: no job */
    KsmAnswer *answers;
    guint count;
    guint at;
} KsmPublishJob;

struct KsmRequestState {
    KsmBroker *broker;
    KsmProcess *process; /* NULL: not admitted */
    KsmSession *session; /* NULL before HELLO */
    KsmRangeJob job;
    KsmPublishJob publish;
    guint8 *bulk;       /* KSM_BULK_BYTES, shared with the client; NULL:
                                   HELLO has not been answered */
    guint32 serial;     /* of the current request */
    KsmWelcome welcome; /* the answer to a waiting HELLO */
};

#endif /* KSM_REQUEST_STATE_H */
