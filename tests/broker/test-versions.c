/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-versions.c: clients of earlier and of later versions of the protocol.
 *
 * A VM lives longer than the release that it was started with: packages are
 * upgraded while it runs, and brokers are restarted.
 */
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proto-client.h"
#include "require.h"

#define PAGES 1000u
#define LATER 4711u /* a version that is still to come */

static ProtoClient *join(KsmTestBroker *broker, const char *name,
                         guint32 version, int store_fd)
{
    ProtoClient *client = proto_client_connect(broker->socket);
    ProtoReply reply;

    client->version = version;
    reply = proto_client_hello_with(client, "g", name, PAGES, store_fd);
    if (reply.msg.type != KSM_MSG_WELCOME) {
        g_error("version %u was refused: %s", version, reply.error.reason);
    }
    return client;
}

/* STATS of that many bytes; the size of the answer. */
static gsize tell(ProtoClient *client, gsize bytes, ProtoReply *reply)
{
    KsmMsgStats stats = {
        .msg = { .type = KSM_MSG_STATS, .serial = ++client->serial },
    };

    g_assert_true(proto_client_send(client, &stats, bytes));
    return proto_client_receive(client, reply);
}

/* One of each version: they share, as the messages for that are the same. */
static void test_together(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) old = join(broker, "old", KSM_PROTO_OLDEST, -1);
    g_autoptr(ProtoClient) now = join(broker, "now", KSM_PROTO_VERSION, -1);
    g_autoptr(ProtoClient) later = join(broker, "later", LATER, -1);
    guint32 slot = proto_client_publish(old, 1, 1, 0).slot;

    g_assert_cmpuint(old->welcome.version, ==, KSM_PROTO_OLDEST);
    g_assert_cmpuint(now->welcome.version, ==, KSM_PROTO_VERSION);
    g_assert_cmpuint(later->welcome.version, ==, KSM_PROTO_VERSION);
    g_assert_cmpuint(proto_client_lookup(now, 2, 1).slot, ==, slot);
    g_assert_cmpuint(proto_client_lookup(later, 3, 1).slot, ==, slot);
    g_assert_cmpuint(proto_client_stats(old).pages_sharing, ==, 3);
    g_assert_cmpuint(proto_client_stats(now).sessions, ==, 3);
}

/* A message has the size of the version that is spoken, and no other. */
static void test_sizes(void)
{
    static const struct {
        guint32 version;
        gsize stats, group;
    } rows[] = {
        { 4, 648, 80 },
        { 5, 704, 88 },
        { 6, 704, 88 },
        { 7, 704, 88 },
    };
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    guint i, j;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (j = 0; j < G_N_ELEMENTS(rows); j++) {
            g_autoptr(ProtoClient) client = join(broker, "a", rows[i].version,
                                                 -1);
            ProtoReply reply;
            gsize bytes = tell(client, rows[j].stats, &reply);

            if (rows[i].stats == rows[j].stats) {
                g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_GROUP);
                g_assert_cmpuint(bytes, ==, rows[i].group);
            } else {
                g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
                g_assert_nonnull(strstr(reply.error.reason, "message 9 of"));
            }
        }
    }
}

/* Who publishes what the client has listed. */
static void publish_listed(ProtoClient *client, ProtoClient *other,
                           guint32 page)
{
    g_assert_cmpint(proto_client_lookup(client, page, page).kind, ==,
                    KSM_ANSWER_LISTED);
    g_assert_cmpint(proto_client_lookup(other, page, page).kind, ==,
                    KSM_ANSWER_PUBLISH);
    g_assert_cmpint(proto_client_publish(other, page, page, 0).kind, ==,
                    KSM_ANSWER_SLOT);
}

/* Once for each request of the client, if its version knows it. */
static void test_wake(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) silent = join(broker, "silent", KSM_PROTO_SILENT,
                                         -1);
    g_autoptr(ProtoClient) now = join(broker, "now", KSM_PROTO_VERSION, -1);
    g_autoptr(ProtoClient) other = join(broker, "other", KSM_PROTO_SILENT, -1);
    struct pollfd entry = { .fd = now->fd, .events = POLLIN };
    KsmMsg msg;

    publish_listed(silent, other, 1);
    g_assert_cmpint(proto_client_lookup(now, 2, 2).kind, ==, KSM_ANSWER_LISTED);
    publish_listed(now, other, 3);
    /* It comes unasked, when the other one publishes. */
    g_assert_cmpint(poll(&entry, 1, 10000), ==, 1);
    g_assert_cmpint(recv(now->fd, &msg, sizeof(msg), MSG_TRUNC), ==,
                    sizeof(msg));
    g_assert_cmpuint(msg.type, ==, KSM_MSG_WAKE);
    g_assert_cmpuint(msg.serial, ==, 0);
    /* A second result, and no request between: none comes. */
    g_assert_cmpint(proto_client_lookup(other, 2, 2).kind, ==,
                    KSM_ANSWER_PUBLISH);
    g_assert_cmpint(proto_client_publish(other, 2, 2, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    g_assert_cmpuint(proto_client_stats(now).results_waiting, ==, 2);
    g_assert_cmpuint(now->wakes, ==, 0);
    /* Not before they are fetched, either: the client knows. */
    publish_listed(now, other, 4);
    g_assert_cmpuint(proto_client_stats(now).results_waiting, ==, 3);
    g_assert_cmpuint(now->wakes, ==, 0);
    g_assert_cmpuint(proto_client_stats(silent).results_waiting, ==, 1);
    g_assert_cmpuint(silent->wakes, ==, 0);
}

/* The broker is upgraded: what VMs of before have shared is taken up. */
static void test_upgrade(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) old = join(broker, "old", KSM_PROTO_OLDEST, -1);
    guint32 slot = proto_client_publish(old, 1, 1, 0).slot;
    int store_fd = dup(old->store_fd);

    ksm_test_broker_kill(broker);
    ksm_test_broker_start(broker);
    proto_client_free(old);
    old = join(broker, "old", KSM_PROTO_OLDEST, store_fd);
    close(store_fd);
    g_assert_cmpuint(old->welcome.outcome, ==, KSM_WELCOME_HANDED);
    g_assert_cmpuint(proto_client_hold(old, 1, slot, 1).msg.type, ==,
                     KSM_MSG_OK);
    g_assert_cmpuint(proto_client_hold(old, 0, 0, 0).msg.type, ==, KSM_MSG_OK);
    {
        g_autoptr(ProtoClient) now = join(broker, "now", KSM_PROTO_VERSION, -1);

        g_assert_cmpuint(proto_client_find(now, 2, 1), ==, slot);
        g_assert_cmpuint(proto_client_stats(now).pages_sharing, ==, 2);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/versions/together", test_together);
    g_test_add_func("/versions/sizes", test_sizes);
    g_test_add_func("/versions/wake", test_wake);
    g_test_add_func("/versions/upgrade", test_upgrade);
    return g_test_run();
}
