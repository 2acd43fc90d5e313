/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-life.c: how clients end, and how the broker starts and ends. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker-proc.h"
#include "probe.h"
#include "proto-child.h"
#include "proto-client.h"
#include "require.h"

#define MANY 65536u

static gboolean nothing_is_shared(gpointer witness)
{
    return proto_client_stats(witness).pages_shared == 0;
}

static gboolean nothing_is_left(gpointer witness)
{
    const ProtoClient *self = witness;
    KsmMsgGroup group = proto_client_stats(witness);

    return group.pages_shared == 0 && group.pages_sharing == 0 &&
           group.pages_unshared == 0 &&
           ksm_test_store_bytes(self->store_fd, self->welcome.store_bytes) == 0;
}

/* Publishes contents of its own, then lists as many pages more. */
static void hoard(ProtoClient *client, guint32 first, guint32 count)
{
    guint32 page, i;

    for (page = first; page < first + count; page += i) {
        for (i = 0; i < KSM_BATCH_PUBLISH && page + i < first + count; i++) {
            KsmPublish item = { page + i, 0 };

            memcpy(client->bulk + i * sizeof(item), &item, sizeof(item));
            memset(client->bulk + KSM_BULK_CONTENT + i * 4096, 0x55, 4096);
            memcpy(client->bulk + KSM_BULK_CONTENT + i * 4096, &item.page,
                   sizeof(item.page));
        }
        proto_client_request(client, KSM_MSG_PUBLISH, i);
    }
    for (page = 0; page < 100; page++) {
        proto_client_lookup(client, first + count + page, page + 1);
    }
}

static void hoarder_run(gpointer socket)
{
    ProtoClient *client = proto_client_new(socket, "g", "hoarder", 2 * MANY);

    hoard(client, 0, MANY);
    proto_child_report(1);
    proto_child_await();
}

/* The promise: 64k unshared slots are back with the host within a second. */
static void test_killed(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 100);
    ProtoChild *child = proto_child_new(hoarder_run, broker->socket);
    double seconds;

    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    g_assert_cmpuint(proto_client_stats(witness).pages_shared, ==, MANY);
    g_assert_cmpuint(proto_client_stats(witness).pages_unshared, ==, 100);
    proto_child_kill(child);
    seconds = ksm_test_wait(nothing_is_left, witness, 10);
    g_test_message("%u slots were free %.0f ms after SIGKILL", MANY,
                   seconds * 1e3);
    g_assert_cmpfloat(seconds, >=, 0);
    g_assert_cmpfloat(seconds, <, 1.0);
}

/* Ends in the middle of anything: a storm of requests, cut off at random. */
static void stormer_run(gpointer socket)
{
    ProtoClient *client = proto_client_new(socket, "g", "stormer", 100000);
    KsmMsg msg = { .count = 200 };
    guint32 i;

    proto_child_report(1);
    for (i = 0;; i++) {
        guint32 item;

        for (item = 0; item < 200; item++) {
            KsmPublish publish = { item + i / 3 % 100 * 256, i % 5 };

            memcpy(client->bulk + item * sizeof(publish), &publish,
                   sizeof(publish));
        }
        memset(client->bulk + KSM_BULK_CONTENT, (int)i, 200 * 4096);
        msg.type = i % 3 == 0 ? KSM_MSG_PUBLISH :
                   i % 3 == 1 ? KSM_MSG_RELEASE :
                                KSM_MSG_FETCH_RESULTS;
        msg.serial = i;
        proto_client_send(client, &msg, sizeof(msg));
    }
}

static void test_killed_at_work(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new("--log-level error");
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 100);
    guint i;

    for (i = 0; i < 60; i++) {
        ProtoChild *child = proto_child_new(stormer_run, broker->socket);

        proto_child_wait(child);
        g_usleep(i * 500); /* another moment each time */
        proto_child_kill(child);
    }
    g_assert_cmpfloat(ksm_test_wait(nothing_is_left, witness, 10), >=, 0);
}

static void closer_run(gpointer socket)
{
    ProtoClient *client = proto_client_new(socket, "g", "vm", 1000);
    guint32 slot = proto_client_publish(client, 7, 7, 0).slot;
    int store_fd;

    store_fd = dup(client->store_fd); /* as if it mapped it */
    hoard(client, 100, 10);
    proto_client_free(client);
    proto_child_report(slot);
    proto_child_await();
    client = proto_client_new(socket, "g", "vm", 2000);
    g_assert_cmpuint(client->welcome.outcome, ==, 1);
    g_assert_cmpint(proto_client_lookup(client, 8, 7).kind, ==,
                    KSM_ANSWER_SLOT);
    g_assert_cmpint(proto_client_lookup(client, 1999, 7).kind, ==,
                    KSM_ANSWER_SLOT);
    close(store_fd);
    proto_client_range(client, KSM_MSG_RELEASE, 0, 200);
    proto_child_report((guint32)proto_client_stats(client).pages_shared);
    proto_child_await();
}

static gboolean no_listings(gpointer witness)
{
    return proto_client_stats(witness).pages_unshared == 0;
}

/* A socket that closes is not the end: the process may have slots mapped. */
static void test_orphan_and_return(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 100);
    ProtoChild *child = proto_child_new(closer_run, broker->socket);
    guint32 slot = proto_child_wait(child);

    g_assert_cmpfloat(ksm_test_wait(no_listings, witness, 5), >=, 0);
    g_assert_cmpuint(proto_client_stats(witness).pages_shared, ==, 11);
    proto_client_assert_slot(witness, slot, 7);
    proto_child_go_on(child);
    g_assert_cmpuint(proto_child_wait(child), ==, 1); /* page 1999's */
    proto_child_free(child);
    g_assert_cmpfloat(ksm_test_wait(nothing_is_shared, witness, 5), >=, 0);
}

/* Another name, or fewer pages: a session of its own, nothing is lost. */
static void other_name_run(gpointer socket)
{
    ProtoClient *client = proto_client_new(socket, "g", "one", 1000);

    proto_client_publish(client, 7, 7, 0);
    proto_client_free(client);
    client = proto_client_new(socket, "g", "two", 1000);
    g_assert_cmpuint(client->welcome.outcome, ==, 0);
    proto_client_free(client);
    client = proto_client_new(socket, "g", "one", 999);
    g_assert_cmpuint(client->welcome.outcome, ==, 0);
    proto_client_range(client, KSM_MSG_RELEASE, 0, 999);
    proto_child_report((guint32)proto_client_stats(client).pages_shared);
    proto_child_await();
}

static void test_orphan_of_other_name(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    ProtoChild *child = proto_child_new(other_name_run, broker->socket);

    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    proto_child_free(child);
}

static gboolean has_ended(gpointer opaque)
{
    KsmTestBroker *broker = opaque;
    int status;

    if (waitpid(broker->pid, &status, WNOHANG) != broker->pid) {
        return FALSE;
    }
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    broker->pid = 0;
    return TRUE;
}

static void holder_run(gpointer socket)
{
    ProtoClient *client = proto_client_new(socket, "g", "holder", 100);

    proto_client_publish(client, 1, 1, 0);
    proto_client_free(client);
    proto_child_report(1);
    proto_child_await();
}

/* Ends when the last process that used it is gone, and not before. */
static void test_idle_exit(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new("--idle-exit 1");
    ProtoChild *child = proto_child_new(holder_run, broker->socket);

    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    g_assert_cmpfloat(ksm_test_wait(has_ended, broker, 2.5), <, 0);
    proto_child_free(child);
    g_assert_cmpfloat(ksm_test_wait(has_ended, broker, 10), >=, 0);
    g_assert_false(g_file_test(broker->socket, G_FILE_TEST_EXISTS));
}

static void test_never_used(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new("--idle-exit 1");

    g_assert_cmpfloat(ksm_test_wait(has_ended, broker, 10), >=, 0);
}

/* Many at the same moment on one socket: one serves, the others leave. */
static void test_lock(void)
{
    enum { BROKERS = 8 };
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
    const char *argv[] = {
        ksm_test_broker_program(),
        "--listen",
        broker->socket,
        NULL,
    };
    int log = g_open(broker->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    g_autofree char *text = NULL;
    pid_t pids[BROKERS];
    guint left = 0, i;
    double end = ksm_test_now() + 20;

    for (i = 0; i < BROKERS; i++) {
        pids[i] = ksm_test_spawn(argv, -1, log);
    }
    close(log);
    while (left < BROKERS - 1 && ksm_test_now() < end) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid > 0) {
            g_assert_true(WIFEXITED(status));
            g_assert_cmpint(WEXITSTATUS(status), ==, 0);
            left++;
            for (i = 0; i < BROKERS; i++) {
                pids[i] = pids[i] == pid ? 0 : pids[i];
            }
        } else {
            g_usleep(2000);
        }
    }
    g_assert_cmpuint(left, ==, BROKERS - 1);
    for (i = 0; i < BROKERS; i++) {
        broker->pid = pids[i] != 0 ? pids[i] : broker->pid;
    }
    proto_client_free(proto_client_new(broker->socket, "g", "a", 10));
    text = ksm_test_broker_read_log(broker);
    g_assert_nonnull(strstr(text, "another broker listens"));
    g_assert_true(ksm_test_broker_stop(broker));
}

/* After SIGKILL the socket is stale; the next broker replaces it. */
static void test_stale_socket(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    ProtoClient *client = proto_client_new(broker->socket, "g", "a", 10);
    guint64 id = client->welcome.broker_id;
    ProtoReply reply;

    ksm_test_broker_kill(broker);
    g_assert_true(g_file_test(broker->socket, G_FILE_TEST_EXISTS));
    g_assert_cmpuint(proto_client_receive(client, &reply), ==, 0);
    proto_client_free(client);
    ksm_test_broker_start(broker);
    client = proto_client_new(broker->socket, "g", "a", 10);
    g_assert_cmpuint(client->welcome.broker_id, !=, id);
    proto_client_free(client);
}

/* What is no socket is never taken away. */
static void test_file_in_the_way(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
    const char *argv[] = {
        ksm_test_broker_program(),
        "--listen",
        broker->socket,
        NULL,
    };
    int log = g_open(broker->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    g_autofree char *content = NULL;
    int status;

    g_assert_true(g_file_set_contents(broker->socket, "precious", -1, NULL));
    status = ksm_test_reap(ksm_test_spawn(argv, -1, log), 10);
    close(log);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    g_assert_true(g_file_get_contents(broker->socket, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, "precious");
}

/* A clean end with clients there; the socket's name goes. */
static void test_terminate(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     10);
    ProtoReply reply;

    proto_client_publish(client, 1, 1, 0);
    g_assert_true(ksm_test_broker_stop(broker));
    g_assert_cmpuint(proto_client_receive(client, &reply), ==, 0);
    g_assert_false(g_file_test(broker->socket, G_FILE_TEST_EXISTS));
}

typedef struct OptionRow {
    const char *option;
    int status;
    const char *output;
} OptionRow;

/* Asked to end as soon as its socket is there, it ends in order, too. */
static void test_terminate_at_once(void)
{
    guint i;

    for (i = 0; i < 20; i++) {
        g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
        const char *argv[] = {
            ksm_test_broker_program(),
            "--listen",
            broker->socket,
            NULL,
        };

        broker->pid = ksm_test_spawn(argv, -1, -1);
        while (access(broker->socket, F_OK) != 0) {
            g_assert_cmpint(kill(broker->pid, 0), ==, 0);
        }
        g_assert_true(ksm_test_broker_stop(broker));
        g_assert_false(g_file_test(broker->socket, G_FILE_TEST_EXISTS));
    }
}

static void test_options(void)
{
    static const OptionRow rows[] = {
        { "--version", 0, "guest-ksmd " },
        { "--help", 0, "--idle-exit" },
        { "--nonsense", 2, "nknown option" },
        { "word", 2, "no arguments" },
        { "--log-level=loud", 2, "--log-level" },
        { "--socket-mode=999", 2, "--socket-mode" },
        { "--socket-group=no-such-group", 2, "--socket-group" },
        { "--control-group=no-such-group", 2, "--control-group" },
        { "--max-sessions=70000", 2, "--max-sessions" },
        { "--max-pages=-1", 2, "--max-pages" },
        { "--max-store-mib=99999999", 2, "--max-store-mib" },
        { "--idle-exit=-3", 2, "--idle-exit" },
        { "--listen=/no/such/directory/s", 1, "/no/such/directory" },
        { "--listen=/tmp/0123456789012345678901234567890123456789012345678901"
          "23456789012345678901234567890123456789012345678901234567890",
          1, "at most 107 bytes" },
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
        const char *argv[] = {
            ksm_test_broker_program(),
            rows[i].option,
            NULL,
        };
        int log = g_open(broker->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        int status = ksm_test_reap(ksm_test_spawn(argv, -1, log), 10);
        g_autofree char *text = ksm_test_broker_read_log(broker);

        close(log);
        if (strstr(text, rows[i].output) == NULL) {
            g_error("%s printed: %s", rows[i].option, text);
        }
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, rows[i].status);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/life/killed", test_killed);
    g_test_add_func("/life/killed-at-work", test_killed_at_work);
    g_test_add_func("/life/orphan-and-return", test_orphan_and_return);
    g_test_add_func("/life/orphan-of-other-name", test_orphan_of_other_name);
    g_test_add_func("/life/idle-exit", test_idle_exit);
    g_test_add_func("/life/never-used", test_never_used);
    g_test_add_func("/life/lock", test_lock);
    g_test_add_func("/life/stale-socket", test_stale_socket);
    g_test_add_func("/life/file-in-the-way", test_file_in_the_way);
    g_test_add_func("/life/terminate", test_terminate);
    g_test_add_func("/life/terminate-at-once", test_terminate_at_once);
    g_test_add_func("/life/options", test_options);
    return g_test_run();
}
