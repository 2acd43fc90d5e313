/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-hostile.c: clients that break the protocol, do not read, or take too
 * much.  Each must get an error, be named in the log and be disconnected; no
 * other client may notice.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proto-child.h"
#include "proto-client.h"
#include "require.h"

#define ERROR_PROTOCOL 7u
#define ERROR_LIMIT 5u
#define ERROR_GROUP 8u
#define MANY_PAGES (4u << 20) /* returning them takes a while */

/* A client that is there all the time and must not be disturbed. */
typedef struct Fixture {
    KsmTestBroker *broker;
    ProtoClient *witness;
} Fixture;

static void fixture_open(Fixture *fixture, const char *options)
{
    fixture->broker = ksm_test_broker_new(options);
    fixture->witness = proto_client_new(fixture->broker->socket, "g", "witness",
                                        100);
    g_assert_cmpint(proto_client_publish(fixture->witness, 1, 1, 0).kind, ==,
                    KSM_ANSWER_SLOT);
}

static void fixture_close(Fixture *fixture)
{
    g_assert_cmpint(proto_client_lookup(fixture->witness, 2, 1).kind, ==,
                    KSM_ANSWER_SLOT);
    g_assert_cmpint(proto_client_lookup(fixture->witness, 3, 77).kind, ==,
                    KSM_ANSWER_LISTED);
    proto_client_free(fixture->witness);
    g_assert_true(ksm_test_broker_stop(fixture->broker));
    ksm_test_broker_free(fixture->broker);
}

typedef union Packet {
    KsmMsg msg;
    KsmMsgHello hello;
    KsmMsgResize resize;
    KsmMsgStats stats;
    KsmMsgMap map;
    guint8 bytes[70000];
} Packet;

typedef struct Row {
    const char *name;
    const char *reason; /* must be in the answer and in the log */
    gboolean before_hello;
    guint32 code; /* 0: ERROR_PROTOCOL */
    guint32 type;
    gsize bytes; /* 0: of a plain message */
    guint32 count;
    guint32 item[6]; /* the first bytes of the bulk memory */
    void (*spoil)(Packet *packet);
} Row;

static void spoil_magic(Packet *packet)
{
    packet->hello.magic ^= 1;
}

static void spoil_version(Packet *packet)
{
    packet->hello.version = KSM_PROTO_OLDEST - 1;
}

static void spoil_node(Packet *packet)
{
    packet->hello.node = KSM_NODE_ANY - 1;
}

static void spoil_node_huge(Packet *packet)
{
    packet->hello.node = KSM_MAX_NODE + 1;
}

static void spoil_hello_reserved(Packet *packet)
{
    packet->hello.reserved = 1;
}

static void spoil_group_empty(Packet *packet)
{
    packet->hello.group[0] = '\0';
}

static void spoil_group_slash(Packet *packet)
{
    strcpy(packet->hello.group, "../g");
}

static void spoil_group_end(Packet *packet)
{
    memset(packet->hello.group, 'a', KSM_GROUP_BYTES);
}

static void spoil_name_end(Packet *packet)
{
    memset(packet->hello.name, 'a', sizeof(packet->hello.name));
    memset(packet->hello.more_name, 'a', sizeof(packet->hello.more_name));
}

static void spoil_name_control(Packet *packet)
{
    strcpy(packet->hello.name, "a\nb");
}

static void spoil_name_more_control(Packet *packet)
{
    memset(packet->hello.name, 'a', sizeof(packet->hello.name));
    strcpy(packet->hello.more_name, "a\nb");
}

static void spoil_engine(Packet *packet)
{
    packet->hello.engine = (KsmEngineId) { { 0, 0 } };
}

static void spoil_version_5(Packet *packet)
{
    packet->hello.version = 5;
}

static void spoil_reserved(Packet *packet)
{
    packet->msg.reserved = 1;
}

static void spoil_pages(Packet *packet)
{
    packet->hello.pages = G_MAXUINT64;
}

static void spoil_resize_less(Packet *packet)
{
    packet->resize.pages = 99;
}

static void spoil_resize_more(Packet *packet)
{
    packet->resize.pages = 1ull << 60;
}

static void spoil_map_cells(Packet *packet)
{
    packet->map.pages = 100;
    packet->map.pages_per_cell = 1;
}

static void spoil_map_wraps(Packet *packet)
{
    packet->map.pages = G_MAXUINT64;
    packet->map.pages_per_cell = G_MAXUINT32;
}

#define MAP KSM_MSG_MAP, sizeof(KsmMsgMap)
#define HELLO \
    KSM_MSG_HELLO, sizeof(KsmMsgHello), 0, \
    { \
        0 \
    }
#define RESIZE \
    KSM_MSG_RESIZE, sizeof(KsmMsgResize), 0, \
    { \
        0 \
    }
#define OLD_HELLO 160 /* of version 3 */
#define M16 sizeof(KsmMsg)
#define BEFORE TRUE
#define AFTER FALSE

/* clang-format off */
static const Row rows[] = {
    { "empty", "a packet of 0 bytes", AFTER, 0, 0, G_MAXSIZE, 0, { 0 },
      NULL },
    { "short", "a packet of 15 bytes", AFTER, 0, 4, 15, 0, { 0 }, NULL },
    { "long", "message 4 of 17 bytes", AFTER, 0, 4, 17, 0, { 0 }, NULL },
    { "oversized", "a packet of 70000 bytes", AFTER, 0, 4, 70000, 0, { 0 },
      NULL },
    { "type-zero", "unknown message 0", AFTER, 0, 0, M16, 0, { 0 }, NULL },
    { "type-reply", "unknown message 32", AFTER, 0, KSM_MSG_OK, M16, 0,
      { 0 }, NULL },
    { "type-big", "unknown message 4294967295", AFTER, 0, 0xffffffff, M16, 0,
      { 0 }, NULL },
    { "reserved", "reserved bits", AFTER, 0, KSM_MSG_FETCH_RESULTS, M16, 0, { 0 },
      spoil_reserved },
    { "second-hello", "a second HELLO", AFTER, 0, HELLO, NULL },
    { "no-hello", "message 4 before HELLO", BEFORE, 0, KSM_MSG_LOOKUP, M16,
      0, { 0 }, NULL },
    { "no-hello-release", "before HELLO", BEFORE, 0, KSM_MSG_RELEASE, M16, 1,
      { 0, 9 }, NULL },
    { "hello-magic", "protocol version 0", BEFORE, 0, HELLO, spoil_magic },
    { "hello-version", "protocol version 3; this broker supports 4 to 7",
      BEFORE,
      0, HELLO, spoil_version },
    { "hello-older", "protocol version 3; this broker supports 4 to 7",
      BEFORE, 0,
      KSM_MSG_HELLO, OLD_HELLO, 0, { 0 }, spoil_version },
    { "hello-long", "message 1 of 377 bytes", BEFORE, 0, KSM_MSG_HELLO,
      sizeof(KsmMsgHello) + 1, 0, { 0 }, NULL },
    { "hello-node", "HELLO of node -2", BEFORE, 0, HELLO, spoil_node },
    { "hello-node-huge", "NUMA node 1024", BEFORE, ERROR_GROUP, HELLO,
      spoil_node_huge },
    { "hello-reserved", "reserved 1", BEFORE, 0, HELLO,
      spoil_hello_reserved },
    { "hello-short", "message 1 of 16 bytes", BEFORE, 0, KSM_MSG_HELLO, M16,
      0, { 0 }, NULL },
    { "hello-group-empty", "group name", BEFORE, ERROR_GROUP, HELLO,
      spoil_group_empty },
    { "hello-group-slash", "group name", BEFORE, ERROR_GROUP, HELLO,
      spoil_group_slash },
    { "hello-group-no-end", "group name", BEFORE, ERROR_GROUP, HELLO,
      spoil_group_end },
    { "hello-name-no-end", "session name", BEFORE, 0, HELLO,
      spoil_name_end },
    { "hello-name-control", "session name", BEFORE, 0, HELLO,
      spoil_name_control },
    { "hello-name-more-control", "session name has 1 to 255", BEFORE, 0, HELLO,
      spoil_name_more_control },
    { "hello-no-engine", "HELLO without the engine's number", BEFORE, 0, HELLO,
      spoil_engine },
    { "hello-long-of-before", "message 1 of 376 bytes", BEFORE, 0, HELLO,
      spoil_version_5 },
    { "hello-cut-off", "message 1 of 168 bytes", BEFORE, 0, KSM_MSG_HELLO,
      offsetof(KsmMsgHello, engine), 0, { 0 }, NULL },
    { "hello-pages", "maximum of a session", BEFORE, ERROR_LIMIT, HELLO,
      spoil_pages },
    { "resize-less", "RESIZE from 100 to 99", AFTER, 0, RESIZE,
      spoil_resize_less },
    { "resize-more", "maximum of a session", AFTER, ERROR_LIMIT, RESIZE,
      spoil_resize_more },
    { "lookup-count", "LOOKUP of 2049 items", AFTER, 0, KSM_MSG_LOOKUP, M16,
      2049, { 0 }, NULL },
    { "lookup-count-big", "LOOKUP of 4294967295", AFTER, 0, KSM_MSG_LOOKUP,
      M16, 0xffffffff, { 0 }, NULL },
    { "lookup-page", "LOOKUP of page 100 of 100", AFTER, 0, KSM_MSG_LOOKUP,
      M16, 1, { 1, 2, 3, 4, 100, 0 }, NULL },
    { "lookup-reserved", "reserved bits", AFTER, 0, KSM_MSG_LOOKUP, M16, 1,
      { 1, 2, 3, 4, 5, 1 }, NULL },
    { "lookup-bound", "page 50, which is bound", AFTER, 0, KSM_MSG_LOOKUP,
      M16, 1, { 1, 2, 3, 4, 50, 0 }, NULL },
    { "publish-count", "PUBLISH of 257 items", AFTER, 0, KSM_MSG_PUBLISH,
      M16, 257, { 0 }, NULL },
    { "publish-page", "PUBLISH of page 4294967295", AFTER, 0,
      KSM_MSG_PUBLISH, M16, 1, { 0xffffffff, 0 }, NULL },
    { "publish-tile", "tile of order 7", AFTER, 0, KSM_MSG_PUBLISH, M16, 1,
      { 1, 7 }, NULL },
    { "publish-bound", "page 50, which is bound", AFTER, 0, KSM_MSG_PUBLISH,
      M16, 1, { 50, 0 }, NULL },
    { "ranges-count", "4097 ranges", AFTER, 0, KSM_MSG_RELEASE, M16, 4097,
      { 0 }, NULL },
    { "range-end", "range 0: 2 pages from 99", AFTER, 0, KSM_MSG_RELEASE,
      M16, 1, { 99, 2 }, NULL },
    { "range-wraps", "range 0: 4294967295 pages from 4294967295", AFTER, 0,
      KSM_MSG_WITHDRAW, M16, 1, { 0xffffffff, 0xffffffff }, NULL },
    { "ranges-overlap", "range 1: 60 pages from 0", AFTER, 0,
      KSM_MSG_WITHDRAW, M16, 2, { 0, 60, 0, 60 }, NULL },
    { "stats-short", "message 9 of 16 bytes", AFTER, 0, KSM_MSG_STATS, M16,
      0, { 0 }, NULL },
    { "hold-of-nothing", "unexpected RECLAIM", AFTER, 0,
      KSM_MSG_RECLAIM, M16, 1, { 0, 0, 1 }, NULL },
    { "map-short", "message 10 of 16 bytes", AFTER, 0, KSM_MSG_MAP, M16, 1,
      { 0 }, NULL },
    { "map-empty", "MAP of 0 cells", AFTER, 0, MAP, 0, { 0 },
      spoil_map_cells },
    { "map-no-size", "MAP of 1 cells", AFTER, 0, MAP, 1, { 0 }, NULL },
    { "map-less", "MAP of 99 cells", AFTER, 0, MAP, 99, { 0 },
      spoil_map_cells },
    { "map-more", "MAP of 65537 cells", AFTER, 0, MAP, 65537, { 0 },
      spoil_map_cells },
    { "map-wraps", "MAP of 2 cells", AFTER, 0, MAP, 2, { 0 },
      spoil_map_wraps },
};
/* clang-format on */

static void packet_of_row(const Row *row, Packet *packet, gsize *bytes)
{
    memset(packet, 0, sizeof(*packet));
    packet->msg.type = row->type;
    packet->msg.count = row->count;
    packet->msg.serial = 4711;
    if (row->type == KSM_MSG_HELLO && row->bytes > M16) {
        packet->hello.magic = KSM_PROTO_MAGIC;
        packet->hello.version = KSM_PROTO_VERSION;
        strcpy(packet->hello.group, "g");
        strcpy(packet->hello.name, "villain");
        packet->hello.node = KSM_NODE_ANY;
        packet->hello.engine = proto_engine(2);
    }
    if (row->spoil != NULL) {
        row->spoil(packet);
    }
    *bytes = row->bytes == G_MAXSIZE ? 0 : row->bytes;
}

static void run_row(const Fixture *fixture, const Row *row)
{
    g_autoptr(ProtoClient) client =
        proto_client_connect(fixture->broker->socket);
    g_autofree Packet *packet = g_new(Packet, 1);
    g_autofree char *log = NULL;
    ProtoReply reply;
    gsize bytes;

    g_test_message("%s", row->name);
    if (!row->before_hello) {
        reply = proto_client_hello(client, "g", "villain", 100);
        g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_WELCOME);
        g_assert_cmpint(proto_client_publish(client, 50, 1, 0).kind, ==,
                        KSM_ANSWER_SLOT);
        memcpy(client->bulk, row->item, sizeof(row->item));
    }
    packet_of_row(row, packet, &bytes);
    g_assert_true(proto_client_send(client, packet, bytes));
    g_assert_cmpuint(proto_client_receive(client, &reply), ==,
                     sizeof(KsmMsgError));
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_cmpuint(reply.error.code, ==,
                     row->code != 0 ? row->code : ERROR_PROTOCOL);
    g_assert_nonnull(strstr(reply.error.reason, row->reason));
    g_assert_cmpuint(proto_client_receive(client, &reply), ==, 0);
    log = ksm_test_broker_read_log(fixture->broker);
    g_assert_nonnull(strstr(log, row->reason));
}

/* One by one, each in a process of its own: the log's limit is per process. */
static void row_in_child(gpointer opaque)
{
    gpointer *args = opaque;

    run_row(args[0], args[1]);
    proto_child_report(1);
    proto_child_await();
}

static void test_rows(void)
{
    Fixture fixture;
    g_autofree char *log = NULL, *pid = NULL;
    guint i;

    fixture_open(&fixture, NULL);
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        gpointer args[] = { &fixture, (gpointer)&rows[i] };
        ProtoChild *child = proto_child_new(row_in_child, args);

        pid = g_strdup_printf("process %d, user %d", child->pid, geteuid());
        g_assert_cmpuint(proto_child_wait(child), ==, 1);
        proto_child_free(child);
        g_assert_cmpuint(proto_client_stats(fixture.witness).pages_shared, ==,
                         1);
        log = ksm_test_broker_read_log(fixture.broker);
        g_assert_nonnull(strstr(log, pid));
        g_clear_pointer(&log, g_free);
        g_clear_pointer(&pid, g_free);
    }
    fixture_close(&fixture);
}

/* Descriptors are taken with HELLO alone: they would be the broker's to keep.
 * test-reclaim.c sends some of those. */
static void test_descriptor(void)
{
    Fixture fixture;
    g_autoptr(ProtoClient) client = NULL;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .bytes = { 0 } };
    KsmMsg results = { .type = KSM_MSG_FETCH_RESULTS };
    struct iovec iov = { &results, sizeof(results) };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    int fds[2];
    char byte;
    ProtoReply reply;

    fixture_open(&fixture, NULL);
    client = proto_client_new(fixture.broker->socket, "g", "villain", 100);
    g_assert_cmpint(pipe(fds), ==, 0);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &fds[1], sizeof(int));
    g_assert_cmpint(sendmsg(client->fd, &msg, 0), ==, sizeof(results));
    close(fds[1]);
    g_assert_cmpuint(proto_client_receive(client, &reply), >, 0);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_cmpint(read(fds[0], &byte, 1), ==, 0); /* nobody has it open */
    close(fds[0]);
    fixture_close(&fixture);
}

/* The reason arrives even if more requests were on their way by then. */
static void test_reason_before_end(void)
{
    Fixture fixture;
    g_autoptr(ProtoClient) client = NULL;
    KsmMsg msg = { .type = 99 };
    struct pollfd end = { .events = 0 };
    ProtoReply reply;
    guint i;

    fixture_open(&fixture, NULL);
    client = proto_client_new(fixture.broker->socket, "g", "villain", 100);
    kill(fixture.broker->pid, SIGSTOP);
    for (i = 0; i < 20; i++) {
        g_assert_true(proto_client_send(client, &msg, sizeof(msg)));
    }
    kill(fixture.broker->pid, SIGCONT);
    end.fd = client->fd;
    g_assert_cmpint(poll(&end, 1, 10000), ==, 1); /* closed by now */
    g_assert_cmpuint(proto_client_receive(client, &reply), ==,
                     sizeof(KsmMsgError));
    g_assert_nonnull(strstr(reply.error.reason, "unknown message 99"));
    g_assert_cmpuint(proto_client_receive(client, &reply), ==, 0);
    fixture_close(&fixture);
}

/* Sends without reading until nothing more fits; others are served. */
static void test_does_not_read(void)
{
    Fixture fixture;
    g_autoptr(ProtoClient) client = NULL;
    KsmMsg results = { .type = KSM_MSG_FETCH_RESULTS };
    guint sent = 0, received = 0, turns = 0;
    double end;

    fixture_open(&fixture, NULL);
    client = proto_client_new(fixture.broker->socket, "g", "villain", 100);
    end = ksm_test_now() + 10;
    while (turns < 50) { /* that many turns and nothing is taken */
        results.serial = sent;
        if (send(client->fd, &results, sizeof(results), MSG_DONTWAIT) < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
            proto_client_stats(fixture.witness);
            turns++;
        } else {
            sent++;
            turns = 0;
        }
        g_assert_cmpfloat(ksm_test_now(), <, end);
    }
    while (received < sent) {
        ProtoReply reply;

        g_assert_cmpuint(proto_client_receive(client, &reply), ==,
                         sizeof(KsmMsg));
        g_assert_cmpuint(reply.msg.serial, ==, received++);
    }
    g_test_message("%u requests were under way", sent);
    fixture_close(&fixture);
}

static double witness_worst;

/* The longest that the witness waits for an answer while others storm. */
static void storm_run(gpointer opaque)
{
    const Fixture *fixture = opaque;
    ProtoClient *client = proto_client_new(fixture->broker->socket, "g",
                                           "storm", 1 << 24);
    guint i;

    proto_child_report(1);
    for (i = 0; i < 30; i++) {
        KsmRange range = { 0, 1 << 24 };
        guint item;

        memcpy(client->bulk, &range, sizeof(range));
        proto_client_request(client, KSM_MSG_RELEASE, 1);
        for (item = 0; item < KSM_BATCH_PUBLISH; item++) {
            KsmPublish publish = { item, 6 };

            memcpy(client->bulk + item * sizeof(publish), &publish,
                   sizeof(publish));
            proto_content(client->bulk + KSM_BULK_CONTENT + item * 4096,
                          1000 + i * 256 + item);
        }
        proto_client_request(client, KSM_MSG_PUBLISH, KSM_BATCH_PUBLISH);
    }
    proto_child_report(2);
    proto_child_await();
}

static gboolean storm_is_over(gpointer opaque)
{
    gpointer *args = opaque;
    const Fixture *fixture = args[0];
    ProtoChild *child = args[1];
    double start = ksm_test_now();
    int bytes = 0;

    proto_client_stats(fixture->witness);
    witness_worst = MAX(witness_worst, ksm_test_now() - start);
    return ioctl(child->reports, FIONREAD, &bytes) == 0 && bytes > 0;
}

static void test_storm(void)
{
    Fixture fixture;
    ProtoChild *child;
    gpointer args[2];

    fixture_open(&fixture, NULL);
    child = proto_child_new(storm_run, &fixture);
    args[0] = &fixture;
    args[1] = child;
    proto_child_wait(child);
    g_assert_cmpfloat(ksm_test_wait(storm_is_over, args, 60), >=, 0);
    g_test_message("worst answer during a storm: %.0f ms", witness_worst * 1e3);
    g_assert_cmpfloat(witness_worst, <, 2.0);
    g_assert_cmpuint(proto_child_wait(child), ==, 2);
    proto_child_free(child);
    fixture_close(&fixture);
}

static void expect_limit(const Fixture *fixture, const char *name,
                         guint64 pages, const char *reason)
{
    g_autoptr(ProtoClient) client =
        proto_client_connect(fixture->broker->socket);
    ProtoReply reply = proto_client_hello(client, "g", name, pages);

    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_cmpuint(reply.error.code, ==, ERROR_LIMIT);
    g_assert_nonnull(strstr(reply.error.reason, reason));
}

static void test_limits(void)
{
    Fixture fixture;
    g_autoptr(ProtoClient) second = NULL;
    g_autofree char *log = NULL;
    guint refused = 0, i;

    fixture_open(&fixture, "--max-sessions 3 --max-pages 1000 "
                           "--max-total-pages 1500 --max-store-mib 1");
    expect_limit(&fixture, "big", 1001, "the maximum of a session is 1000");
    second = proto_client_new(fixture.broker->socket, "g", "second", 1000);
    expect_limit(&fixture, "third", 500,
                 "all users have 1100 of 1500 guest pages");
    for (i = 0; i < 300; i++) {
        refused += proto_client_publish(second, i, 100 + i, 0).kind ==
                   KSM_ANSWER_REFUSED;
    }
    g_assert_cmpuint(refused, ==, 300 - 255); /* the witness has one */
    log = ksm_test_broker_read_log(fixture.broker);
    g_assert_nonnull(strstr(log, "stores are full"));
    g_assert_null(
        strstr(strstr(log, "stores are full") + 1, "stores are full"));
    {
        g_autoptr(ProtoClient) third = proto_client_new(fixture.broker->socket,
                                                        "g", "third", 10);

        g_assert_nonnull(third);
        expect_limit(&fixture, "fourth", 10, "3 of 3 sessions");
    }
    proto_client_range(second, KSM_MSG_RELEASE, 0, 1000);
    fixture_close(&fixture);
}

/* One process cannot take all sessions, nor flood the log. */
static void test_one_process_limit(void)
{
    enum { TRIES = 200 };
    Fixture fixture;
    g_autoptr(GPtrArray) clients = NULL;
    g_autofree char *log = NULL;
    guint closed = 0, lines = 0, i;
    const char *at;

    fixture_open(&fixture, "--max-process-sessions 20");
    clients = g_ptr_array_new_with_free_func(
        (GDestroyNotify)(void (*)(void))proto_client_free);
    for (i = 0; i < TRIES; i++) {
        g_ptr_array_add(clients, proto_client_connect(fixture.broker->socket));
    }
    for (i = 0; i < TRIES; i++) {
        KsmMsgHello hello = {
            .msg = { .type = KSM_MSG_HELLO },
            .magic = KSM_PROTO_MAGIC,
            .version = KSM_PROTO_VERSION,
            .group = "g",
            .name = "x",
            .node = KSM_NODE_ANY,
            .engine = proto_engine(i + 1),
        };
        ProtoReply reply;

        proto_client_send(clients->pdata[i], &hello, sizeof(hello));
        proto_client_receive(clients->pdata[i], &reply);
        closed += reply.msg.type != KSM_MSG_WELCOME;
    }
    g_assert_cmpuint(closed, ==, TRIES - 19);
    log = ksm_test_broker_read_log(fixture.broker);
    for (at = log; (at = strstr(at, "connections")) != NULL; at++) {
        lines++;
    }
    g_assert_cmpuint(lines, >, 0);
    g_assert_cmpuint(lines, <, 20);
    fixture_close(&fixture);
}

/* Binds all pages of the client to the slot of one content. */
static void bind_many(ProtoClient *client, guint32 pages)
{
    const KsmFingerprint fingerprint = proto_fingerprint(1);
    guint32 page, i;

    for (page = 0; page < pages; page += KSM_BATCH_LOOKUPS) {
        KsmLookup *items = (gpointer)(client->bulk + KSM_BULK_REQUEST);

        for (i = 0; i < KSM_BATCH_LOOKUPS; i++) {
            items[i] = (KsmLookup) {
                .page = page + i,
                .fingerprint = fingerprint,
            };
        }
        g_assert_cmpuint(proto_client_request(client, KSM_MSG_LOOKUP,
                                              KSM_BATCH_LOOKUPS)
                             .msg.type,
                         ==, KSM_MSG_ANSWERS);
    }
}

static gboolean returns_many(gpointer broker)
{
    g_autofree char *log = ksm_test_broker_read_log(broker);
    g_autofree char *line = g_strdup_printf("returns %u bound", MANY_PAGES);

    return strstr(log, line) != NULL;
}

/* An engine that maps nothing any more comes back while that is noted. */
static void test_back_too_late(void)
{
    Fixture fixture;
    ProtoClient *client, *again;
    KsmEngineId engine;

    fixture_open(&fixture, "--max-process-pages=16777216");
    client = proto_client_new(fixture.broker->socket, "g", "many", MANY_PAGES);
    bind_many(client, MANY_PAGES);
    engine = client->engine;
    proto_client_free(client);
    g_assert_cmpfloat(ksm_test_wait(returns_many, fixture.broker, 30), >=, 0);
    again = proto_client_connect(fixture.broker->socket);
    again->engine = engine;
    g_assert_cmpuint(
        proto_client_hello(again, "g", "many", MANY_PAGES).msg.type, ==,
        KSM_MSG_WELCOME);
    g_assert_cmpuint(again->welcome.outcome, ==, KSM_WELCOME_NEW);
    g_assert_cmpint(proto_client_lookup(again, 5, 1).kind, ==, KSM_ANSWER_SLOT);
    g_usleep(2 * G_USEC_PER_SEC); /* the former one has ended */
    g_assert_cmpint(proto_client_lookup(again, 6, 1).kind, ==, KSM_ANSWER_SLOT);
    proto_client_free(again);
    fixture_close(&fixture);
}

/* Packets of chance: whatever they say, the broker lives. */
static void test_noise(void)
{
    Fixture fixture;
    g_autoptr(GRand) rand = g_rand_new_with_seed(41);
    guint connections = 0, step;

    fixture_open(&fixture, "--log-level error");
    while (connections < 300) {
        ProtoClient *client = proto_client_new(fixture.broker->socket, "g",
                                               "noise", 200);

        connections++;
        for (step = 0; step < 200; step++) {
            KsmMsgStats packet = {
                .msg = {
                    .type = (guint32)g_rand_int_range(rand, 3, 13),
                    .count = (guint32)g_rand_int_range(rand, 0, 40),
                },
            };
            gsize bytes = sizeof(packet.msg);
            ProtoReply reply;
            guint i;

            for (i = 0; i < 256; i++) {
                ((guint32 *)(void *)client->bulk)[i] =
                    (guint32)g_rand_int_range(rand, 0, 3) * 64 %
                    (guint32)g_rand_int_range(rand, 1, 220);
            }
            bytes = packet.msg.type == KSM_MSG_STATS  ? sizeof(packet) :
                    packet.msg.type == KSM_MSG_RESIZE ? sizeof(KsmMsgResize) :
                    packet.msg.type == KSM_MSG_MAP    ? sizeof(KsmMsgMap) :
                                                        bytes;
            if (!proto_client_send(client, &packet, bytes) ||
                proto_client_receive(client, &reply) == 0 ||
                reply.msg.type == KSM_MSG_ERROR) {
                break;
            }
        }
        proto_client_free(client);
    }
    fixture_close(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hostile/rows", test_rows);
    g_test_add_func("/hostile/descriptor", test_descriptor);
    g_test_add_func("/hostile/reason-before-end", test_reason_before_end);
    g_test_add_func("/hostile/does-not-read", test_does_not_read);
    g_test_add_func("/hostile/storm", test_storm);
    g_test_add_func("/hostile/limits", test_limits);
    g_test_add_func("/hostile/one-process", test_one_process_limit);
    g_test_add_func("/hostile/back-too-late", test_back_too_late);
    g_test_add_func("/hostile/noise", test_noise);
    return g_test_run();
}
