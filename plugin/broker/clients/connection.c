/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * connection.c: one client's socket: receives packets, sends one reply to each.
 *
 * A client may send anything and read at any time.  The broker never blocks on
 * the socket.  It processes one request at a time, and reads nothing more until
 * that is done and its reply is sent.  So it never queues more than one packet
 * for a client.  The main loop serves every readable connection once before it
 * serves any twice, and gives every user (user.c) some milliseconds.
 *
 * One descriptor may come with HELLO (session.c uses it).  The kernel drops all
 * others, because there is no room for control data; receiving them is still an
 * error.
 */
#include "clients/connection.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients/broker-limits.h"
#include "clients/process.h"
#include "clients/request.h"
#include "clients/session.h"
#include "clients/user.h"
#include "host/log.h"
#include "host/share.h"
#include "host/fd-reaper.h"
#include "host/fd-watch.h"
#include "error.h"

#define HELLO_SECONDS 10
#define DRAIN_PACKETS 64

typedef struct KsmConnection {
    KsmRequestState request; /* the part that request.c sees */
    GList link;              /* in broker->connections, of &request */
    int fd;
    KsmFdWatch watch;
    guint hello_timer;
    GSource *job_source;
    KsmReply out;     /* a reply that is not sent yet */
    int store_fd;     /* descriptor that came with HELLO, or -1 */
    gboolean at_work; /* request.c is using the request and &out */
    gboolean woken;   /* WAKE was sent after the last request */
} KsmConnection;

static KsmConnection *connection_of(KsmRequestState *state)
{
    return (KsmConnection *)(void *)((guint8 *)state -
                                     offsetof(KsmConnection, request));
}

static gboolean connection_on_event(gint fd, GIOCondition condition,
                                    gpointer data);

static gboolean connection_watch(KsmConnection *self, GIOCondition condition)
{
    return ksm_fd_watch_set(&self->watch, self->fd, condition,
                            connection_on_event, self);
}

static void close_out_fds(KsmConnection *self)
{
    while (self->out.fd_count > 0) {
        close(self->out.fds[--self->out.fd_count]);
    }
}

static void drop_store_fd(KsmConnection *self)
{
    if (self->store_fd >= 0) {
        ksm_fd_reaper_close(self->store_fd, self->request.process->uid);
        self->store_fd = -1;
    }
}

static void connection_close(KsmConnection *self)
{
    KsmBroker *broker = self->request.broker;
    KsmProcess *process = self->request.process;
    KsmSession *session = self->request.session;

    g_assert(!self->at_work); /* connection_begin() */
    g_queue_unlink(&broker->connections, &self->link);
    ksm_fd_watch_clear(&self->watch);
    if (self->job_source != NULL) {
        g_source_destroy(self->job_source);
        g_source_unref(self->job_source);
    }
    if (self->hello_timer != 0) {
        g_source_remove(self->hello_timer);
    }
    close_out_fds(self);
    drop_store_fd(self);
    close(self->fd);
    ksm_request_clear(&self->request);
    g_free(self);
    if (session != NULL) {
        ksm_session_detach(session);
    }
    if (process != NULL) {
        process->connections--;
        ksm_share_give(&process->user->shares[KSM_QUOTA_CONNECTIONS], 1);
        ksm_process_check(process);
    }
    ksm_broker_check_idle(broker);
}

void ksm_connection_close(KsmRequestState *state)
{
    connection_close(connection_of(state));
}

/* With unread packets in the socket, close(2) would discard our last reply. */
static void drain(int fd)
{
    char byte;
    guint i;

    shutdown(fd, SHUT_RD);
    for (i = 0; i < DRAIN_PACKETS; i++) {
        if (recv(fd, &byte, 1, MSG_DONTWAIT) <= 0) {
            return;
        }
    }
}

/* Logs @error, sends it to the client, and closes the connection. */
static void connection_fail(KsmConnection *self, const GError *error)
{
    KsmProcess *process = self->request.process;
    KsmMsgError reply = {
        .msg = { .type = KSM_MSG_ERROR, .serial = self->request.serial },
        .code = (guint32)error->code,
    };
    KsmLogBucket *bucket = process != NULL ? &process->log_bucket :
                                             &self->request.broker->log_limits;
    const KsmSession *session = self->request.session;
    g_autofree char *more = NULL;
    guint left_out;

    g_strlcpy(reply.reason, error->message, sizeof(reply.reason));
    if (ksm_user_note_refusal(self->request.broker, &left_out)) {
        if (left_out > 0) {
            more = g_strdup_printf("; %u more refusals were not logged",
                                   left_out);
        }
        ksm_log_limited(bucket, KSM_LOG_WARNING,
                        "session %s of process %d, user %d, group %s: %s; "
                        "closed%s",
                        session != NULL ? session->name : "(none)",
                        process != NULL ? (int)process->pid : 0,
                        process != NULL ? (int)process->uid : -1,
                        session != NULL ? session->shard->key : "(none)",
                        error->message, more != NULL ? more : "");
    }
    if (send(self->fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) <
        0) {
        /* a client that does not read sees the end of file */
    }
    drain(self->fd);
    connection_close(self);
}

/* Sends the pending reply; FALSE if the peer has closed the connection. */
static gboolean connection_flush(KsmConnection *self)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec iov = { self->out.packet, self->out.bytes };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (self->out.fd_count > 0) {
        gsize bytes = self->out.fd_count * sizeof(int);

        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(bytes);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(&control.header), self->out.fds, bytes);
    }
    if (sendmsg(self->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            connection_watch(self, G_IO_OUT);
            return TRUE;
        }
        return FALSE;
    }
    self->out.bytes = 0;
    close_out_fds(self);
    connection_watch(self, G_IO_IN);
    return TRUE;
}

/*
 * Between connection_begin() and connection_end(), which are always called in
 * the same function, request.c is using the request.  Only connection_end()
 * sends a reply, and connection_flush() as long as it is pending.
 *
 * No reply is sent twice: each call of request.c returns one result, and there
 * is no call for a request that has been answered.  A packet is only read while
 * the watch is set for G_IO_IN; it is not while a reply is pending, steps are
 * left or HELLO waits.  The source of the steps is removed with the first
 * result that is not KSM_REQUEST_MORE.  HELLO only waits while the connection
 * has no bulk memory (may_answer_hello() in session.c), so it is answered once.
 *
 * No reply goes to another client, or to a session that has ended: it is stored
 * beside the socket that its request came from, and both are freed together.
 * When a connection closes, its watch, timer and steps are removed, and
 * ksm_session_detach() clears `served_by`, so nothing is left that could call
 * with it.  A session only ends after that: session_free() checks it.
 *
 * All this requires that a connection is not freed while request.c is using it.
 * A HELLO does close connections, but only those that have a session, and its
 * own has none before ksm_session_open() has returned.  Should that ever be
 * wrong, the broker aborts rather than write to freed memory.
 */
static void connection_begin(KsmConnection *self)
{
    g_assert(!self->at_work && self->out.bytes == 0);
    self->at_work = TRUE;
}

static void connection_end(KsmConnection *self, KsmRequestResult result)
{
    self->at_work = FALSE;
    if (result == KSM_REQUEST_REPLY && !connection_flush(self)) {
        /* the peer has closed: the watch will report that */
        self->out.bytes = 0;
        close_out_fds(self);
        connection_watch(self, G_IO_IN);
    }
}

static gboolean connection_on_job(gpointer data)
{
    g_autoptr(GError) error = NULL;
    KsmConnection *self = data;
    KsmUser *user = self->request.process->user;
    gint64 start_us = g_get_monotonic_time();
    KsmRequestResult result;

    if (!ksm_user_has_turn(user)) {
        return G_SOURCE_CONTINUE;
    }
    connection_begin(self);
    result = ksm_request_step(&self->request, &self->out, &error);
    connection_end(self, result);
    ksm_user_spend(user, start_us);
    if (result == KSM_REQUEST_MORE) {
        return G_SOURCE_CONTINUE;
    }
    g_source_unref(self->job_source);
    self->job_source = NULL;
    if (result == KSM_REQUEST_FAILED) {
        connection_fail(self, error);
    }
    return G_SOURCE_REMOVE;
}

/* Continues the current request in steps, from the main loop. */
static void connection_start_job(KsmConnection *self)
{
    connection_watch(self, (GIOCondition)0);
    self->job_source = g_idle_source_new();
    g_source_set_priority(self->job_source, G_PRIORITY_DEFAULT);
    g_source_set_callback(self->job_source, connection_on_job, self, NULL);
    g_source_attach(self->job_source, NULL);
}

void ksm_connection_ready(KsmRequestState *state)
{
    KsmConnection *self = connection_of(state);
    g_autoptr(GError) error = NULL;
    KsmRequestResult result;

    connection_begin(self);
    result = ksm_request_welcome(&self->request, &self->out, &error);
    connection_end(self, result);
    if (result == KSM_REQUEST_FAILED) {
        connection_fail(self, error);
    }
}

/*
 * One packet per request at most, so a client that does not read cannot make the
 * broker queue anything.  If the socket is full the client has packets to read
 * already.  A client whose request is in progress needs no WAKE: it goes on
 * asking for a while after its last request.  An end of the connection is noticed
 * by the watch, as ever.
 */
void ksm_connection_wake(KsmRequestState *state)
{
    KsmConnection *self = connection_of(state);
    const KsmMsg msg = { .type = KSM_MSG_WAKE };

    if (state->session == NULL || state->bulk == NULL || self->woken ||
        self->at_work || self->out.bytes > 0 ||
        state->session->version <= KSM_PROTO_SILENT) {
        return;
    }
    self->woken = send(self->fd, &msg, sizeof(msg),
                       MSG_DONTWAIT | MSG_NOSIGNAL) == (gssize)sizeof(msg);
}

/* Takes the descriptor that came with the packet, if any. */
static void take_store_fd(KsmConnection *self, struct msghdr *msg)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(msg);

    if (header != NULL && header->cmsg_level == SOL_SOCKET &&
        header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&self->store_fd, CMSG_DATA(header), sizeof(int));
    }
}

/* Reads one packet; returns -1 with @errp set, or 0 at the end of file. */
static gssize connection_read(KsmConnection *self, guint8 *packet,
                              gboolean at_end, GError **errp)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_LEN(sizeof(int))]; /* no room for a second */
    } control;
    struct iovec iov = { packet, KSM_REQUEST_PACKET };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    gboolean may_take = self->request.session == NULL &&
                        ksm_fd_reaper_may_take(self->request.process->uid);
    gssize bytes;

    if (may_take) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
    }
    bytes = recvmsg(self->fd, &msg,
                    MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    if (bytes >= 0 && may_take) {
        take_store_fd(self, &msg);
    }
    if (bytes < 0 && errno != EAGAIN && errno != EINTR) {
        return 0;
    }
    if (bytes > 0 && (msg.msg_flags & MSG_CTRUNC) != 0) {
        g_set_error(errp, KSM_ERROR,
                    self->request.session == NULL && !may_take ?
                        KSM_ERROR_LIMIT :
                        KSM_ERROR_PROTOCOL,
                    "unexpected descriptor or other control data");
        return -1;
    }
    if (bytes > (gssize)KSM_REQUEST_PACKET || (bytes == 0 && !at_end)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "a packet of %zd bytes", bytes);
        return -1;
    }
    return bytes;
}

static gboolean connection_on_event(gint fd, GIOCondition condition,
                                    gpointer data)
{
    KsmConnection *self = data;
    g_autoptr(GError) error = NULL;
    gboolean at_end = (condition & (G_IO_HUP | G_IO_ERR)) != 0;
    guint8 packet[KSM_REQUEST_PACKET] __attribute__((aligned(8)));
    gint64 start_us = g_get_monotonic_time();
    KsmUser *user = self->request.process->user;
    KsmRequestResult result = KSM_REQUEST_FAILED;
    gssize bytes;

    (void)fd;
    if (self->watch.condition != G_IO_IN) {
        if (at_end || !connection_flush(self)) {
            connection_close(self);
        }
        return G_SOURCE_CONTINUE;
    }
    if (!ksm_user_has_turn(user)) {
        return G_SOURCE_CONTINUE; /* the packet is still readable */
    }
    bytes = connection_read(self, packet, at_end, &error);
    if (bytes == 0) {
        connection_close(self);
        return G_SOURCE_CONTINUE;
    }
    if (error == NULL && bytes < 0) {
        return G_SOURCE_CONTINUE;
    }
    if (error == NULL) {
        self->woken = FALSE;
        connection_begin(self);
        result = ksm_request_handle(&self->request, packet, (gsize)bytes,
                                    self->store_fd, &self->out, &error);
        connection_end(self, result);
    }
    ksm_user_spend(user, start_us);
    if (result == KSM_REQUEST_FAILED) {
        connection_fail(self, error);
        return G_SOURCE_CONTINUE;
    }
    drop_store_fd(self);
    if (result == KSM_REQUEST_MORE) {
        connection_start_job(self);
    } else if (result == KSM_REQUEST_LATER) {
        connection_watch(self, (GIOCondition)0);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean connection_on_hello_timeout(gpointer data)
{
    g_autoptr(GError) error = NULL;
    KsmConnection *self = data;

    self->hello_timer = 0;
    if (self->request.session == NULL) {
        g_set_error(&error, KSM_ERROR, KSM_ERROR_PROTOCOL,
                    "no HELLO within %d s", HELLO_SECONDS);
        connection_fail(self, error);
    }
    return G_SOURCE_REMOVE;
}

/* Identifies the client's process and checks whether there is room for it. */
static gboolean connection_admit(KsmConnection *self, GError **errp)
{
    KsmBroker *broker = self->request.broker;
    KsmProcess *process = ksm_process_of_peer(broker, self->fd, errp);
    guint most = broker->limits.max_process_sessions;

    if (process == NULL) {
        return FALSE;
    }
    if (!ksm_user_check(process->user, KSM_QUOTA_CONNECTIONS, 1, errp)) {
        ksm_process_check(process);
        return FALSE;
    }
    self->request.process = process;
    process->connections++;
    ksm_share_take(&process->user->shares[KSM_QUOTA_CONNECTIONS], 1);
    if (process->connections > most) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "process %d has %u connections, its maximum: see "
                    "guest-ksmd --max-process-sessions",
                    process->pid, most);
        return FALSE;
    }
    if (!connection_watch(self, G_IO_IN)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "watching the connection: %s", g_strerror(errno));
        return FALSE;
    }
    return TRUE;
}

void ksm_connection_new(KsmBroker *broker, int fd)
{
    g_autoptr(GError) error = NULL;
    KsmConnection *self = g_new0(KsmConnection, 1);

    self->request.broker = broker;
    self->fd = fd;
    self->store_fd = -1;
    self->link.data = &self->request;
    g_queue_push_tail_link(&broker->connections, &self->link);
    if (!connection_admit(self, &error)) {
        connection_fail(self, error);
        return;
    }
    self->hello_timer =
        g_timeout_add_seconds(HELLO_SECONDS, connection_on_hello_timeout, self);
    ksm_broker_check_idle(broker);
}
