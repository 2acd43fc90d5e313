/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control-client.c: a client of the control socket: one reply per request.
 *
 *   reading --a line--> (waiting for VMs -->) writing --all sent--> reading
 *
 * A client can neither block the broker nor make it use much memory: the broker
 * never blocks on the socket, the length of a line is limited, nothing is read
 * while a reply is pending, and each state has a time limit after which the
 * connection is closed.
 */
#include "control/control-client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients/settings.h"
#include "host/fd-watch.h"

#define IDLE_SECONDS 300 /* between requests */
#define LINE_SECONDS 10  /* for the rest of a line */
#define REPLY_SECONDS 10 /* for the client to read a reply */

static gboolean client_on_event(gint fd, GIOCondition condition, gpointer data);

static void clear_items(KsmControlClient *self)
{
    guint i;

    for (i = 0; self->items != NULL && i < self->items->len; i++) {
        KsmControlItem *item = &g_array_index(self->items, KsmControlItem, i);

        if (item->session != NULL) {
            ksm_settings_forget(item->session, self);
        }
        g_free(item->name);
        g_free(item->group);
        g_free(item->error);
    }
    g_clear_pointer(&self->items, g_array_unref);
    self->waiting = 0;
    self->finish = NULL;
}

static void set_timer(KsmControlClient *self, guint ms, GSourceFunc function)
{
    if (self->timer != 0) {
        g_source_remove(self->timer);
        self->timer = 0;
    }
    if (function != NULL) {
        self->timer = g_timeout_add(ms, function, self);
    }
}

static void client_close(KsmControlClient *self)
{
    g_queue_unlink(&self->control->clients, &self->link);
    ksm_fd_watch_clear(&self->watch);
    set_timer(self, 0, NULL);
    clear_items(self);
    if (self->out != NULL) {
        g_string_free(self->out, TRUE);
    }
    close(self->fd);
    g_free(self);
}

static gboolean client_on_timeout(gpointer data)
{
    KsmControlClient *self = data;

    self->timer = 0;
    client_close(self);
    return G_SOURCE_REMOVE;
}

/* Waits for a line. */
static void client_read_on(KsmControlClient *self)
{
    set_timer(self, IDLE_SECONDS * 1000, client_on_timeout);
    ksm_fd_watch_set(&self->watch, self->fd, G_IO_IN, client_on_event, self);
}

/* Sends as much as possible; FALSE: disconnected, and @self was freed. */
static gboolean client_flush(KsmControlClient *self)
{
    while (self->out_at < self->out->len) {
        gssize n = send(self->fd, self->out->str + self->out_at,
                        self->out->len - self->out_at,
                        MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            self->out_at += (gsize)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            ksm_fd_watch_set(&self->watch, self->fd, G_IO_OUT, client_on_event,
                             self);
            return TRUE;
        } else {
            client_close(self);
            return FALSE;
        }
    }
    g_string_free(self->out, TRUE);
    self->out = NULL;
    if (self->closing) {
        client_close(self);
        return FALSE;
    }
    client_read_on(self);
    return TRUE;
}

void ksm_control_begin(KsmJson *json)
{
    *json = (KsmJson) { g_string_sized_new(1024), FALSE };
    ksm_json_open(json, NULL, '{');
    ksm_json_bool(json, "ok", TRUE);
}

void ksm_control_send(KsmControlClient *self, KsmJson *json)
{
    g_assert(self->out == NULL);
    clear_items(self);
    ksm_json_close(json, '}');
    g_string_append_c(json->text, '\n');
    self->out = json->text;
    self->out_at = 0;
    set_timer(self, REPLY_SECONDS * 1000, client_on_timeout);
    client_flush(self);
}

static GString *error_line(const char *code, const char *message)
{
    KsmJson json = { g_string_new(NULL), FALSE };

    ksm_json_open(&json, NULL, '{');
    ksm_json_bool(&json, "ok", FALSE);
    ksm_json_open(&json, "error", '{');
    ksm_json_string(&json, "code", code);
    ksm_json_string(&json, "message", message);
    ksm_json_close(&json, '}');
    return json.text;
}

void ksm_control_fail(KsmControlClient *self, const char *code,
                      const char *format, ...)
{
    g_autofree char *message = NULL;
    KsmJson json = { NULL, TRUE };
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    json.text = error_line(code, message);
    ksm_control_send(self, &json);
}

void ksm_control_refuse(int fd, const char *code, const char *message)
{
    GString *line = error_line(code, message);

    g_string_append(line, "}\n");
    if (send(fd, line->str, line->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        /* the client sees the end of file */
    }
    g_string_free(line, TRUE);
    close(fd);
}

KsmControlItem *ksm_control_add_item(KsmControlClient *self,
                                     KsmSession *session)
{
    KsmControlItem item = {
        .session = session,
        .name = g_strdup(session->name),
        .group = g_strdup(session->shard->family),
        .uid = session->process->uid,
        .pid = session->process->pid,
    };

    if (self->items == NULL) {
        self->items = g_array_new(FALSE, FALSE, sizeof(KsmControlItem));
    }
    g_array_append_val(self->items, item);
    self->waiting++;
    return &g_array_index(self->items, KsmControlItem, self->items->len - 1);
}

void ksm_control_answered(KsmControlClient *self, KsmSession *session,
                          const char *error)
{
    guint i;

    for (i = 0; i < self->items->len; i++) {
        KsmControlItem *item = &g_array_index(self->items, KsmControlItem, i);

        if (item->session == session) {
            item->session = NULL;
            item->failed = error != NULL;
            item->error = g_strdup(error);
            self->waiting--;
            break;
        }
    }
    if (self->waiting == 0 && self->finish != NULL) {
        self->finish(self);
    }
}

static gboolean client_on_wait_over(gpointer data)
{
    KsmControlClient *self = data;

    self->timer = 0;
    self->finish(self);
    return G_SOURCE_REMOVE;
}

void ksm_control_wait(KsmControlClient *self, guint timeout_ms,
                      void (*finish)(KsmControlClient *client))
{
    if (self->waiting == 0) {
        finish(self);
        return;
    }
    self->finish = finish;
    ksm_fd_watch_set(&self->watch, self->fd, (GIOCondition)0, client_on_event,
                     self);
    set_timer(self, timeout_ms, client_on_wait_over);
}

/* Handles the input: a complete line, one that is too long, or a part. */
static void client_take_input(KsmControlClient *self, gboolean first)
{
    char *end = memchr(self->in, '\n', self->in_bytes);
    gsize bytes;

    if (end == NULL && self->in_bytes < sizeof(self->in)) {
        if (first) {
            set_timer(self, LINE_SECONDS * 1000, client_on_timeout);
        }
        return;
    }
    if (end == NULL || end + 1 < self->in + self->in_bytes) {
        self->closing = TRUE;
        ksm_control_fail(
            self, "bad-request",
            end == NULL ? "the request is longer than %u bytes" :
                          "more than one request at a time; the maximum is one "
                          "of %u bytes",
            KSM_CONTROL_LINE);
        return;
    }
    bytes = (gsize)(end - self->in);
    *end = '\0';
    self->in_bytes = 0;
    self->control->handle(self, self->in, bytes);
}

static gboolean client_on_event(gint fd, GIOCondition condition, gpointer data)
{
    KsmControlClient *self = data;
    gssize n;

    if (self->out != NULL) {
        client_flush(self);
        return G_SOURCE_CONTINUE;
    }
    if (self->finish != NULL) {
        if (condition & (G_IO_HUP | G_IO_ERR)) {
            client_close(self);
        }
        return G_SOURCE_CONTINUE;
    }
    n = recv(fd, self->in + self->in_bytes, sizeof(self->in) - self->in_bytes,
             MSG_DONTWAIT);
    if (n > 0) {
        self->in_bytes += (gsize)n;
        client_take_input(self, self->in_bytes == (gsize)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        client_close(self);
    }
    return G_SOURCE_CONTINUE;
}

void ksm_control_client_new(KsmControl *control, int fd, uid_t uid)
{
    KsmControlClient *self = g_new0(KsmControlClient, 1);

    self->control = control;
    self->fd = fd;
    self->uid = uid;
    self->link.data = self;
    g_queue_push_tail_link(&control->clients, &self->link);
    client_read_on(self);
}
