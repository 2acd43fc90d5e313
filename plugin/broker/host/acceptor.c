/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acceptor.c: accepts connections on a listening socket.
 *
 * Accepts a few connections in each iteration of the main loop, so that a
 * client that connects all the time leaves room for others.  If descriptors
 * run out, it pauses for a moment instead of spinning on a socket that stays
 * readable.
 */
#include "host/acceptor.h"

#include <errno.h>
#include <sys/socket.h>

#define ACCEPTS_AT_ONCE 16
#define PAUSE_MS 200

static gboolean acceptor_on_connect(gint fd, GIOCondition condition,
                                    gpointer data);

static gboolean acceptor_watch(KsmAcceptor *self, GIOCondition condition)
{
    return ksm_fd_watch_set(&self->watch, self->fd, condition,
                            acceptor_on_connect, self);
}

static gboolean acceptor_on_pause_over(gpointer data)
{
    KsmAcceptor *self = data;

    self->pause = 0;
    acceptor_watch(self, G_IO_IN);
    return G_SOURCE_REMOVE;
}

static gboolean acceptor_on_connect(gint fd, GIOCondition condition,
                                    gpointer data)
{
    KsmAcceptor *self = data;
    guint i;

    (void)condition;
    for (i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (client >= 0) {
            self->accepted(client, self->opaque);
        } else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
            break;
        } else {
            ksm_log_limited(self->log_bucket, KSM_LOG_ERROR,
                            "accept: %s; retrying in %d ms", g_strerror(errno),
                            PAUSE_MS);
            acceptor_watch(self, (GIOCondition)0);
            self->pause = g_timeout_add(PAUSE_MS, acceptor_on_pause_over, self);
            break;
        }
    }
    return G_SOURCE_CONTINUE;
}

void ksm_acceptor_start(KsmAcceptor *self, int fd, KsmLogBucket *log_bucket,
                        KsmAccepted accepted, gpointer opaque)
{
    self->fd = fd;
    self->log_bucket = log_bucket;
    self->accepted = accepted;
    self->opaque = opaque;
    if (!acceptor_watch(self, G_IO_IN)) {
        g_error("watching the listening socket: %s", g_strerror(errno));
    }
}
