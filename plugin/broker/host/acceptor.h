/* SPDX-License-Identifier: GPL-2.0-or-later */
/* acceptor.h: takes connections from a listening socket. */
#ifndef KSM_ACCEPTOR_H
#define KSM_ACCEPTOR_H

#include "host/log.h"
#include "host/fd-watch.h"

/** Gets a connection: non-blocking, close-on-exec, the callee's to close. */
typedef void (*KsmAccepted)(int fd, gpointer opaque);

typedef struct KsmAcceptor {
    int fd;                     /* that listens */
    KsmFdWatch watch;
    guint pause;                /* timer, after descriptors ran out */
    KsmLogBucket *log_bucket;
    KsmAccepted accepted;
    gpointer opaque;
} KsmAcceptor;

/** From now on; @acceptor and @log_bucket must stay where they are. */
void ksm_acceptor_start(KsmAcceptor *acceptor, int fd,
                        KsmLogBucket *log_bucket, KsmAccepted accepted,
                        gpointer opaque);

#endif /* KSM_ACCEPTOR_H */
