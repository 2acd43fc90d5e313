/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proto-client.c: a small client of the broker for tests. */
#include "proto-client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xxhash.h>

#define PAGE 4096u
#define WAIT_MS 10000

static GHashTable *claimed; /* names whose numbers are in use */

KsmEngineId proto_engine(guint64 number)
{
    return (KsmEngineId) { { number, 4711 } };
}

/* The engine's number for a client of that name. */
static void claim_number(ProtoClient *client, const char *name)
{
    char *numbered = g_strdup(name);
    guint i;

    if (claimed == NULL) {
        claimed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    for (i = 2; g_hash_table_contains(claimed, numbered); i++) {
        g_free(numbered);
        numbered = g_strdup_printf("%s %u", name, i);
    }
    g_hash_table_add(claimed, numbered);
    client->claimed = numbered;
    client->engine = proto_engine(g_str_hash(numbered) + 1ull);
}

ProtoClient *proto_client_connect(const char *socket_path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    ProtoClient *client = g_new0(ProtoClient, 1);

    g_strlcpy(address.sun_path, socket_path, sizeof(address.sun_path));
    client->store_fd = -1;
    client->node = KSM_NODE_ANY;
    client->version = KSM_PROTO_VERSION;
    client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    g_assert_cmpint(client->fd, >=, 0);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) !=
        0) {
        g_error("connecting to %s: %s", socket_path, g_strerror(errno));
    }
    return client;
}

void proto_client_free(ProtoClient *client)
{
    if (client->bulk != NULL) {
        munmap(client->bulk, KSM_BULK_BYTES);
    }
    if (client->store_fd >= 0) {
        close(client->store_fd);
    }
    close(client->fd);
    if (client->claimed != NULL) {
        g_hash_table_remove(claimed, client->claimed);
    }
    g_free(client);
}

gboolean proto_client_send(ProtoClient *client, gconstpointer packet,
                           gsize bytes)
{
    return send(client->fd, packet, bytes, MSG_NOSIGNAL) == (gssize)bytes;
}

/* Takes the descriptors of WELCOME. */
static void take_fds(ProtoClient *client, struct msghdr *msg)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(msg);
    int fds[2];

    g_assert_nonnull(header);
    g_assert_cmpuint(header->cmsg_len, ==, CMSG_LEN(sizeof(fds)));
    memcpy(fds, CMSG_DATA(header), sizeof(fds));
    client->bulk = mmap(NULL, KSM_BULK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_SHARED, fds[0], 0);
    g_assert_true(client->bulk != MAP_FAILED);
    g_assert_cmpint(lseek(fds[0], 0, SEEK_END), ==, KSM_BULK_BYTES);
    g_assert_cmpint(ftruncate(fds[0], 0), ==, -1);
    close(fds[0]);
    client->store_fd = fds[1];
}

gsize proto_client_receive(ProtoClient *client, ProtoReply *reply)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = { reply, sizeof(*reply) };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    struct pollfd entry = { .fd = client->fd, .events = POLLIN };
    gssize bytes;

again:
    memset(reply, 0, sizeof(*reply));
    if (poll(&entry, 1, WAIT_MS) != 1) {
        g_error("no packet of the broker within %d ms", WAIT_MS);
    }
    bytes = recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC);
    if (bytes <= 0) {
        return 0;
    }
    g_assert_cmpint(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC), ==, 0);
    if (reply->msg.type == KSM_MSG_WAKE) {
        g_assert_cmpuint(client->version, >, KSM_PROTO_SILENT);
        g_assert_cmpint(bytes, ==, sizeof(KsmMsg));
        client->wakes++;
        msg.msg_controllen = sizeof(control);
        goto again;
    }
    if (reply->msg.type == KSM_MSG_WELCOME) {
        g_assert_cmpint(bytes, ==,
                        ksm_proto_welcome_bytes(reply->welcome.version));
        take_fds(client, &msg);
        client->welcome = reply->welcome;
        client->version = reply->welcome.version;
    } else {
        g_assert_null(CMSG_FIRSTHDR(&msg));
    }
    return (gsize)bytes;
}

gboolean proto_client_send_fds(ProtoClient *client, gconstpointer packet,
                               gsize bytes, const int *fds, guint count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control = { .bytes = { 0 } };
    struct iovec iov = { (gpointer)packet, bytes };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(count * sizeof(int)),
    };

    g_assert_cmpuint(count, <=, 4);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
    return sendmsg(client->fd, &msg, MSG_NOSIGNAL) == (gssize)bytes;
}

ProtoReply proto_client_hello(ProtoClient *client, const char *group,
                              const char *name, guint64 pages)
{
    return proto_client_hello_with(client, group, name, pages, -1);
}

gboolean proto_client_send_hello(ProtoClient *client, const char *group,
                                 const char *name, guint64 pages, int fd)
{
    KsmMsgHello hello = {
        .msg = { .type = KSM_MSG_HELLO, .serial = ++client->serial },
        .magic = KSM_PROTO_MAGIC,
        .version = client->version,
        .pages = pages,
        .node = client->node,
    };

    g_strlcpy(hello.group, group, sizeof(hello.group));
    memcpy(hello.name, name, MIN(strlen(name), sizeof(hello.name)));
    if (client->version > KSM_PROTO_NAMELESS) {
        if (ksm_engine_id_is_none(&client->engine)) {
            claim_number(client, name);
        }
        hello.engine = client->engine;
        if (strlen(name) >= sizeof(hello.name)) {
            g_strlcpy(hello.more_name, name + sizeof(hello.name),
                      sizeof(hello.more_name));
        }
    }
    return fd >= 0 ?
               proto_client_send_fds(client, &hello,
                                     ksm_proto_hello_bytes(client->version),
                                     &fd, 1) :
               proto_client_send(client, &hello,
                                 ksm_proto_hello_bytes(client->version));
}

ProtoReply proto_client_hello_with(ProtoClient *client, const char *group,
                                   const char *name, guint64 pages, int fd)
{
    ProtoReply reply;

    g_assert_true(proto_client_send_hello(client, group, name, pages, fd));
    g_assert_cmpuint(proto_client_receive(client, &reply), >, 0);
    g_assert_cmpuint(reply.msg.serial, ==, client->serial);
    return reply;
}

KsmMsgWelcome proto_client_welcomed(ProtoClient *client)
{
    ProtoReply reply;

    g_assert_cmpuint(proto_client_receive(client, &reply), >, 0);
    if (reply.msg.type != KSM_MSG_WELCOME) {
        g_error("HELLO was answered by %u: %s", reply.msg.type,
                reply.error.reason);
    }
    return reply.welcome;
}

ProtoClient *proto_client_new(const char *socket_path, const char *group,
                              const char *name, guint64 pages)
{
    ProtoClient *client = proto_client_connect(socket_path);

    g_assert_true(proto_client_send_hello(client, group, name, pages, -1));
    proto_client_welcomed(client);
    return client;
}

ProtoReply proto_client_request(ProtoClient *client, KsmMsgType type,
                                guint32 count)
{
    union {
        KsmMsg msg;
        KsmMsgStats stats;
    } request = {
        .msg = { .type = type, .serial = ++client->serial, .count = count },
    };
    gsize bytes = type == KSM_MSG_STATS ?
                      ksm_proto_stats_bytes(client->version) :
                      sizeof(request.msg);
    ProtoReply reply;

    g_assert_true(proto_client_send(client, &request, bytes));
    if (proto_client_receive(client, &reply) == 0) {
        g_error("the broker closed the socket on request %u", type);
    }
    g_assert_cmpuint(reply.msg.serial, ==, client->serial);
    if (reply.msg.type == KSM_MSG_ERROR) {
        g_error("request %u: %s", type, reply.error.reason);
    }
    return reply;
}

static KsmAnswer one_answer(ProtoClient *client, KsmMsgType type)
{
    ProtoReply reply = proto_client_request(client, type, 1);
    KsmAnswer answer;

    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ANSWERS);
    g_assert_cmpuint(reply.msg.count, ==, 1);
    memcpy(&answer, client->bulk + KSM_BULK_REPLY, sizeof(answer));
    return answer;
}

KsmAnswer proto_client_lookup(ProtoClient *client, guint32 page, guint32 number)
{
    KsmLookup item = { proto_fingerprint(number), page, 0 };

    memcpy(client->bulk + KSM_BULK_REQUEST, &item, sizeof(item));
    return one_answer(client, KSM_MSG_LOOKUP);
}

guint32 proto_client_find(ProtoClient *client, guint32 page, guint32 number)
{
    gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    KsmAnswer answer;

    while ((answer = proto_client_lookup(client, page, number)).kind !=
               KSM_ANSWER_SLOT &&
           g_get_monotonic_time() < end) {
        g_usleep(1000);
    }
    return answer.slot;
}

KsmAnswer proto_client_publish(ProtoClient *client, guint32 page,
                               guint32 number, guint32 order)
{
    KsmPublish item = { page, order };

    memcpy(client->bulk + KSM_BULK_REQUEST, &item, sizeof(item));
    proto_content(client->bulk + KSM_BULK_CONTENT, number);
    return one_answer(client, KSM_MSG_PUBLISH);
}

void proto_client_range(ProtoClient *client, KsmMsgType type, guint32 first,
                        guint32 count)
{
    KsmRange range = { first, count };

    memcpy(client->bulk + KSM_BULK_REQUEST, &range, sizeof(range));
    g_assert_cmpuint(proto_client_request(client, type, 1).msg.type, ==,
                     KSM_MSG_OK);
}

ProtoReply proto_client_hold(ProtoClient *client, guint32 page, guint32 slot,
                             guint32 count)
{
    KsmReclaimRange item = { page, slot, count };
    KsmMsg request = {
        .type = KSM_MSG_RECLAIM,
        .serial = ++client->serial,
        .count = count > 0,
    };
    ProtoReply reply;

    memcpy(client->bulk + KSM_BULK_REQUEST, &item, sizeof(item));
    g_assert_true(proto_client_send(client, &request, sizeof(request)));
    g_assert_cmpuint(proto_client_receive(client, &reply), >, 0);
    return reply;
}

KsmMsgGroup proto_client_stats(ProtoClient *client)
{
    ProtoReply reply = proto_client_request(client, KSM_MSG_STATS, 0);

    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_GROUP);
    return reply.group;
}

void proto_content(guint8 *page, guint32 number)
{
    guint i;

    for (i = 0; i < PAGE; i += 4) {
        guint32 word = number * (i + 1);

        memcpy(page + i, &word, 4);
    }
}

KsmFingerprint proto_fingerprint(guint32 number)
{
    guint8 page[PAGE];
    XXH128_hash_t hash;

    proto_content(page, number);
    hash = XXH3_128bits(page, PAGE);
    return (KsmFingerprint) { hash.high64, hash.low64 };
}

void proto_client_assert_slot(ProtoClient *client, guint32 slot, guint32 number)
{
    guint8 wanted[PAGE], page[PAGE];

    proto_content(wanted, number);
    g_assert_cmpint(pread(client->store_fd, page, PAGE, (off_t)slot * PAGE), ==,
                    PAGE);
    g_assert_cmpmem(page, PAGE, wanted, PAGE);
}
