/* SPDX-License-Identifier: GPL-2.0-or-later */
/* acceptor.h: accepts connections on a listening socket. */
#ifndef KSM_ACCEPTOR_H
#define KSM_ACCEPTOR_H

#include "host/log.h"
#include "host/fd-watch.h"

/** Receives a connection: non-blocking, close-on-exec, owned by the callee. */
typedef void (*KsmAccepted)(int fd, gpointer opaque);

typedef struct KsmAcceptor {
    int fd; /* the listening socket */
    KsmFdWatch watch;
    guint pause; /* timer, while accept(2) is suspended */
    KsmLogBucket *log_bucket;
    KsmAccepted accepted;
    gpointer opaque;
} KsmAcceptor;

/**
 * Starts accepting on @fd, from the main loop.  @acceptor and @log_bucket must
 * not move or be freed.
 */
void ksm_acceptor_start(KsmAcceptor *acceptor, int fd, KsmLogBucket *log_bucket,
                        KsmAccepted accepted, gpointer opaque);

#endif /* KSM_ACCEPTOR_H */
