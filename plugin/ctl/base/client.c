/* SPDX-License-Identifier: GPL-2.0-or-later */
/* client.c: asks the broker over its control socket. */
#include "base/client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_SECONDS 15 /* the broker itself waits 5 s for a VM */
#define REPLY_MAX (64u << 20)

struct KsmClient {
    char *path;
    int fd; /* -1: not connected */
};

G_DEFINE_QUARK(ksm - ctl - error - quark, ksm_ctl_error)

char *ksm_client_default_path(void)
{
    const char *runtime = geteuid() == 0 ? "/run" : g_getenv("XDG_RUNTIME_DIR");

    return g_build_filename(runtime != NULL ? runtime : "/run", "guest-ksm",
                            "control.sock", NULL);
}

KsmClient *ksm_client_new(const char *path)
{
    KsmClient *self = g_new0(KsmClient, 1);

    self->path = path != NULL ? g_strdup(path) : ksm_client_default_path();
    self->fd = -1;
    return self;
}

static void disconnect(KsmClient *self)
{
    if (self->fd >= 0) {
        close(self->fd);
        self->fd = -1;
    }
}

void ksm_client_free(KsmClient *self)
{
    if (self != NULL) {
        disconnect(self);
        g_free(self->path);
        g_free(self);
    }
}

const char *ksm_client_path(const KsmClient *self)
{
    return self->path;
}

static gboolean fail_to_connect(const KsmClient *self, int error, GError **errp)
{
    if (error == EACCES || error == EPERM) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_PERMISSION,
                    "not allowed to use the control socket %s: run this as "
                    "root or as the broker's user, or join its control group "
                    "(guest-ksmd --control-group)",
                    self->path);
    } else if (error == ENOENT || error == ECONNREFUSED) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_NO_BROKER,
                    "no broker listens on %s: is guest-ksmd running, and is "
                    "this its socket (--socket PATH)?",
                    self->path);
    } else {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "could not connect to %s: %s", self->path,
                    g_strerror(error));
    }
    return FALSE;
}

static gboolean connect_socket(KsmClient *self, GError **errp)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };

    if (self->fd >= 0) {
        return TRUE;
    }
    if (strlen(self->path) >= sizeof(address.sun_path)) {
        return fail_to_connect(self, ENAMETOOLONG, errp);
    }
    strcpy(address.sun_path, self->path);
    self->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (self->fd < 0 ||
        setsockopt(self->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
                   sizeof(timeout)) != 0 ||
        setsockopt(self->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout,
                   sizeof(timeout)) != 0 ||
        connect(self->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;

        disconnect(self);
        return fail_to_connect(self, error, errp);
    }
    return TRUE;
}

/* FALSE when the peer takes no more; it may have said why. */
static gboolean send_line(KsmClient *self, const char *line, gsize bytes)
{
    while (bytes > 0) {
        gssize n = send(self->fd, line, bytes, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return FALSE;
        }
        line += n;
        bytes -= (gsize)n;
    }
    return TRUE;
}

/* A line without its end; NULL when there is none, *error then says why. */
static GString *receive_line(KsmClient *self, int *error)
{
    GString *line = g_string_new(NULL);
    char part[16384];

    for (;;) {
        gssize n = recv(self->fd, part, sizeof(part), 0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0 || line->len > REPLY_MAX) {
            *error = n == 0 ? ECONNRESET : n < 0 ? errno : EMSGSIZE;
            g_string_free(line, TRUE);
            return NULL;
        }
        g_string_append_len(line, part, n);
        if (part[n - 1] == '\n') {
            g_string_truncate(line, line->len - 1);
            return line;
        }
    }
}

/* One question and its answer; an idle connection may have been closed. */
static GString *exchange(KsmClient *self, const char *line, GError **errp)
{
    gboolean kept = self->fd >= 0;
    GString *reply = NULL;
    int error = EPIPE;

    if (!connect_socket(self, errp)) {
        return NULL;
    }
    if (send_line(self, line, strlen(line)) || !kept) {
        reply = receive_line(self, &error);
    }
    if (reply != NULL) {
        return reply;
    }
    disconnect(self);
    if (kept && (error == ECONNRESET || error == EPIPE)) {
        return exchange(self, line, errp);
    }
    g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                error == EAGAIN ?
                    "the broker on %s does not answer" :
                    "the connection to %s ended before an answer came: %s",
                self->path, g_strerror(error));
    return NULL;
}

static KsmCtlStatus status_of(const char *code)
{
    static const struct {
        const char *code;
        KsmCtlStatus status;
    } statuses[] = {
        { "permission", KSM_CTL_PERMISSION },
        { "no-such-vm", KSM_CTL_NO_SUCH },
        { "no-such-group", KSM_CTL_NO_SUCH },
        { "ambiguous", KSM_CTL_NO_SUCH },
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(statuses); i++) {
        if (g_strcmp0(code, statuses[i].code) == 0) {
            return statuses[i].status;
        }
    }
    return KSM_CTL_FAILED;
}

static void refused(const KsmClient *self, JsonObject *reply, GError **errp)
{
    JsonObject *error = ksm_reply_object(reply, "error");
    const char *code = error != NULL ? ksm_reply_string(error, "code") : NULL;
    const char *message = error != NULL ? ksm_reply_string(error, "message") :
                                          NULL;
    const char *remedy = status_of(code) == KSM_CTL_NO_SUCH ?
                             "; guest-ksmctl vms lists what there is" :
                         status_of(code) == KSM_CTL_PERMISSION ?
                             ": run this as one of them" :
                             "";

    g_set_error(errp, KSM_CTL_ERROR, (gint)status_of(code), "%s: %s%s",
                self->path, message != NULL ? message : "refused", remedy);
}

JsonObject *ksm_client_ask_object(KsmClient *self, JsonObject *request,
                                  GError **errp)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autofree char *text = NULL, *line = NULL;
    GString *reply;
    JsonNode *root = NULL;
    gboolean parsed;

    json_node_set_object(node, request);
    text = json_to_string(node, FALSE);
    line = g_strconcat(text, "\n", NULL);
    reply = exchange(self, line, errp);
    if (reply == NULL) {
        return NULL;
    }
    parsed = json_parser_load_from_data(parser, reply->str, (gssize)reply->len,
                                        NULL);
    g_string_free(reply, TRUE);
    root = parsed ? json_parser_get_root(parser) : NULL;
    if (root == NULL || !JSON_NODE_HOLDS_OBJECT(root)) {
        disconnect(self);
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "what listens on %s is no broker", self->path);
        return NULL;
    }
    if (!json_object_get_boolean_member_with_default(json_node_get_object(root),
                                                     "ok", FALSE)) {
        disconnect(self);
        refused(self, json_node_get_object(root), errp);
        return NULL;
    }
    return json_node_dup_object(root);
}

JsonObject *ksm_client_ask(KsmClient *self, GError **errp, const char *request,
                           ...)
{
    g_autoptr(JsonObject) object = json_object_new();
    const char *name;
    va_list args;

    json_object_set_string_member(object, "request", request);
    va_start(args, request);
    while ((name = va_arg(args, const char *)) != NULL) {
        GType type = va_arg(args, GType);

        if (type == G_TYPE_INT64) {
            json_object_set_int_member(object, name, va_arg(args, gint64));
        } else {
            const char *value = va_arg(args, const char *);

            if (value != NULL) {
                json_object_set_string_member(object, name, value);
            }
        }
    }
    va_end(args);
    return ksm_client_ask_object(self, object, errp);
}

static JsonNode *value(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);

    return node != NULL && JSON_NODE_HOLDS_VALUE(node) ? node : NULL;
}

gint64 ksm_reply_int(JsonObject *object, const char *name)
{
    JsonNode *node = value(object, name);

    return node != NULL ? json_node_get_int(node) : 0;
}

gboolean ksm_reply_node(JsonObject *object, gint64 *node)
{
    JsonNode *member = value(object, "node");

    if (member == NULL || json_node_get_value_type(member) != G_TYPE_INT64) {
        return FALSE;
    }
    *node = json_node_get_int(member);
    return TRUE;
}

double ksm_reply_double(JsonObject *object, const char *name)
{
    JsonNode *node = value(object, name);

    return node != NULL ? json_node_get_double(node) : 0;
}

const char *ksm_reply_string(JsonObject *object, const char *name)
{
    JsonNode *node = value(object, name);

    return node != NULL && json_node_get_value_type(node) == G_TYPE_STRING ?
               json_node_get_string(node) :
               NULL;
}

JsonObject *ksm_reply_object(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);

    return node != NULL && JSON_NODE_HOLDS_OBJECT(node) ?
               json_node_get_object(node) :
               NULL;
}

GPtrArray *ksm_reply_objects(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);
    GPtrArray *objects = g_ptr_array_new();
    JsonArray *array = node != NULL && JSON_NODE_HOLDS_ARRAY(node) ?
                           json_node_get_array(node) :
                           NULL;
    guint i;

    for (i = 0; array != NULL && i < json_array_get_length(array); i++) {
        JsonNode *element = json_array_get_element(array, i);

        if (JSON_NODE_HOLDS_OBJECT(element)) {
            g_ptr_array_add(objects, json_node_get_object(element));
        }
    }
    return objects;
}
