/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * grace.c: clients of a previous broker take precedence over new ones.
 *
 * A group has one store.  If a new client publishes before the first client of
 * the previous broker has sent the old store, the old store is refused, and its
 * pages take memory twice until the clients have released them.  So for a short
 * time after its start (as long as clients pause between attempts) a broker
 * makes all clients wait that have no store to send.
 *
 * It only does so if there are clients to wait for: the socket's lock file has
 * one byte while a broker has sessions, and keeps it however the broker exits.
 * After a reboot of the host the mark can be wrong; that costs new clients one
 * wait.  If the mark could not be written, that costs savings for a while, as
 * above, and nothing else.
 */
#include "clients/grace.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/log.h"
#include "ksm-protocol.h"

/* Until the slowest client has retried, and its HELLO has been read. */
#define KSM_GRACE_MS (KSM_RETRY_MAX_MS + 500u)

static gboolean grace_on_over(gpointer data)
{
    KsmBroker *broker = data;

    broker->grace_timer = 0;
    ksm_grace_note_sessions(broker);
    broker->welcome(broker, NULL);
    return G_SOURCE_REMOVE;
}

void ksm_grace_begin(KsmBroker *broker, int mark_fd)
{
    struct stat status;

    broker->mark_fd = mark_fd;
    broker->marked = mark_fd >= 0 && fstat(mark_fd, &status) == 0 &&
                     status.st_size > 0;
    if (broker->marked) {
        broker->grace_timer = g_timeout_add(KSM_GRACE_MS, grace_on_over,
                                            broker);
    }
}

gboolean ksm_grace_holds(const KsmSession *session)
{
    return session->broker->grace_timer != 0 &&
           session->shard->group->reclaim == NULL &&
           !session->member->reclaiming;
}

void ksm_grace_note_sessions(KsmBroker *broker)
{
    gboolean any = broker->sessions > 0;

    /* The previous broker's mark stays until the grace period is over. */
    if (broker->mark_fd < 0 || broker->grace_timer != 0 ||
        broker->marked == any) {
        return;
    }
    if (ftruncate(broker->mark_fd, any) != 0) {
        ksm_log_limited(&broker->log_limits, KSM_LOG_WARNING,
                        "cannot mark in the lock file that there are sessions: "
                        "%s",
                        g_strerror(errno));
        return;
    }
    broker->marked = any;
}
