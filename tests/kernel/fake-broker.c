/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fake-broker.c: a broker that follows a test's instructions. */
#include "fake-broker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

int fake_broker_memfd(gsize bytes, guint flags, guint seals)
{
    int fd = memfd_create("fake", MFD_CLOEXEC | flags);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)bytes), ==, 0);
    if (seals != 0) {
        g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
    }
    return fd;
}

static void drop_bulk(FakeBroker *fake)
{
    if (fake->bulk != NULL) {
        munmap(fake->bulk, KSM_BULK_BYTES);
        fake->bulk = NULL;
    }
}

static void prepare_welcome(FakeBroker *fake, const FakeBrokerPacket *request,
                            FakeBrokerReply *reply)
{
    int fd = fake_broker_memfd(KSM_BULK_BYTES, MFD_ALLOW_SEALING,
                               F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);

    drop_bulk(fake);
    fake->bulk = mmap(NULL, KSM_BULK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                      fd, 0);
    g_assert_true(fake->bulk != MAP_FAILED);
    fake->pages = (guint)request->hello.pages;
    reply->fds[0] = fd;
    reply->fds[1] = dup(fake->store_fd);
    reply->packet.msg.type = KSM_MSG_WELCOME;
    reply->packet.welcome.version = MIN(request->hello.version,
                                        KSM_PROTO_VERSION);
    reply->packet.welcome.engine = request->hello.engine;
    reply->bytes = ksm_proto_welcome_bytes(reply->packet.welcome.version);
    reply->packet.welcome.broker_id = 4711;
    reply->packet.welcome.store_id = 1;
    reply->packet.welcome.store_bytes = FAKE_BROKER_BYTES;
    reply->packet.welcome.max_pages = 1u << 28;
}

static void publish(FakeBroker *fake, guint32 count)
{
    KsmAnswer *answers = fake_broker_answers(fake);
    guint32 i;

    for (i = 0; i < count; i++) {
        guint32 slot = fake->next_slot++;

        if (slot >= FAKE_BROKER_SLOTS) {
            g_error("the lying broker has no slot left that nobody maps");
        }
        memcpy(fake->store + (gsize)slot * 4096,
               fake->bulk + KSM_BULK_CONTENT + (gsize)i * 4096, 4096);
        answers[i] = (KsmAnswer) { KSM_ANSWER_SLOT, slot };
    }
}

/* The proper reply. */
static void prepare(FakeBroker *fake, const FakeBrokerPacket *request,
                    FakeBrokerReply *reply)
{
    guint32 count = request->msg.count, i;

    reply->packet.msg.type = KSM_MSG_OK;
    reply->packet.msg.serial = request->msg.serial;
    reply->bytes = sizeof(KsmMsg);
    switch (request->msg.type) {
    case KSM_MSG_HELLO:
        prepare_welcome(fake, request, reply);
        break;
    case KSM_MSG_LOOKUP:
        for (i = 0; i < count; i++) {
            fake_broker_answers(fake)[i] = (KsmAnswer) { KSM_ANSWER_PUBLISH,
                                                         KSM_SLOT_NONE };
        }
        reply->packet.msg.type = KSM_MSG_ANSWERS;
        reply->packet.msg.count = count;
        break;
    case KSM_MSG_PUBLISH:
        publish(fake, count);
        reply->packet.msg.type = KSM_MSG_ANSWERS;
        reply->packet.msg.count = count;
        break;
    case KSM_MSG_FETCH_RESULTS:
        reply->packet.msg.type = KSM_MSG_ANSWERS;
        break;
    case KSM_MSG_STATS:
        reply->packet.msg.type = KSM_MSG_GROUP;
        reply->bytes = sizeof(KsmMsgGroup);
        break;
    case KSM_MSG_CPU_TIME:
        reply->packet.msg.type = KSM_MSG_GRANT;
        reply->packet.grant.cpu_us = G_MAXUINT32;
        reply->bytes = sizeof(KsmMsgGrant);
        break;
    default:
        break;
    }
}

static void send_reply(int fd, const FakeBrokerReply *reply)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } control;
    struct iovec iov = { (gpointer)&reply->packet, reply->bytes };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    guint n = 0, i;

    while (n < 3 && reply->fds[n] >= 0) {
        n++;
    }
    if (n > 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(&control.header), reply->fds, n * sizeof(int));
    }
    for (i = 0; i < reply->times && reply->bytes > 0; i++) {
        if (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            break; /* it has gone, or does not read */
        }
    }
}

static gboolean answer(FakeBroker *fake, int fd)
{
    FakeBrokerPacket request = { .msg = { 0 } };
    FakeBrokerReply reply = { .fds = { -1, -1, -1 }, .times = 1 };
    guint i;

    if (recv(fd, &request, sizeof(request), MSG_DONTWAIT) <= 0) {
        return FALSE;
    }
    g_atomic_int_inc(&fake->requests);
    prepare(fake, &request, &reply);
    if (fake->lie != NULL) {
        fake->lie(fake, &request, &reply);
    }
    if (reply.packet.msg.type == KSM_MSG_WELCOME) {
        g_atomic_int_inc(&fake->welcomes);
    }
    send_reply(fd, &reply);
    for (i = 0; i < 3; i++) {
        if (reply.fds[i] >= 0) {
            close(reply.fds[i]);
        }
    }
    return !reply.close;
}

static gboolean readable(FakeBroker *fake, int fd)
{
    struct pollfd entry = { .fd = fd, .events = POLLIN };

    while (!g_atomic_int_get(&fake->stop)) {
        if (poll(&entry, 1, 20) > 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static gpointer fake_broker_thread(gpointer opaque)
{
    FakeBroker *fake = opaque;

    while (readable(fake, fake->listen_fd)) {
        int fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC);

        g_atomic_int_inc(&fake->connections);
        while (readable(fake, fd) && answer(fake, fd)) {
        }
        close(fd);
        drop_bulk(fake);
        g_atomic_int_inc(&fake->ended);
    }
    return NULL;
}

FakeBroker *fake_broker_new(FakeBrokerLie *lie)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    FakeBroker *fake = g_new0(FakeBroker, 1);

    fake->lie = lie;
    fake->dir = g_dir_make_tmp("ksm-fake-XXXXXX", NULL);
    fake->path = g_build_filename(fake->dir, "broker.sock", NULL);
    fake->store_fd = fake_broker_memfd(FAKE_BROKER_BYTES, MFD_ALLOW_SEALING,
                                       F_SEAL_SHRINK | F_SEAL_GROW |
                                           F_SEAL_SEAL);
    fake->store = mmap(NULL, FAKE_BROKER_BYTES, PROT_READ | PROT_WRITE,
                       MAP_SHARED, fake->store_fd, 0);
    g_assert_true(fake->store != MAP_FAILED);
    g_strlcpy(address.sun_path, fake->path, sizeof(address.sun_path));
    fake->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fake->listen_fd, (struct sockaddr *)&address,
                         sizeof(address)),
                    ==, 0);
    g_assert_cmpint(listen(fake->listen_fd, 8), ==, 0);
    fake->thread = g_thread_new("fake", fake_broker_thread, fake);
    return fake;
}

void fake_broker_empty(FakeBroker *fake)
{
    g_assert_cmpint(fallocate(fake->store_fd,
                              FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                              FAKE_BROKER_BYTES),
                    ==, 0);
    fake->next_slot = 0;
}

void fake_broker_free(FakeBroker *fake)
{
    g_atomic_int_set(&fake->stop, 1);
    g_thread_join(fake->thread);
    close(fake->listen_fd);
    close(fake->store_fd);
    munmap(fake->store, FAKE_BROKER_BYTES);
    g_unlink(fake->path);
    g_rmdir(fake->dir);
    g_free(fake->path);
    g_free(fake->dir);
    g_free(fake);
}
