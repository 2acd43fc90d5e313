/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * grace.c: clients of a broker that has gone come before newcomers.
 *
 * A group has one store.  When a newcomer publishes before the first client of
 * old has handed the old store in, that one is refused, and what lies in it is
 * held a second time until it has been given back.  So for a moment after its
 * start, as long as clients pause between attempts, a broker lets everybody
 * wait who has no store to hand in.
 *
 * Only if there is somebody to wait for: the file of the lock on the socket's
 * name has one byte while a broker has sessions, whether it ends or is ended.
 * After the host's restart the mark can be wrong: that costs newcomers the
 * wait, once.  A mark that could not be written costs savings for a while, as
 * above, and nothing else.
 */
#include "clients/grace.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/log.h"
#include "ksm-protocol.h"

/* Until the slowest attempt has come, and been read. */
#define KSM_GRACE_MS    (KSM_RETRY_MAX_MS + 500u)

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
        session->shard->group->reclaim == NULL && !session->member->reclaiming;
}

void ksm_grace_note_sessions(KsmBroker *broker)
{
    gboolean any = broker->sessions > 0;

    /* The mark of the broker before stands until its clients had their time. */
    if (broker->mark_fd < 0 || broker->grace_timer != 0 ||
        broker->marked == any) {
        return;
    }
    if (ftruncate(broker->mark_fd, any) != 0) {
        ksm_log_limited(&broker->log_limits, KSM_LOG_WARNING,
                        "marking that there are sessions: %s",
                        g_strerror(errno));
        return;
    }
    broker->marked = any;
}
