/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control-client.h: a client of the control socket: one reply per request. */
#ifndef KSM_CONTROL_CLIENT_H
#define KSM_CONTROL_CLIENT_H

#include <glib.h>
#include <sys/types.h>

#include "clients/state.h"
#include "control/control-json.h"
#include "host/acceptor.h"
#include "host/log.h"
#include "host/fd-watch.h"

/** Maximum length of a request in bytes, with its newline. */
#define KSM_CONTROL_LINE 4096u

typedef struct KsmControlClient KsmControlClient;

typedef struct KsmControl {
    KsmBroker *broker;
    KsmAcceptor acceptor;
    gid_t group;    /* its members have access; (gid_t)-1: none */
    GQueue clients; /* KsmControlClient */
    /* carries out a request; @line is NUL-terminated: control-request.c */
    void (*handle)(KsmControlClient *client, const char *line, gsize bytes);
    KsmLogBucket log_bucket;
} KsmControl;

/** A session that a request waits for. */
typedef struct KsmControlItem {
    KsmSession *session; /* NULL: it has answered */
    char *name, *group;
    uid_t uid;
    pid_t pid;
    gboolean failed;
    char *error; /* why it failed */
} KsmControlItem;

struct KsmControlClient {
    KsmControl *control;
    GList link; /* in control->clients */
    int fd;
    uid_t uid;
    KsmFdWatch watch;
    guint timer; /* of the present state */
    char in[KSM_CONTROL_LINE];
    gsize in_bytes;
    GString *out; /* the reply; NULL: none under way */
    gsize out_at;
    gboolean closing; /* close after the reply is sent */
    GArray *items;    /* KsmControlItem; NULL: not waiting */
    guint waiting;    /* items without an answer */
    /* writes the reply, after all answers or the timeout */
    void (*finish)(KsmControlClient *client);
};

/** Takes over @fd and waits for requests of user @uid on it. */
void ksm_control_client_new(KsmControl *control, int fd, uid_t uid);

/** Sends an error with @code and @message, and closes @fd. */
void ksm_control_refuse(int fd, const char *code, const char *message);

/** Begins a reply with {"ok":true; ksm_control_send() closes the object. */
void ksm_control_begin(KsmJson *json);

/** Ends the reply and sends it. */
void ksm_control_send(KsmControlClient *client, KsmJson *json);

/** Replies with an error. */
void ksm_control_fail(KsmControlClient *client, const char *code,
                      const char *format, ...) G_GNUC_PRINTF(3, 4);

/** Adds an item for @session, to which the caller sends a request. */
KsmControlItem *ksm_control_add_item(KsmControlClient *client,
                                     KsmSession *session);

/** Records the answer of @session's item; calls finish after the last. */
void ksm_control_answered(KsmControlClient *client, KsmSession *session,
                          const char *error);

/** Waits for all items, at most @timeout_ms, then calls @finish. */
void ksm_control_wait(KsmControlClient *client, guint timeout_ms,
                      void (*finish)(KsmControlClient *client));

#endif /* KSM_CONTROL_CLIENT_H */
