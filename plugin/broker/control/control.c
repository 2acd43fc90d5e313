/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.c: access control on the control socket.
 *
 * The file mode keeps other users out.  Each peer is checked again, because the
 * socket may have been passed on, or its mode widened by mistake.
 */
#include "control/control.h"

#include <sys/socket.h>
#include <unistd.h>

#include "clients/user.h"
#include "control/control-client.h"
#include "control/control-request.h"
#include "host/acceptor.h"
#include "host/log.h"

/* Whether the peer of @fd is in @group, its primary or a supplementary one. */
static gboolean peer_in_group(int fd, const struct ucred *cred, gid_t group)
{
    gid_t groups[256];
    socklen_t bytes = sizeof(groups);
    guint i;

    if (group == (gid_t)-1) {
        return FALSE;
    }
    if (cred->gid == group) {
        return TRUE;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) != 0) {
        return FALSE;
    }
    for (i = 0; i < bytes / sizeof(gid_t); i++) {
        if (groups[i] == group) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean peer_may(const KsmControl *self, int fd, struct ucred *cred)
{
    socklen_t bytes = sizeof(*cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, cred, &bytes) != 0) {
        return FALSE;
    }
    return cred->uid == 0 || cred->uid == geteuid() ||
           peer_in_group(fd, cred, self->group);
}

/* Members of the group leave room for root's connections. */
static gboolean has_room(const KsmControl *self, uid_t uid)
{
    guint bound = 0;
    GList *link;

    for (link = self->clients.head; link != NULL; link = link->next) {
        bound += ksm_user_is_bound(((KsmControlClient *)link->data)->uid) &&
                 ((KsmControlClient *)link->data)->uid == uid;
    }
    return self->clients.length < KSM_CONTROL_CLIENTS &&
           bound < KSM_CONTROL_USER_CLIENTS;
}

static void control_on_connect(int fd, gpointer opaque)
{
    KsmControl *self = opaque;
    struct ucred cred = { 0, (uid_t)-1, (gid_t)-1 };

    if (!peer_may(self, fd, &cred)) {
        ksm_log_limited(&self->log_bucket, KSM_LOG_WARNING,
                        "control: user %d (process %d) was refused",
                        (int)cred.uid, (int)cred.pid);
        ksm_control_refuse(fd, "permission",
                           "this broker only accepts "
                           "requests from root, its own user and members of "
                           "its control group");
        return;
    }
    if (!has_room(self, cred.uid)) {
        ksm_control_refuse(fd, "busy", "too many control connections");
        return;
    }
    ksm_control_client_new(self, fd, cred.uid);
}

void ksm_control_start(KsmBroker *broker, int listen_fd, gid_t group)
{
    KsmControl *self = g_new0(KsmControl, 1);

    self->broker = broker;
    self->group = group;
    self->handle = ksm_control_request;
    g_queue_init(&self->clients);
    ksm_acceptor_start(&self->acceptor, listen_fd, &self->log_bucket,
                       control_on_connect, self);
    broker->control = self;
}
