/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-crowd.c: too many at once, and clients that change their minds.
 *
 * Whatever the number, the broker's memory, descriptors and replies stay within
 * bounds, and all of it is released when the clients have exited.
 */
#include <dirent.h>
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proc-info.h"
#include "proto-child.h"
#include "proto-client.h"
#include "require.h"

#define CROWD 20u /* processes */
#define EACH 50u  /* sessions of each: 1000 in all */
#define OPEN_CLIENTS 60u
#define SLOW_SECONDS 30.0

static guint count_fds_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    guint n = 0;

    g_assert_nonnull(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n - 2; /* without . and .. */
}

static guint64 own_kib(pid_t pid)
{
    return ksm_test_status_kib((int)pid, "RssAnon");
}

/* ---- 1,000 sessions ------------------------------------------------------- */

/* Opens all it may, all at once with the others, and stays. */
static void crowd_main(gpointer opaque)
{
    const KsmTestBroker *broker = opaque;
    ProtoClient *clients[EACH];
    guint i;

    proto_child_report(1);
    proto_child_await();
    for (i = 0; i < EACH; i++) {
        g_autofree char *name = g_strdup_printf("s%u", i);

        clients[i] = proto_client_new(broker->socket, "g", name, 64);
        proto_client_publish(clients[i], 1, 1, 0);
    }
    proto_child_report(2);
    proto_child_await();
}

typedef struct Few {
    KsmTestBroker *broker;
    ProtoClient *witness;
    guint fds;
} Few;

static gboolean few_are_left(gpointer opaque)
{
    const Few *few = opaque;

    return proto_client_stats(few->witness).sessions == 1 &&
           count_fds_of(few->broker->pid) <= few->fds;
}

static void test_thousand_sessions(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 64);
    Few few = { broker, witness, count_fds_of(broker->pid) };
    ProtoChild *crowd[CROWD];
    guint64 kib = own_kib(broker->pid);
    double start;
    guint i;

    for (i = 0; i < CROWD; i++) {
        crowd[i] = proto_child_new(crowd_main, broker);
        g_assert_cmpuint(proto_child_wait(crowd[i]), ==, 1);
    }
    start = ksm_test_now();
    for (i = 0; i < CROWD; i++) {
        proto_child_go_on(crowd[i]);
    }
    for (i = 0; i < CROWD; i++) {
        g_assert_cmpuint(proto_child_wait(crowd[i]), ==, 2);
    }
    g_test_message("%u sessions in %.2f s: %u descriptors, %" G_GUINT64_FORMAT
                   " KiB more",
                   CROWD * EACH, ksm_test_now() - start,
                   count_fds_of(broker->pid) - few.fds,
                   own_kib(broker->pid) - kib);
    g_assert_cmpfloat(ksm_test_now() - start, <, SLOW_SECONDS);
    g_assert_cmpuint(proto_client_stats(witness).sessions, ==,
                     CROWD * EACH + 1);
    g_assert_cmpuint(count_fds_of(broker->pid) - few.fds, <, 3 * CROWD * EACH);
    g_assert_cmpuint(own_kib(broker->pid) - kib, <, 32 * 1024);
    for (i = 0; i < CROWD; i++) {
        proto_child_kill(crowd[i]);
    }
    g_assert_cmpfloat(ksm_test_wait(few_are_left, &few, SLOW_SECONDS), >=, 0);
    g_assert_cmpuint(proto_client_stats(witness).pages_shared, ==, 0);
}

/* ---- as many open requests as the kernel takes ---------------------------- */

static guint send_all(ProtoClient *client)
{
    KsmMsg results = { .type = KSM_MSG_FETCH_RESULTS };
    guint sent = 0;

    do {
        results.serial = sent;
    } while (send(client->fd, &results, sizeof(results), MSG_DONTWAIT) > 0 &&
             ++sent < 1000000);
    g_assert_cmpint(errno, ==, EAGAIN);
    return sent;
}

static void receive_all(ProtoClient *client, guint sent)
{
    guint received;

    for (received = 0; received < sent; received++) {
        ProtoReply reply;

        g_assert_cmpuint(proto_client_receive(client, &reply), ==,
                         sizeof(KsmMsg));
        g_assert_cmpuint(reply.msg.serial, ==, received);
    }
}

/* A million are wanted; the sockets take what they have room for. */
static void test_open_requests(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 64);
    ProtoClient *clients[OPEN_CLIENTS];
    guint sent[OPEN_CLIENTS], all = 0, i;
    guint64 kib;
    double start;

    for (i = 0; i < OPEN_CLIENTS; i++) {
        g_autofree char *name = g_strdup_printf("s%u", i);

        clients[i] = proto_client_new(broker->socket, "g", name, 64);
    }
    kib = own_kib(broker->pid);
    kill(broker->pid, SIGSTOP);
    for (i = 0; i < OPEN_CLIENTS; i++) {
        sent[i] = send_all(clients[i]);
        all += sent[i];
    }
    kill(broker->pid, SIGCONT);
    start = ksm_test_now();
    proto_client_stats(witness);
    g_test_message("%u open requests: %.0f ms for another's, %" G_GUINT64_FORMAT
                   " KiB more",
                   all, (ksm_test_now() - start) * 1e3,
                   own_kib(broker->pid) - kib);
    g_assert_cmpuint(all, >, OPEN_CLIENTS * 100);
    g_assert_cmpuint(own_kib(broker->pid) - kib, <, 4 * 1024);
    for (i = 0; i < OPEN_CLIENTS; i++) {
        receive_all(clients[i], sent[i]);
        proto_client_free(clients[i]);
    }
}

/* ---- replayed and reordered ------------------------------------------------ */

/* A proper conversation in any order, and again and again. */
static void replay_main(gpointer opaque)
{
    const KsmTestBroker *broker = opaque;
    static const KsmMsgType order[] = {
        KSM_MSG_LOOKUP,  KSM_MSG_PUBLISH,  KSM_MSG_FETCH_RESULTS,
        KSM_MSG_RELEASE, KSM_MSG_WITHDRAW, KSM_MSG_LOOKUP,
        KSM_MSG_PUBLISH, KSM_MSG_RELEASE,  KSM_MSG_STATS,
        KSM_MSG_HELLO,   KSM_MSG_RECLAIM,
    };
    guint turn, step;

    for (turn = 0; turn < 200; turn++) {
        ProtoClient *client = proto_client_new(broker->socket, "g", "replay",
                                               64);

        for (step = 0; step < 30; step++) {
            guint which = (guint)g_random_int_range(0, G_N_ELEMENTS(order));
            guint32 page = (guint32)g_random_int_range(0, 4), item[6];
            KsmMsgStats packet = {
                .msg = { .type = order[which], .count = 1, .serial = step },
            };
            KsmFingerprint fingerprint = proto_fingerprint(page + 1);
            ProtoReply reply;

            memset(item, 0, sizeof(item));
            if (order[which] == KSM_MSG_LOOKUP) {
                memcpy(item, &fingerprint, sizeof(fingerprint));
                item[4] = page;
            } else {
                item[0] = page;
                item[1] = order[which] == KSM_MSG_PUBLISH ? 0 : 1;
            }
            memcpy(client->bulk, item, sizeof(item));
            proto_content(client->bulk + KSM_BULK_CONTENT, page + 1);
            if (!proto_client_send(client, &packet,
                                   order[which] == KSM_MSG_STATS ?
                                       sizeof(packet) :
                                   order[which] == KSM_MSG_HELLO ?
                                       sizeof(KsmMsgHello) :
                                       sizeof(KsmMsg)) ||
                proto_client_receive(client, &reply) == 0 ||
                reply.msg.type == KSM_MSG_ERROR) {
                break;
            }
        }
        proto_client_free(client);
    }
    proto_child_report(1);
    proto_child_await();
}

static gboolean is_alone(gpointer witness)
{
    return proto_client_stats(witness).sessions == 1;
}

static void test_replay(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new("--log-level error");
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 64);
    ProtoChild *child;
    KsmMsgGroup group;

    g_assert_cmpint(proto_client_publish(witness, 0, 1, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    child = proto_child_new(replay_main, broker);
    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    proto_child_free(child);
    g_assert_cmpfloat(ksm_test_wait(is_alone, witness, SLOW_SECONDS), >=, 0);
    /* What is left is the witness's: one page, one slot. */
    group = proto_client_stats(witness);
    g_assert_cmpuint(group.pages_shared, ==, 1);
    g_assert_cmpuint(group.pages_sharing, ==, 1);
    g_assert_cmpuint(group.pages_unshared, ==, 0);
    g_assert_true(ksm_test_broker_stop(broker));
}

/* ---- memory that changes while it is read --------------------------------- */

typedef struct Flipper {
    guint8 *page;
    gint stop;
} Flipper;

static gpointer flip(gpointer opaque)
{
    Flipper *flipper = opaque;
    guint8 contents[2][4096];
    guint i = 0;

    proto_content(contents[0], 1);
    proto_content(contents[1], 2);
    while (!g_atomic_int_get(&flipper->stop)) {
        memcpy(flipper->page, contents[i++ % 2], 4096);
    }
    return NULL;
}

/* A slot that a content's fingerprint leads to has that content. */
static void assert_true_name(ProtoClient *witness, guint32 number, guint *found)
{
    KsmAnswer answer = proto_client_lookup(witness, number, number);

    if (answer.kind == KSM_ANSWER_SLOT) {
        proto_client_assert_slot(witness, answer.slot, number);
        proto_client_range(witness, KSM_MSG_RELEASE, number, 1);
        (*found)++;
    } else {
        proto_client_range(witness, KSM_MSG_WITHDRAW, number, 1);
    }
}

static void test_changing(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 64);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g",
                                                     "changing", 64);
    Flipper flipper = { client->bulk + KSM_BULK_CONTENT, 0 };
    GThread *thread = g_thread_new("flip", flip, &flipper);
    const KsmPublish publish = { 1, 0 };
    guint found = 0, i;

    for (i = 0; i < 3000; i++) {
        memcpy(client->bulk, &publish, sizeof(publish));
        g_assert_cmpuint(
            proto_client_request(client, KSM_MSG_PUBLISH, 1).msg.type, ==,
            KSM_MSG_ANSWERS);
        assert_true_name(witness, 1, &found);
        assert_true_name(witness, 2, &found);
        proto_client_range(client, KSM_MSG_RELEASE, 1, 1);
    }
    g_atomic_int_set(&flipper.stop, 1);
    g_thread_join(thread);
    g_test_message("%u of 3000 copies were whole", found);
    g_assert_cmpuint(found, >, 0);
    g_assert_cmpuint(found, <=, 3000);
}

/* ---- limits taken away at run time ----------------------------------------- */

static void set_nofile(pid_t pid, rlim_t soft)
{
    struct rlimit limit;

    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, NULL, &limit), ==, 0);
    limit.rlim_cur = soft;
    g_assert_cmpint(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), ==, 0);
}

/* No descriptors left: newcomers wait or are refused, others go on. */
static void test_no_descriptors(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 64);
    g_autoptr(ProtoClient) newcomer = NULL;
    ProtoReply reply;

    proto_client_stats(witness); /* it has done all of HELLO by then */
    set_nofile(broker->pid, count_fds_of(broker->pid) + 1);
    newcomer = proto_client_connect(broker->socket);
    /* Room for its socket, but not for who it is. */
    g_assert_cmpuint(proto_client_receive(newcomer, &reply), ==,
                     sizeof(KsmMsgError));
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_test_message("%s", reply.error.reason);
    g_assert_cmpint(proto_client_publish(witness, 1, 1, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    set_nofile(broker->pid, 4096);
    proto_client_free(newcomer);
    newcomer = proto_client_new(broker->socket, "g", "newcomer", 64);
    g_assert_cmpint(proto_client_lookup(newcomer, 1, 1).kind, ==,
                    KSM_ANSWER_SLOT);
}

/* In a time namespace, the monotonic clock stands a century ahead. */
static void test_far_future(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
    const char *argv[] = {
        "/usr/bin/unshare", "--time",       "--monotonic",
        "3000000000",       "--",           ksm_test_broker_program(),
        "--listen",         broker->socket, NULL,
    };
    ProtoClient *client;
    gint tries = 0;
    pid_t pid;

    if (geteuid() != 0 || access("/proc/self/ns/time", F_OK) != 0 ||
        access(argv[0], X_OK) != 0) {
        g_test_skip("needs root and time namespaces");
        return;
    }
    pid = ksm_test_spawn(argv, -1, -1);
    while (!ksm_test_broker_listens(broker)) {
        g_assert_cmpint(tries++, <, 1000);
        g_usleep(10000);
    }
    client = proto_client_new(broker->socket, "g", "a", 64);
    g_assert_cmpint(proto_client_publish(client, 1, 1, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    proto_client_free(client);
    kill(pid, SIGTERM);
    g_assert_cmpint(ksm_test_reap(pid, 10), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/crowd/thousand-sessions", test_thousand_sessions);
    g_test_add_func("/crowd/open-requests", test_open_requests);
    g_test_add_func("/crowd/replay", test_replay);
    g_test_add_func("/crowd/changing", test_changing);
    g_test_add_func("/crowd/no-descriptors", test_no_descriptors);
    g_test_add_func("/crowd/far-future", test_far_future);
    return g_test_run();
}
