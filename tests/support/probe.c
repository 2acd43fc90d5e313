/* SPDX-License-Identifier: GPL-2.0-or-later */
/* probe.c: a session that only asks the broker for a group's statistics. */
#include "probe.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define REPLY_BYTES 1024
#define TIMEOUT_SECONDS 10

struct KsmTestProbe {
    int fd;
    int store_fd;
    guint64 store_bytes; /* of all slots */
    guint32 serial;
};

/* Receives one packet; descriptors that come with it go to fds. */
static gssize receive(KsmTestProbe *probe, void *buffer, int fds[2])
{
    char control[CMSG_SPACE(2 * sizeof(int))];
    struct iovec iov = { .iov_base = buffer, .iov_len = REPLY_BYTES };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    struct cmsghdr *cmsg;
    gssize n;

    do {
        n = recvmsg(probe->fd, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (cmsg && cmsg->cmsg_type == SCM_RIGHTS &&
        cmsg->cmsg_len == CMSG_LEN(2 * sizeof(int))) {
        memcpy(fds, CMSG_DATA(cmsg), 2 * sizeof(int));
    }
    return n;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        g_test_message("probe: cannot connect to %s: %s", path,
                       g_strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

KsmTestProbe *ksm_test_probe_new(const char *socket, const char *group)
{
    KsmMsgHello hello = {
        .msg = { .type = KSM_MSG_HELLO, .serial = 1 },
        .magic = KSM_PROTO_MAGIC,
        .version = KSM_PROTO_VERSION,
        .node = KSM_NODE_ANY,
        .engine = { { 1, (guint64)g_get_monotonic_time() } },
    };
    union {
        KsmMsg msg;
        KsmMsgError error;
        KsmMsgWelcome welcome;
        char bytes[REPLY_BYTES];
    } reply;
    int fds[2] = { -1, -1 };
    int fd = connect_to(socket);
    KsmTestProbe *probe;

    if (fd < 0) {
        return NULL;
    }
    probe = g_new0(KsmTestProbe, 1);
    probe->fd = fd;
    probe->store_fd = -1;
    probe->serial = 1;
    g_strlcpy(hello.group, group, sizeof(hello.group));
    g_strlcpy(hello.name, "probe", sizeof(hello.name));
    memset(&reply, 0, sizeof(reply));
    if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello) ||
        receive(probe, &reply, fds) < (gssize)sizeof(KsmMsg) ||
        reply.msg.type != KSM_MSG_WELCOME || fds[1] < 0) {
        g_test_message("probe: refused: type %u %.*s", reply.msg.type,
                       (int)sizeof(reply.error.reason), reply.error.reason);
        ksm_test_probe_free(probe);
        return NULL;
    }
    close(fds[0]);
    probe->store_fd = fds[1];
    probe->store_bytes = reply.welcome.store_bytes;
    return probe;
}

gboolean ksm_test_probe_read(KsmTestProbe *probe, KsmMsgGroup *figures)
{
    KsmMsgStats request = { .msg = { .type = KSM_MSG_STATS } };
    union {
        KsmMsgGroup group;
        char bytes[REPLY_BYTES];
    } reply;
    int fds[2];

    request.msg.serial = ++probe->serial;
    memset(&reply, 0, sizeof(reply));
    if (send(probe->fd, &request, sizeof(request), MSG_NOSIGNAL) !=
            sizeof(request) ||
        receive(probe, &reply, fds) != sizeof(KsmMsgGroup) ||
        reply.group.msg.type != KSM_MSG_GROUP) {
        return FALSE;
    }
    *figures = reply.group;
    return TRUE;
}

/* What lies behind the slots, the broker's own notes, does not count. */
guint64 ksm_test_store_bytes(int store_fd, guint64 slot_bytes)
{
    off_t at = (off_t)slot_bytes, end;
    struct stat st;
    guint64 bytes;

    g_assert_cmpint(fstat(store_fd, &st), ==, 0);
    bytes = (guint64)st.st_blocks * 512;
    while ((at = lseek(store_fd, at, SEEK_DATA)) >= 0) {
        end = lseek(store_fd, at, SEEK_HOLE);
        bytes -= MIN(bytes, (guint64)(end - at));
        at = end;
    }
    return bytes;
}

guint64 ksm_test_probe_store_bytes(KsmTestProbe *probe)
{
    return ksm_test_store_bytes(probe->store_fd, probe->store_bytes);
}

void ksm_test_probe_free(KsmTestProbe *probe)
{
    close(probe->fd);
    if (probe->store_fd >= 0) {
        close(probe->store_fd);
    }
    g_free(probe);
}
