/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-control.c: lines on the control socket, cut into pieces at any place.
 *
 * Each line that the broker takes is answered by one line that is JSON again.
 */
#include <errno.h>
#include <json-glib/json-glib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients/connection.h"
#include "control/control-client.h"
#include "fuzz-input.h"
#include "fuzz-world.h"

static int control_fd, session_fd;

static int connect_to_broker(int type, void (*take)(int fd))
{
    int fds[2];

    g_assert(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) ==
             0);
    take(fds[1]);
    return fds[0];
}

static void take_control(int fd)
{
    ksm_control_client_new(fuzz_world()->control, fd, 0);
}

static void take_session(int fd)
{
    ksm_connection_new(fuzz_world(), fd);
}

/* A VM to speak of, "vm1/ram" in group "g". */
static void say_hello(void)
{
    KsmMsgHello hello = {
        .msg = { .type = KSM_MSG_HELLO },
        .magic = KSM_PROTO_MAGIC,
        .version = KSM_PROTO_VERSION,
        .pages = 64,
        .group = "g",
        .name = "vm1/ram",
        .node = KSM_NODE_ANY,
        .engine = { { 1, 1 } },
    };

    g_assert(send(session_fd, &hello, sizeof(hello), MSG_NOSIGNAL) > 0);
    fuzz_world_run();
}

/* It answers orders by its figures. */
static void report(void)
{
    KsmMsgStats stats = { .msg = { .type = KSM_MSG_STATS } };
    guint8 reply[1024];

    if (send(session_fd, &stats, sizeof(stats), MSG_NOSIGNAL) < 0) {
        return;
    }
    fuzz_world_run();
    while (recv(session_fd, reply, sizeof(reply), 0) > 0) {
    }
}

static void check_line(const char *line, gsize bytes)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) error = NULL;

    if (!json_parser_load_from_data(parser, line, (gssize)bytes, &error)) {
        g_error("the reply is not JSON: %s: %.*s", error->message, (int)bytes,
                line);
    }
}

/* FALSE: the broker has closed the connection. */
static gboolean read_replies(void)
{
    static char text[1 << 20];
    gsize filled = 0;
    gssize n;
    char *end;

    while ((n = recv(control_fd, text + filled, sizeof(text) - filled, 0)) >
           0) {
        filled += (gsize)n;
        fuzz_world_run();
    }
    for (end = text;
         filled > 0 && (end = memchr(text, '\n', filled)) != NULL;) {
        gsize bytes = (gsize)(end + 1 - text);

        check_line(text, bytes);
        filled -= bytes;
        memmove(text, end + 1, filled);
    }
    g_assert_cmpuint(filled, ==, 0);
    return n < 0 && errno == EAGAIN;
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    gsize at = 0;

    session_fd = connect_to_broker(SOCK_SEQPACKET, take_session);
    control_fd = connect_to_broker(SOCK_STREAM, take_control);
    say_hello();
    while (at < size) {
        const guint8 *end = memchr(data + at, '\n', size - at);
        gsize bytes = end != NULL ? (gsize)(end + 1 - data) - at : size - at;

        bytes = bytes % 3 == 1 && bytes > 8 ? bytes / 2 : bytes;
        if (send(control_fd, data + at, bytes, MSG_NOSIGNAL) < 0) {
            break;
        }
        at += bytes;
        fuzz_world_run();
        report();
        if (!read_replies()) {
            break;
        }
    }
    close(control_fd);
    close(session_fd);
    fuzz_world_clear();
    return 0;
}
