/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acceptor.c: takes connections from a listening socket.
 *
 * A few at a turn of the main loop, so that who connects all the time leaves
 * room for others; when descriptors have run out, it looks away for a moment
 * instead of spinning on a socket that stays readable.
 */
#include "acceptor.h"

#include <errno.h>
#include <sys/socket.h>

#define ACCEPTS_AT_ONCE 16
#define PAUSE_MS 200

static gboolean acceptor_on_connect(gint fd, GIOCondition condition,
                                    gpointer data);

static void acceptor_listen(KsmAcceptor *self)
{
    ksm_watch_set(&self->watch, self->fd, G_IO_IN, acceptor_on_connect, self);
}

static gboolean acceptor_on_pause_over(gpointer data)
{
    KsmAcceptor *self = data;

    self->pause = 0;
    acceptor_listen(self);
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
        } else if (errno == EAGAIN || errno == EINTR ||
                   errno == ECONNABORTED) {
            break;
        } else {
            ksm_log_limited(self->log_bucket, KSM_LOG_ERROR,
                            "accept: %s; tries again in %d ms",
                            g_strerror(errno), PAUSE_MS);
            ksm_watch_clear(&self->watch);
            self->pause = g_timeout_add(PAUSE_MS, acceptor_on_pause_over,
                                        self);
            return G_SOURCE_REMOVE;
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
    acceptor_listen(self);
}
