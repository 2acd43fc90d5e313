/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-activation.c: a broker whose sockets a service manager made. */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker-proc.h"
#include "probe.h"
#include "proto-client.h"

/* Descriptor 3 listens, the environment says so: as systemd starts it. */
static int listening_socket(const char *path, int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==,
                    0);
    g_assert_cmpint(listen(fd, 5), ==, 0);
    return fd;
}

/* A socket of @type at its path, and one of @other (0: none) beside it. */
static pid_t start_activated(const KsmTestBroker *broker, int type, int other)
{
    g_autofree char *path = g_build_filename(broker->dir, "other", NULL);
    int log = g_open(broker->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int fd = listening_socket(broker->socket, type);
    int other_fd = other ? listening_socket(path, other) : -1;
    pid_t pid;

    pid = fork();
    if (pid == 0) {
        g_autofree char *self = g_strdup_printf("%d", getpid());

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(log, 2);
        if (other_fd >= 0) {
            /* out of each other's way first, then the other one goes first */
            fd = fcntl(fd, F_DUPFD, 10);
            dup2(fcntl(other_fd, F_DUPFD, 10), 3);
        }
        dup2(fd, other_fd >= 0 ? 4 : 3);
        g_setenv("LISTEN_PID", self, TRUE);
        g_setenv("LISTEN_FDS", other_fd >= 0 ? "2" : "1", TRUE);
        g_setenv("RUNTIME_DIRECTORY", broker->dir, TRUE);
        execl(ksm_test_broker_program(), "guest-ksmd", NULL);
        _exit(127);
    }
    close(fd);
    close(log);
    if (other_fd >= 0) {
        close(other_fd);
    }
    return pid;
}

static void test_activation(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
    ProtoClient *client;

    broker->pid = start_activated(broker, SOCK_SEQPACKET, 0);
    client = proto_client_new(broker->socket, "g", "a", 10);
    g_assert_cmpint(proto_client_publish(client, 1, 1, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    proto_client_free(client);
    g_assert_true(ksm_test_broker_stop(broker));
    /* the name is the service manager's */
    g_assert_true(g_file_test(broker->socket, G_FILE_TEST_EXISTS));
}

/* The control socket may be passed, too, before or after. */
static void test_activation_with_control(void)
{
    static const char request[] = "{\"request\":\"status\"}\n";
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
    g_autofree char *path = g_build_filename(broker->dir, "other", NULL);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval timeout = { .tv_sec = 10 };
    char reply[16] = "";
    ProtoClient *client;
    int fd;

    broker->pid = start_activated(broker, SOCK_SEQPACKET, SOCK_STREAM);
    client = proto_client_new(broker->socket, "g", "a", 10);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)),
                    ==, 0);
    g_assert_cmpint(send(fd, request, strlen(request), 0), ==, strlen(request));
    g_assert_cmpint(recv(fd, reply, sizeof(reply) - 1, MSG_WAITALL), ==,
                    sizeof(reply) - 1);
    g_assert_true(g_str_has_prefix(reply, "{\"ok\":true"));
    close(fd);
    proto_client_free(client);
    g_assert_true(ksm_test_broker_stop(broker));
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
}

static void assert_not_activated(int type, int other)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
    int status = ksm_test_reap(start_activated(broker, type, other), 10);
    g_autofree char *log = ksm_test_broker_read_log(broker);

    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    g_assert_nonnull(strstr(log, "ListenSequentialPacket"));
}

static void test_activation_of_wrong_type(void)
{
    assert_not_activated(SOCK_STREAM, 0);
    assert_not_activated(SOCK_STREAM, SOCK_STREAM);
    assert_not_activated(SOCK_SEQPACKET, SOCK_SEQPACKET);
}

/* Whether guests are to be waited for is told to the next one, too. */
static void test_mark(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
    g_autofree char *mark = g_build_filename(broker->dir, "sessions.lock",
                                             NULL);
    ProtoClient *client;
    struct stat status;

    broker->pid = start_activated(broker, SOCK_SEQPACKET, 0);
    client = proto_client_new(broker->socket, "g", "a", 10);
    ksm_test_broker_kill(broker);
    g_assert_cmpint(stat(mark, &status), ==, 0);
    g_assert_cmpint(status.st_size, ==, 1);
    g_assert_cmpint(status.st_mode & 0777, ==, 0600);
    proto_client_free(client);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/activation/sessions", test_activation);
    g_test_add_func("/activation/control", test_activation_with_control);
    g_test_add_func("/activation/wrong-type", test_activation_of_wrong_type);
    g_test_add_func("/activation/mark", test_mark);
    return g_test_run();
}
