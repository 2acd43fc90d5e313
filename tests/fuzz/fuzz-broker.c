/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-broker.c: what clients say to the broker.
 *
 * An input is a list of actions of up to three clients: packets, whole or odd,
 * changes of the bulk memory, also while a request is at work, hanging up.
 * The broker must answer each request once, and be empty when all have exited.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients/connection.h"
#include "clients/request.h"
#include "fuzz-input.h"
#include "fuzz-world.h"

#define CLIENTS 3u

typedef struct Client {
    int fd; /* -1: not connected */
    int store_fd;
    guint8 *bulk;
    guint32 sent, answered;
} Client;

static Client clients[CLIENTS] = { { .fd = -1 }, { .fd = -1 }, { .fd = -1 } };

typedef union Packet {
    KsmMsg msg;
    KsmMsgHello hello;
    KsmMsgResize resize;
    KsmMsgStats stats;
    KsmMsgMap map;
    KsmMsgWelcome welcome;
    guint8 bytes[KSM_REQUEST_PACKET + 64];
} Packet;

static void client_close(Client *client)
{
    if (client->bulk != NULL) {
        munmap(client->bulk, KSM_BULK_BYTES);
    }
    if (client->store_fd > 0) {
        close(client->store_fd);
    }
    if (client->fd >= 0) {
        close(client->fd);
    }
    *client = (Client) { .fd = -1 };
}

static void client_open(Client *client)
{
    int fds[2];

    client_close(client);
    g_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
                        0, fds) == 0);
    client->fd = fds[0];
    ksm_connection_new(fuzz_world(), fds[1]);
}

static void take_fds(Client *client, struct msghdr *msg)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(msg);
    int fds[2];

    g_assert(header != NULL && header->cmsg_len == CMSG_LEN(sizeof(fds)));
    memcpy(fds, CMSG_DATA(header), sizeof(fds));
    g_assert(client->bulk == NULL);
    client->bulk = mmap(NULL, KSM_BULK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_SHARED, fds[0], 0);
    g_assert(client->bulk != MAP_FAILED);
    close(fds[0]);
    client->store_fd = fds[1];
}

/* Reads what the broker says; a client that is sent away is closed. */
static void client_listen(Client *client)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    Packet reply;
    struct iovec iov = { &reply, sizeof(reply) };
    gssize n;

    while (client->fd >= 0) {
        struct msghdr msg = {
            .msg_iov = &iov,
            .msg_iovlen = 1,
            .msg_control = &control,
            .msg_controllen = sizeof(control),
        };

        n = recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < (gssize)sizeof(KsmMsg) || reply.msg.type == KSM_MSG_ERROR) {
            client_close(client);
            return;
        }
        g_assert_cmpuint(++client->answered, <=, client->sent);
        if (reply.msg.type == KSM_MSG_WELCOME) {
            take_fds(client, &msg);
        }
    }
}

static void client_send(Client *client, const Packet *packet, gsize bytes,
                        int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .bytes = { 0 } };
    struct iovec iov = { (gpointer)packet, bytes };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fd > 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
    }
    client->sent += sendmsg(client->fd, &msg, MSG_NOSIGNAL) >= 0;
}

static void say_hello(Client *client, FuzzInput *input)
{
    guint8 flags = fuzz_byte(input);
    Packet packet = {
        .hello = {
            .msg = { .type = KSM_MSG_HELLO }, .magic = KSM_PROTO_MAGIC,
            .version = KSM_PROTO_VERSION, .pages = fuzz_number(input),
            .group = "g", .name = "n",
            .node = flags & 0x20 ? 0 : KSM_NODE_ANY,
        },
    };

    packet.hello.name[0] = (char)('a' + flags % 4);
    if (flags & 0x10) {
        packet.hello.version = KSM_PROTO_NAMELESS;
    } else {
        packet.hello.engine.words[0] = 1 + flags % 4;
    }
    if (flags & 0x80) {
        fuzz_take(input, packet.hello.group, 8);
    }
    client_send(client, &packet, ksm_proto_hello_bytes(packet.hello.version),
                flags & 0x40 ? clients[flags % CLIENTS].store_fd : -1);
}

/* Items of a request: pages, counts, slots, small as a rule. */
static void fill_items(Client *client, FuzzInput *input)
{
    guint32 words = fuzz_byte(input), i;
    guint32 at = fuzz_byte(input) % 64;

    for (i = 0; client->bulk != NULL && i < words; i++) {
        guint32 word = fuzz_number(input);

        memcpy(client->bulk + (at + i) % (KSM_BULK_REPLY / 4) * 4, &word, 4);
    }
}

/* A few different pages. */
static void fill_content(Client *client, FuzzInput *input)
{
    guint32 page = fuzz_byte(input);

    if (client->bulk != NULL) {
        memset(client->bulk + KSM_BULK_CONTENT + page * 4096, fuzz_byte(input),
               4096);
    }
}

static gsize size_of(guint32 type)
{
    return type == KSM_MSG_HELLO  ? sizeof(KsmMsgHello) :
           type == KSM_MSG_RESIZE ? sizeof(KsmMsgResize) :
           type == KSM_MSG_STATS  ? sizeof(KsmMsgStats) :
           type == KSM_MSG_MAP    ? sizeof(KsmMsgMap) :
                                    sizeof(KsmMsg);
}

/* A message of the right size, filled from the input as far as that goes. */
static void say_message(Client *client, FuzzInput *input)
{
    Packet packet = { .msg = { .type = fuzz_byte(input) % 16 } };
    gsize bytes = size_of(packet.msg.type);

    packet.msg.count = fuzz_number(input);
    fuzz_take(input, packet.bytes + sizeof(KsmMsg),
              MIN(bytes - sizeof(KsmMsg), 24));
    client_send(client, &packet, bytes, -1);
}

static void say_anything(Client *client, FuzzInput *input)
{
    Packet packet;
    gsize bytes = fuzz_number(input) % sizeof(packet);

    memset(&packet, 0, sizeof(packet));
    fuzz_take(input, &packet, MIN(bytes, 64));
    client_send(client, &packet, bytes, bytes % 7 ? -1 : client->store_fd);
}

static void act(FuzzInput *input)
{
    guint8 deed = fuzz_byte(input);
    Client *client = &clients[deed / 16 % CLIENTS];

    if (client->fd < 0) {
        client_open(client);
        say_hello(client, input);
    } else if (deed % 16 < 4) {
        fill_items(client, input);
    } else if (deed % 16 < 6) {
        fill_content(client, input);
    } else if (deed % 16 < 11) {
        say_message(client, input);
    } else if (deed % 16 < 12) {
        say_anything(client, input);
    } else if (deed % 16 < 13) {
        say_hello(client, input);
    } else if (deed % 16 < 14) {
        client_close(client);
    } else if (deed % 16 < 15) {
        g_main_context_iteration(NULL, FALSE); /* one step of its work */
        return;
    }
    if (deed < 0xc0) {
        fuzz_world_run();
    }
}

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    FuzzInput input = { data, size };
    guint i;

    while (input.left > 0) {
        act(&input);
        for (i = 0; i < CLIENTS; i++) {
            client_listen(&clients[i]);
        }
    }
    for (i = 0; i < CLIENTS; i++) {
        client_close(&clients[i]);
    }
    fuzz_world_clear();
    return 0;
}
