/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * request-state.h: what the requests of one connection know of each other.
 *
 * It is a part of the connection, and begins and ends with it; but nothing here
 * leads to the socket, which connection.c alone knows.
 */
#ifndef KSM_REQUEST_STATE_H
#define KSM_REQUEST_STATE_H

#include <glib.h>

#include "clients/state.h"
#include "ksm-protocol.h"

/** Ranges of a WITHDRAW, RELEASE or RECLAIM that is carried out in steps. */
typedef struct KsmRangeJob {
    KsmReclaimRange *ranges;            /* NULL: no job; the slots are RECLAIM's */
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

struct KsmRequestState {
    KsmBroker *broker;
    KsmProcess *process;        /* NULL: not admitted */
    KsmSession *session;        /* NULL before HELLO */
    KsmRangeJob job;
    KsmPublishJob publish;
    guint8 *bulk;               /* KSM_BULK_BYTES, shared with the client; NULL:
                                   HELLO has not been answered */
    guint32 serial;             /* of the request at work */
    KsmWelcome welcome;         /* the answer to a HELLO that waits */
};

#endif /* KSM_REQUEST_STATE_H */
