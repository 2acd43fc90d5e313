/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metrics-http.c: serves metrics over HTTP, for Prometheus.
 *
 * libmicrohttpd's one thread takes the requests and asks the broker; this
 * thread only waits for a signal, so that the client is used by one thread.
 * It serves nothing but /metrics, to any client, and reads no request body.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/command.h"
#include "metrics/metrics.h"

#define CONNECTIONS_MAX 16
#define CONNECTIONS_EACH 8 /* of one address */
#define SILENT_SECONDS 20
#define LOOPBACK "127.0.0.1"

typedef union Address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} Address;

typedef struct Server {
    KsmClient *client;
    gboolean silent; /* the broker's absence has been reported */
} Server;

static const char front_page[] =
    "<!doctype html><title>guest-ksmctl</title>"
    "<p><a href=\"/metrics\">metrics</a> of memory shared between guests\n";

static gboolean set_address(const char *host, guint16 port, Address *address)
{
    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(port);
        return TRUE;
    }
    if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(port);
        return TRUE;
    }
    return FALSE;
}

/* PORT, ADDRESS:PORT or [ADDRESS]:PORT. */
static gboolean parse_where(const char *where, Address *address, GError **errp)
{
    const char *colon = strrchr(where, ':');
    g_autofree char *host = NULL;
    guint64 port = 0;

    if (colon == NULL) {
        host = g_strdup(LOOPBACK);
    } else if (where[0] == '[' && colon > where + 1 && colon[-1] == ']') {
        host = g_strndup(where + 1, (gsize)(colon - where) - 2);
    } else {
        host = g_strndup(where, (gsize)(colon - where));
    }
    if (!g_ascii_string_to_unsigned(colon != NULL ? colon + 1 : where, 10, 0,
                                    G_MAXUINT16, &port, NULL) ||
        (strchr(host, ':') != NULL && where[0] != '[') ||
        !set_address(host, (guint16)port, address)) {
        return ksm_command_usage(errp,
                                 "--listen %s: use PORT, "
                                 "IPv4-ADDRESS:PORT or [IPv6-ADDRESS]:PORT",
                                 where);
    }
    return TRUE;
}

/* The metrics, or what can be said without a broker; says so once. */
static char *make_text(Server *server)
{
    g_autoptr(GError) error = NULL;
    char *text = ksm_metrics_ask(server->client, &error);

    if (text != NULL) {
        server->silent = FALSE;
        return text;
    }
    if (!server->silent) {
        fprintf(stderr, "guest-ksmctl: %s\n", error->message);
        server->silent = TRUE;
    }
    return ksm_metrics_without_broker();
}

static enum MHD_Result reply(struct MHD_Connection *connection, guint status,
                             const char *type, const char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)text,
                                        MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result;

    if (response == NULL) {
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer(void *opaque, struct MHD_Connection *connection,
                              const char *url, const char *method,
                              const char *version, const char *upload,
                              size_t *upload_bytes, void **state)
{
    Server *server = opaque;
    g_autofree char *text = NULL;

    (void)version;
    (void)upload;
    (void)upload_bytes;
    (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
        strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain",
                     "only GET and HEAD\n");
    }
    if (strcmp(url, "/") == 0) {
        return reply(connection, MHD_HTTP_OK, "text/html", front_page);
    }
    if (strcmp(url, "/metrics") != 0) {
        return reply(connection, MHD_HTTP_NOT_FOUND, "text/plain",
                     "there is only /metrics\n");
    }
    text = make_text(server);
    return reply(connection, MHD_HTTP_OK, KSM_METRICS_TYPE, text);
}

static struct MHD_Daemon *start(Server *server, Address *address)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD;

    if (address->any.sa_family == AF_INET6) {
        flags |= MHD_USE_IPv6;
    }
    errno = 0;
    return MHD_start_daemon(flags, ntohs(address->v4.sin_port), NULL, NULL,
                            answer, server, MHD_OPTION_SOCK_ADDR, &address->any,
                            MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                            MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                            CONNECTIONS_EACH, MHD_OPTION_CONNECTION_TIMEOUT,
                            SILENT_SECONDS, MHD_OPTION_END);
}

/* Where it listens, with the port that 0 has become. */
static void print_where(struct MHD_Daemon *daemon, const Address *address)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    gboolean v6 = address->any.sa_family == AF_INET6;
    char host[INET6_ADDRSTRLEN] = "";

    inet_ntop(address->any.sa_family,
              v6 ? (const void *)&address->v6.sin6_addr :
                   (const void *)&address->v4.sin_addr,
              host, sizeof(host));
    printf("serves http://%s%s%s:%u/metrics\n", v6 ? "[" : "", host,
           v6 ? "]" : "", info != NULL ? info->port : 0);
    fflush(stdout);
}

gboolean ksm_metrics_serve(KsmClient *client, const char *where, GError **errp)
{
    Server server = { client, FALSE };
    struct MHD_Daemon *daemon;
    Address address;
    sigset_t signals;
    int number;

    if (!parse_where(where, &address, errp)) {
        return FALSE;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* its thread's, too */
    daemon = start(&server, &address);
    if (daemon == NULL) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "could not listen on %s: %s", where, g_strerror(errno));
        return FALSE;
    }
    print_where(daemon, &address);
    sigwait(&signals, &number);
    MHD_stop_daemon(daemon);
    return TRUE;
}
