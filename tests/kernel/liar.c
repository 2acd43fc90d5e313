/* SPDX-License-Identifier: GPL-2.0-or-later */
/* liar.c: a broker that does what it is told to. */
#include "liar.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib/gstdio.h>

int liar_memfd(gsize bytes, guint flags, guint seals)
{
    int fd = memfd_create("liar", MFD_CLOEXEC | flags);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)bytes), ==, 0);
    if (seals != 0) {
        g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
    }
    return fd;
}

static void drop_bulk(Liar *liar)
{
    if (liar->bulk != NULL) {
        munmap(liar->bulk, KSM_BULK_BYTES);
        liar->bulk = NULL;
    }
}

static void prepare_welcome(Liar *liar, const LiarPacket *request,
                            LiarReply *reply)
{
    int fd = liar_memfd(KSM_BULK_BYTES, MFD_ALLOW_SEALING,
                        F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);

    drop_bulk(liar);
    liar->bulk = mmap(NULL, KSM_BULK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd, 0);
    g_assert_true(liar->bulk != MAP_FAILED);
    liar->pages = (guint)request->hello.pages;
    reply->fds[0] = fd;
    reply->fds[1] = dup(liar->store_fd);
    reply->packet.msg.type = KSM_MSG_WELCOME;
    reply->packet.welcome.version = MIN(request->hello.version,
                                        KSM_PROTO_VERSION);
    reply->packet.welcome.engine = request->hello.engine;
    reply->bytes = ksm_proto_welcome_bytes(reply->packet.welcome.version);
    reply->packet.welcome.broker_id = 4711;
    reply->packet.welcome.store_id = 1;
    reply->packet.welcome.store_bytes = LIAR_BYTES;
    reply->packet.welcome.max_pages = 1u << 28;
}

static void publish(Liar *liar, guint32 count)
{
    KsmAnswer *answers = liar_answers(liar);
    guint32 i;

    for (i = 0; i < count; i++) {
        guint32 slot = liar->next_slot++;

        if (slot >= LIAR_SLOTS) {
            g_error("the lying broker has no slot left that nobody maps");
        }
        memcpy(liar->store + (gsize)slot * 4096,
               liar->bulk + KSM_BULK_CONTENT + (gsize)i * 4096, 4096);
        answers[i] = (KsmAnswer) { KSM_ANSWER_SLOT, slot };
    }
}

/* The proper reply. */
static void prepare(Liar *liar, const LiarPacket *request, LiarReply *reply)
{
    guint32 count = request->msg.count, i;

    reply->packet.msg.type = KSM_MSG_OK;
    reply->packet.msg.serial = request->msg.serial;
    reply->bytes = sizeof(KsmMsg);
    switch (request->msg.type) {
    case KSM_MSG_HELLO:
        prepare_welcome(liar, request, reply);
        break;
    case KSM_MSG_LOOKUP:
        for (i = 0; i < count; i++) {
            liar_answers(liar)[i] = (KsmAnswer) { KSM_ANSWER_PUBLISH,
                                                  KSM_SLOT_NONE };
        }
        reply->packet.msg.type = KSM_MSG_ANSWERS;
        reply->packet.msg.count = count;
        break;
    case KSM_MSG_PUBLISH:
        publish(liar, count);
        reply->packet.msg.type = KSM_MSG_ANSWERS;
        reply->packet.msg.count = count;
        break;
    case KSM_MSG_HINTS:
        reply->packet.msg.type = KSM_MSG_ANSWERS;
        break;
    case KSM_MSG_STATS:
        reply->packet.msg.type = KSM_MSG_GROUP;
        reply->bytes = sizeof(KsmMsgGroup);
        break;
    default:
        break;
    }
}

static void send_reply(int fd, const LiarReply *reply)
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
            break;              /* it has gone, or does not read */
        }
    }
}

static gboolean answer(Liar *liar, int fd)
{
    LiarPacket request = { .msg = { 0 } };
    LiarReply reply = { .fds = { -1, -1, -1 }, .times = 1 };
    guint i;

    if (recv(fd, &request, sizeof(request), MSG_DONTWAIT) <= 0) {
        return FALSE;
    }
    g_atomic_int_inc(&liar->requests);
    prepare(liar, &request, &reply);
    if (liar->lie != NULL) {
        liar->lie(liar, &request, &reply);
    }
    if (reply.packet.msg.type == KSM_MSG_WELCOME) {
        g_atomic_int_inc(&liar->welcomes);
    }
    send_reply(fd, &reply);
    for (i = 0; i < 3; i++) {
        if (reply.fds[i] >= 0) {
            close(reply.fds[i]);
        }
    }
    return !reply.close;
}

static gboolean readable(Liar *liar, int fd)
{
    struct pollfd entry = { .fd = fd, .events = POLLIN };

    while (!g_atomic_int_get(&liar->stop)) {
        if (poll(&entry, 1, 20) > 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static gpointer liar_thread(gpointer opaque)
{
    Liar *liar = opaque;

    while (readable(liar, liar->listen_fd)) {
        int fd = accept4(liar->listen_fd, NULL, NULL, SOCK_CLOEXEC);

        g_atomic_int_inc(&liar->connections);
        while (readable(liar, fd) && answer(liar, fd)) {
        }
        close(fd);
        drop_bulk(liar);
        g_atomic_int_inc(&liar->ended);
    }
    return NULL;
}

Liar *liar_new(LiarLie *lie)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    Liar *liar = g_new0(Liar, 1);

    liar->lie = lie;
    liar->dir = g_dir_make_tmp("ksm-liar-XXXXXX", NULL);
    liar->path = g_build_filename(liar->dir, "broker.sock", NULL);
    liar->store_fd = liar_memfd(LIAR_BYTES, MFD_ALLOW_SEALING,
                                F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    liar->store = mmap(NULL, LIAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                       liar->store_fd, 0);
    g_assert_true(liar->store != MAP_FAILED);
    g_strlcpy(address.sun_path, liar->path, sizeof(address.sun_path));
    liar->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(liar->listen_fd, (struct sockaddr *)&address,
                         sizeof(address)), ==, 0);
    g_assert_cmpint(listen(liar->listen_fd, 8), ==, 0);
    liar->thread = g_thread_new("liar", liar_thread, liar);
    return liar;
}

void liar_empty(Liar *liar)
{
    g_assert_cmpint(fallocate(liar->store_fd,
                              FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                              LIAR_BYTES), ==, 0);
    liar->next_slot = 0;
}

void liar_free(Liar *liar)
{
    g_atomic_int_set(&liar->stop, 1);
    g_thread_join(liar->thread);
    close(liar->listen_fd);
    close(liar->store_fd);
    munmap(liar->store, LIAR_BYTES);
    g_unlink(liar->path);
    g_rmdir(liar->dir);
    g_free(liar->path);
    g_free(liar->dir);
    g_free(liar);
}
