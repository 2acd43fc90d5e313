/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * request.h: handles each message of a client.
 *
 * Takes a packet and produces a reply, both in memory; the caller sends it.
 */
#ifndef KSM_REQUEST_H
#define KSM_REQUEST_H

#include <glib.h>

#include "clients/request-state.h"

/* Maximum packet size in both directions; longer ones are refused unread. */
#define KSM_REQUEST_PACKET 1024u

/** The state of a request. */
typedef enum KsmRequestResult {
    KSM_REQUEST_FAILED = FALSE, /* @errp is set: close the connection */
    KSM_REQUEST_REPLY,          /* finished, the reply is filled in */
    KSM_REQUEST_MORE,           /* continue with ksm_request_step() */
    KSM_REQUEST_LATER,          /* HELLO waits until broker->ready() is called;
                                   then continue with ksm_request_welcome() */
} KsmRequestResult;

typedef struct KsmReply {
    guint8 packet[KSM_REQUEST_PACKET] __attribute__((aligned(8)));
    gsize bytes; /* 0: none */
    int fds[2];  /* to be sent with it; owned by the reply */
    guint fd_count;
} KsmReply;

/**
 * Carries out one request, or begins to.  @reply must be empty; it is filled in
 * if KSM_REQUEST_REPLY is returned.  The caller closes the descriptors in
 * @reply, even if the request failed.  @store_fd: the descriptor that came with
 * the packet, or -1; it stays the caller's.
 */
KsmRequestResult ksm_request_handle(KsmRequestState *state,
                                    const guint8 *packet, gsize bytes,
                                    int store_fd, KsmReply *reply,
                                    GError **errp);

/** One step of a request that returned MORE; @reply as above. */
KsmRequestResult ksm_request_step(KsmRequestState *state, KsmReply *reply,
                                  GError **errp);

/** Answers the waiting HELLO; @reply as above. */
KsmRequestResult ksm_request_welcome(KsmRequestState *state, KsmReply *reply,
                                     GError **errp);

/**
 * Frees what @state owns.  A request in progress ends; what it did so far
 * stands.
 */
void ksm_request_clear(KsmRequestState *state);

#endif /* KSM_REQUEST_H */
