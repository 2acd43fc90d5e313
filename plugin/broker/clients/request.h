/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * request.h: what each message of a client does.
 *
 * A request comes in as a packet and goes out as a reply, both of them memory:
 * who called sends it.
 */
#ifndef KSM_REQUEST_H
#define KSM_REQUEST_H

#include <glib.h>

#include "clients/request-state.h"

/* The longest packet either way; a longer one is refused unread. */
#define KSM_REQUEST_PACKET 1024u

/** What became of a request, so far. */
typedef enum KsmRequestResult {
    KSM_REQUEST_FAILED = FALSE, /* the error is set: the client must go */
    KSM_REQUEST_REPLY,          /* it is over, and this is the reply */
    KSM_REQUEST_MORE,           /* it goes on with ksm_request_step() */
    KSM_REQUEST_LATER,          /* HELLO waits until broker->ready() is called,
                                   then goes on with ksm_request_welcome() */
} KsmRequestResult;

typedef struct KsmReply {
    guint8 packet[KSM_REQUEST_PACKET] __attribute__((aligned(8)));
    gsize bytes;                /* 0: none */
    int fds[2];                 /* that go with it; they are the reply's own */
    guint fd_count;
} KsmReply;

/**
 * Carries out one request, or begins to.  @reply is empty, and filled in when
 * KSM_REQUEST_REPLY is returned; the caller closes its descriptors, also when
 * the request has failed.  @store_fd: what came with the packet, or -1; it
 * stays the caller's.
 */
KsmRequestResult ksm_request_handle(KsmRequestState *state,
                                    const guint8 *packet, gsize bytes,
                                    int store_fd, KsmReply *reply,
                                    GError **errp);

/** One step of a request that goes on in steps; the same of @reply. */
KsmRequestResult ksm_request_step(KsmRequestState *state, KsmReply *reply,
                                  GError **errp);

/** Answers the HELLO that waits; the same of @reply. */
KsmRequestResult ksm_request_welcome(KsmRequestState *state, KsmReply *reply,
                                     GError **errp);

/** Frees what is @state's own; a request at work is over, what it did stands. */
void ksm_request_clear(KsmRequestState *state);

#endif /* KSM_REQUEST_H */
