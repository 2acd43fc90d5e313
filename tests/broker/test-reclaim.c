/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-reclaim.c: a broker exits, and the next one takes its store over.
 *
 * Clients are processes, because processes may map a store: this one, and
 * children that reconnect on command.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker-proc.h"
#include "probe.h"
#include "proto-child.h"
#include "proto-client.h"
#include "require.h"

#define PAGES 100000u
#define ERROR_INVALID 4u

static void kill_and_restart(KsmTestBroker *broker)
{
    ksm_test_broker_kill(broker);
    ksm_test_broker_start(broker);
}

/* Connects anew with the store of @before; that client is freed. */
static ProtoClient *come_back(KsmTestBroker *broker, ProtoClient *before,
                              const char *name)
{
    int store_fd = dup(before->store_fd);
    ProtoClient *client;
    ProtoReply reply;

    proto_client_free(before);
    client = proto_client_connect(broker->socket);
    reply = proto_client_hello_with(client, "g", name, PAGES, store_fd);
    if (reply.msg.type != KSM_MSG_WELCOME) {
        g_error("the store was refused: %s", reply.error.reason);
    }
    close(store_fd);
    return client;
}

static void hold(ProtoClient *client, guint32 page, guint32 slot, guint32 count)
{
    ProtoReply reply = proto_client_hold(client, page, slot, count);

    if (reply.msg.type != KSM_MSG_OK) {
        g_error("RECLAIM: %s", reply.error.reason);
    }
}

/* Contents @first, ... to the pages of those numbers; returns the slots. */
static guint32 *publish(ProtoClient *client, guint32 first, guint32 count)
{
    guint32 *slots = g_new(guint32, count), i;

    for (i = 0; i < count; i++) {
        KsmAnswer answer = proto_client_publish(client, first + i, first + i,
                                                0);

        g_assert_cmpint(answer.kind, ==, KSM_ANSWER_SLOT);
        slots[i] = answer.slot;
    }
    return slots;
}

static ino_t store_inode(const ProtoClient *client)
{
    struct stat status;

    g_assert_cmpint(fstat(client->store_fd, &status), ==, 0);
    return status.st_ino;
}

typedef struct Wanted {
    ProtoClient *client;
    guint64 shared;
} Wanted;

static gboolean has_so_many(gpointer opaque)
{
    const Wanted *wanted = opaque;

    return proto_client_stats(wanted->client).pages_shared == wanted->shared &&
           ksm_test_store_bytes(wanted->client->store_fd,
                                wanted->client->welcome.store_bytes) ==
               wanted->shared * 4096;
}

/* So many slots hold content, in the broker's figures and in the file. */
static void wait_shared(ProtoClient *client, guint64 shared)
{
    Wanted wanted = { client, shared };

    if (ksm_test_wait(has_so_many, &wanted, 10) < 0) {
        g_error("%" G_GUINT64_FORMAT " pages shared, wanted %" G_GUINT64_FORMAT
                "; the file has %" G_GUINT64_FORMAT,
                proto_client_stats(client).pages_shared, shared,
                ksm_test_store_bytes(client->store_fd,
                                     client->welcome.store_bytes) /
                    4096);
    }
}

/* Known contents are found again, in the slots where they were. */
static void take_up(const char *options)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(options);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autofree guint32 *slots = publish(client, 100, 50);
    guint32 tile = proto_client_publish(client, 0, 7, 4).slot, i;
    ino_t inode = store_inode(client);

    proto_client_lookup(client, 500, 110);
    g_assert_cmpuint(proto_client_stats(client).pages_sharing, ==, 52);
    kill_and_restart(broker);
    client = come_back(broker, client, "a");
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_HANDED);
    g_assert_cmpuint(store_inode(client), ==, inode);
    for (i = 0; i < 50; i++) {
        hold(client, 100 + i, slots[i], 1);
    }
    hold(client, 0, tile, 1);
    hold(client, 500, slots[10], 1);
    hold(client, 500, slots[10], 1); /* twice is once */
    hold(client, 0, 0, 0);
    g_assert_cmpuint(proto_client_stats(client).pages_sharing, ==, 52);
    wait_shared(client, 50 + 16);
    for (i = 0; i < 50; i++) {
        g_assert_cmpuint(proto_client_find(client, 1000 + i, 100 + i), ==,
                         slots[i]);
        proto_client_assert_slot(client, slots[i], 100 + i);
    }
    g_assert_cmpuint(proto_client_find(client, 2005, 7), ==, tile + 2005 % 16);
    proto_client_range(client, KSM_MSG_RELEASE, 0, 1000);
    wait_shared(client, 66);
    proto_client_range(client, KSM_MSG_RELEASE, 1000, PAGES - 1000);
    wait_shared(client, 0);
}

static void test_taken_up(void)
{
    take_up(NULL);
}

static void test_user(void)
{
    if (geteuid() != 0) {
        g_test_skip("only root can become another user");
        return;
    }
    take_up("--user nobody --control none");
}

/* What a child does: shares, comes back, holds, all at the parent's word. */
typedef struct Other {
    KsmTestBroker *broker;
    guint32 first, count;
} Other;

static void other_run(gpointer opaque)
{
    const Other *other = opaque;
    ProtoClient *client = proto_client_new(other->broker->socket, "g", "b",
                                           PAGES);
    guint32 *slots = publish(client, other->first, other->count), i;

    proto_child_report(slots[0]);
    proto_child_await();
    client = come_back(other->broker, client, "b");
    proto_child_report(client->welcome.outcome);
    proto_child_await();
    for (i = 0; i < other->count; i++) {
        hold(client, other->first + i, slots[i], 1);
    }
    hold(client, 0, 0, 0);
    proto_child_report(1);
    proto_child_await();
}

/* A slot stays as long as one who may map it has not said so, or gone. */
static void test_nothing_is_freed_early(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autofree guint32 *slots = publish(client, 100, 10);
    Other others[] = { { broker, 105, 10 }, { broker, 200, 20 } };
    ProtoChild *children[] = {
        proto_child_new(other_run, &others[0]),
        proto_child_new(other_run, &others[1]),
    };

    g_assert_cmpuint(proto_child_wait(children[0]), ==, slots[5]);
    proto_child_wait(children[1]);
    kill_and_restart(broker);
    client = come_back(broker, client, "a");
    hold(client, 0, 0, 0); /* maps nothing any more */
    g_assert_cmpuint(proto_client_stats(client).pages_shared, ==, 35);
    proto_child_go_on(children[0]);
    g_assert_cmpuint(proto_child_wait(children[0]), ==, KSM_WELCOME_HANDED);
    g_assert_cmpuint(proto_client_stats(client).pages_shared, ==, 35);
    proto_child_go_on(children[0]);
    proto_child_wait(children[0]);
    /* known again, and newly published ones come and go as ever */
    g_assert_cmpuint(proto_client_find(client, 1, 102), ==, slots[2]);
    proto_client_publish(client, 2, 5000, 0);
    wait_shared(client, 36);
    proto_client_range(client, KSM_MSG_RELEASE, 1, 2);
    wait_shared(client, 35);
    proto_child_kill(children[1]); /* it never came */
    wait_shared(client, 10);
    proto_child_free(children[0]);
    wait_shared(client, 0);
}

/* Clients that end while no broker is there give back what they had. */
static void test_died_meanwhile(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autofree guint32 *slots = publish(client, 100, 10);
    Other other = { broker, 105, 10 };
    ProtoChild *child = proto_child_new(other_run, &other);
    guint i;

    g_assert_cmpuint(proto_child_wait(child), ==, slots[5]);
    ksm_test_broker_kill(broker);
    proto_child_kill(child);
    ksm_test_broker_start(broker);
    client = come_back(broker, client, "a");
    for (i = 0; i < 10; i++) {
        hold(client, 100 + i, slots[i], 1);
    }
    hold(client, 0, 0, 0);
    wait_shared(client, 10);
}

/* Two sessions of one process are waited for each on its own; and what clients
 * made by reading holes is no content. */
static void test_two_sessions(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autoptr(ProtoClient) second = proto_client_new(broker->socket, "g", "b",
                                                     PAGES);
    g_autofree guint32 *slots = publish(client, 100, 10);
    g_autofree guint32 *others = publish(second, 200, 10);
    volatile guint8 *holes = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED,
                                  client->store_fd, 16 << 20);
    guint i;

    g_assert_true((gpointer)holes != MAP_FAILED);
    for (i = 0; i < 1 << 20; i += 4096) {
        g_assert_cmpuint(holes[i], ==, 0);
    }
    munmap((gpointer)holes, 1 << 20);
    kill_and_restart(broker);
    client = come_back(broker, client, "a");
    hold(client, 100, slots[0], 10);
    hold(client, 0, 0, 0);
    wait_shared(client, 20);
    second = come_back(broker, second, "b");
    g_assert_cmpuint(second->welcome.outcome, ==, KSM_WELCOME_HANDED);
    hold(second, 200, others[0], 4);
    hold(second, 0, 0, 0);
    wait_shared(client, 14);
}

/* Reads the first slots, so that holes among them have memory. */
static void read_slots(const ProtoClient *client, guint32 count)
{
    gsize bytes = (gsize)count * 4096, i;
    volatile guint8 *slots = mmap(NULL, bytes, PROT_READ, MAP_SHARED,
                                  client->store_fd, 0);

    g_assert_true((gpointer)slots != MAP_FAILED);
    for (i = 0; i < bytes; i += 4096) {
        (void)slots[i];
    }
    munmap((gpointer)slots, bytes);
}

/*
 * A tile of zeros is content, though the memory of holes around it looks the
 * same: nobody else gets its slots, those who map it can say so, and it is found.
 */
static void test_zeros(void)
{
    enum { TILE = 1 << KSM_MAX_TILE_ORDER, AT = 10 * TILE };
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autofree guint32 *slots = publish(client, 100, 10), *others = NULL;
    guint32 head = proto_client_publish(client, AT, 0, KSM_MAX_TILE_ORDER).slot,
            i;
    g_autoptr(ProtoClient) second = NULL;

    g_assert_cmpuint(head, !=, KSM_SLOT_NONE);
    read_slots(client, 512);
    kill_and_restart(broker);
    client = come_back(broker, client, "a");
    second = proto_client_new(broker->socket, "g", "b", PAGES);
    others = publish(second, 1000, 600);
    for (i = 0; i < TILE; i++) {
        proto_client_assert_slot(client, head + i, 0);
    }
    for (i = 0; i < 600; i++) {
        proto_client_assert_slot(client, others[i], 1000 + i);
    }
    hold(client, AT, head, TILE);
    hold(client, 100, slots[0], 10);
    hold(client, 0, 0, 0);
    wait_shared(client, 10 + TILE + 600);
    g_assert_cmpuint(proto_client_lookup(second, 5, 0).slot, ==, head + 5);
    proto_client_range(second, KSM_MSG_RELEASE, 5, 1);
    /* Its place is free again for another one. */
    for (i = 0; i < 4; i++) {
        proto_client_range(client, KSM_MSG_RELEASE, AT, TILE);
        wait_shared(client, 10 + 600);
        g_assert_cmpint(
            proto_client_publish(client, AT, 0, KSM_MAX_TILE_ORDER).kind, ==,
            KSM_ANSWER_SLOT);
    }
    wait_shared(client, 10 + TILE + 600);
}

/* Ends in the middle of RECLAIM: of the connection, of the broker, of both. */
static void test_cut_off(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autofree guint32 *slots = publish(client, 100, 40);
    Other other = { broker, 200, 20 };
    ProtoChild *child = proto_child_new(other_run, &other);
    guint turn, i;

    proto_child_wait(child);
    for (turn = 0; turn < 4; turn++) {
        kill_and_restart(broker);
        client = come_back(broker, client, "a");
        for (i = 0; i < 10 * turn; i++) {
            hold(client, 100 + i, slots[i], 1);
        }
        client = come_back(broker, client, "a");
        g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_HANDED);
    }
    for (i = 0; i < 40; i++) {
        hold(client, 100 + i, slots[i], 1);
    }
    hold(client, 0, 0, 0);
    g_assert_cmpuint(proto_client_stats(client).pages_shared, ==, 60);
    client = come_back(broker, client, "a");
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_RESUMED);
    proto_child_go_on(child);
    g_assert_cmpuint(proto_child_wait(child), ==, KSM_WELCOME_HANDED);
    proto_child_kill(child); /* in the middle of it, too */
    wait_shared(client, 40);
}

/* Says HELLO anew for the engine of @before without a store; frees @before. */
static ProtoClient *start_over(KsmTestBroker *broker, ProtoClient *before)
{
    ProtoClient *client;
    ProtoReply reply;

    proto_client_free(before);
    client = proto_client_connect(broker->socket);
    reply = proto_client_hello(client, "g", "a", PAGES);
    if (reply.msg.type != KSM_MSG_WELCOME) {
        g_error("without a store: %s", reply.error.reason);
    }
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_NEW);
    return client;
}

/*
 * An engine that has given its store up in the middle of RECLAIM is one like
 * any other again.  What it mapped before stays as long as it can be mapped,
 * and over the next broker, too.
 */
static void test_started_over(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autofree guint32 *slots = publish(client, 100, 40);
    guint8 *mapped[2];
    guint32 later;

    mapped[0] = mmap(NULL, 4096, PROT_READ, MAP_SHARED, client->store_fd, 0);
    kill_and_restart(broker);
    client = come_back(broker, client, "a");
    hold(client, 100, slots[0], 1);
    client = start_over(broker, client);
    wait_shared(client, 40);
    g_assert_cmpuint(proto_client_find(client, 100, 105), ==, slots[5]);
    later = proto_client_publish(client, 101, 2000, 0).slot;
    mapped[1] = mmap(NULL, 4096, PROT_READ, MAP_SHARED, client->store_fd, 0);
    kill_and_restart(broker);
    client = come_back(broker, client, "a");
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_HANDED);
    client = start_over(broker, client); /* it had no time to report any */
    g_assert_cmpuint(proto_client_find(client, 101, 106), ==, slots[6]);
    wait_shared(client, 41);
    /* Two open files are left by which it may map any of them. */
    munmap(mapped[0], 4096);
    g_usleep(2500000);
    wait_shared(client, 41);
    proto_client_assert_slot(client, later, 2000);
    munmap(mapped[1], 4096);
    wait_shared(client, 1);
    proto_client_range(client, KSM_MSG_RELEASE, 0, PAGES);
    wait_shared(client, 0);
}

/* Broker after broker, each killed at some moment of taking up. */
static void test_killed_at_it(void)
{
    enum { COUNT = 20000 };
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    guint32 base = proto_client_publish(client, 0, 1, 0).slot, page, turn;
    KsmMsgHello hello = {
        .msg = { .type = KSM_MSG_HELLO },
        .magic = KSM_PROTO_MAGIC,
        .version = KSM_PROTO_VERSION,
        .pages = PAGES,
        .group = "g",
        .name = "a",
        .node = KSM_NODE_ANY,
        .engine = client->engine,
    };

    for (page = 1; page < COUNT; page++) {
        g_assert_cmpuint(proto_client_publish(client, page, page + 1, 0).slot,
                         ==, base + page);
    }
    for (turn = 0; turn < 12; turn++) {
        g_autoptr(ProtoClient) passing = NULL;

        kill_and_restart(broker);
        passing = proto_client_connect(broker->socket);
        g_assert_true(proto_client_send_fds(passing, &hello, sizeof(hello),
                                            &client->store_fd, 1));
        g_usleep(turn * 2500); /* another moment each time */
    }
    kill_and_restart(broker);
    client = come_back(broker, client, "a");
    hold(client, 0, base, COUNT);
    hold(client, 0, 0, 0);
    wait_shared(client, COUNT);
    g_assert_cmpuint(proto_client_stats(client).pages_sharing, ==, COUNT);
    g_assert_cmpuint(proto_client_find(client, 50000, 777), ==, base + 776);
    proto_client_range(client, KSM_MSG_RELEASE, 0, PAGES);
    wait_shared(client, 0);
}

/* Sends the HELLO of a newcomer; the answer may have to be waited for. */
static ProtoClient *newcomer_connect(KsmTestBroker *broker)
{
    ProtoClient *client = proto_client_connect(broker->socket);

    g_assert_true(proto_client_send_hello(client, "g", "new", PAGES, -1));
    return client;
}

/* Who comes first, but without a store, waits for those of old. */
static void test_waits(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autoptr(ProtoClient) newcomer = NULL;
    g_autofree guint32 *slots = publish(client, 100, 10);

    kill_and_restart(broker);
    newcomer = newcomer_connect(broker);
    client = come_back(broker, client, "a");
    hold(client, 100, slots[0], 10);
    hold(client, 0, 0, 0);
    g_assert_cmpuint(proto_client_welcomed(newcomer).outcome, ==,
                     KSM_WELCOME_NEW);
    g_assert_cmpint(store_inode(newcomer), ==, store_inode(client));
    g_assert_cmpuint(proto_client_find(newcomer, 1, 105), ==, slots[5]);
}

static gboolean is_empty(gpointer path)
{
    struct stat status;

    return stat(path, &status) == 0 && status.st_size == 0;
}

/* A broker after one that had nobody lets nobody wait. */
static void test_nobody_to_wait_for(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    ProtoClient *client = proto_client_new(broker->socket, "g", "a", PAGES);
    g_autofree char *lock = g_strconcat(broker->socket, ".lock", NULL);
    gint64 start_us;

    g_assert_false(is_empty(lock));
    proto_client_free(client);
    g_assert_cmpfloat(ksm_test_wait(is_empty, lock, 10), >=, 0);
    kill_and_restart(broker);
    start_us = g_get_monotonic_time();
    proto_client_free(proto_client_new(broker->socket, "g", "b", PAGES));
    g_assert_cmpint(g_get_monotonic_time() - start_us, <,
                    KSM_RETRY_MAX_MS * 1000);
}

/* The mark is written for the first session and the last, not between. */
static void test_marked_once(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autofree char *lock = g_strconcat(broker->socket, ".lock", NULL);
    const struct timespec past[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
    struct stat status;

    g_assert_cmpint(utimensat(AT_FDCWD, lock, past, 0), ==, 0);
    proto_client_free(proto_client_new(broker->socket, "g", "b", PAGES));
    proto_client_free(proto_client_new(broker->socket, "g", "c", PAGES));
    g_assert_cmpint(stat(lock, &status), ==, 0);
    g_assert_cmpint(status.st_mtime, ==, 1);
    g_assert_cmpint(status.st_size, ==, 1);
    g_assert_cmpuint(proto_client_stats(client).sessions, >=, 1);
}

/* A store that is in use stays; one that is not makes room. */
static void test_newcomer(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autoptr(ProtoClient) newcomer = NULL, refused = NULL;
    g_autofree guint32 *slots = publish(client, 100, 10);
    ino_t inode = store_inode(client);
    ProtoReply reply;

    kill_and_restart(broker);
    newcomer = proto_client_new(broker->socket, "g", "new", PAGES);
    g_assert_cmpint(proto_client_lookup(newcomer, 1, 55).kind, ==,
                    KSM_ANSWER_LISTED);
    client = come_back(broker, client, "a");
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_HANDED);
    g_assert_cmpuint(proto_client_receive(newcomer, &reply), ==, 0);
    g_clear_pointer(&newcomer, proto_client_free);
    newcomer = proto_client_new(broker->socket, "g", "new", PAGES);
    g_assert_cmpuint(store_inode(newcomer), ==, inode);
    g_assert_cmpuint(proto_client_find(newcomer, 1, 105), ==, slots[5]);

    kill_and_restart(broker);
    g_clear_pointer(&newcomer, proto_client_free);
    newcomer = proto_client_new(broker->socket, "g", "new", PAGES);
    proto_client_publish(newcomer, 1, 1, 0);
    refused = proto_client_connect(broker->socket);
    reply = proto_client_hello_with(refused, "g", "a", PAGES, client->store_fd);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_cmpuint(reply.error.code, ==, ERROR_INVALID);
    g_assert_nonnull(strstr(reply.error.reason, "already uses another store"));
    g_assert_cmpuint(proto_client_stats(newcomer).pages_shared, ==, 1);
}

/* A broker that lives, even if it hangs, may write to its store at any time. */
static void test_two_brokers(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(KsmTestBroker) second = ksm_test_broker_new("--max-store-mib 64");
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autoptr(ProtoClient) refused = proto_client_connect(second->socket);
    g_autofree guint32 *slots = publish(client, 100, 10);
    ProtoReply reply;

    kill(broker->pid, SIGSTOP);
    reply = proto_client_hello_with(refused, "g", "a", PAGES, client->store_fd);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_cmpuint(reply.error.code, ==, ERROR_INVALID);
    g_assert_nonnull(strstr(reply.error.reason, "another broker still owns"));
    ksm_test_broker_kill(broker);
    client = come_back(second, client, "a"); /* of whatever size */
    hold(client, 100, slots[0], 10);
    hold(client, 0, 0, 0);
    wait_shared(client, 10);
    ksm_test_broker_start(broker);
}

/* Who was not given the store, or has given everything back, begins anew. */
static void stranger_run(gpointer opaque)
{
    gpointer *args = opaque;
    ProtoClient *client;
    ProtoReply reply;

    proto_child_await();
    client = proto_client_connect(((KsmTestBroker *)args[0])->socket);
    reply = proto_client_hello_with(client, "g", "c", PAGES,
                                    ((ProtoClient *)args[1])->store_fd);
    proto_child_report(reply.msg.type == KSM_MSG_ERROR ?
                           reply.error.code :
                           100 + reply.welcome.outcome);
    proto_child_await();
}

static void test_stranger(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autofree guint32 *slots = publish(client, 100, 10);
    gpointer args[] = { broker, client };
    ProtoChild *first = proto_child_new(stranger_run, args);
    ProtoChild *second = proto_child_new(stranger_run, args);

    kill_and_restart(broker);
    proto_child_go_on(first);
    g_assert_cmpuint(proto_child_wait(first), ==, ERROR_INVALID);
    proto_child_kill(first);
    client = come_back(broker, client, "a");
    hold(client, 100, slots[0], 10);
    hold(client, 0, 0, 0);
    proto_child_go_on(second);
    g_assert_cmpuint(proto_child_wait(second), ==, 100 + KSM_WELCOME_NEW);
    proto_child_kill(second);
    wait_shared(client, 10);
}

/* Runs a twentieth of the time: on a host twenty times as slow. */
typedef struct Slow {
    pid_t pid;
    gint stop;
} Slow;

static gpointer slow_down(gpointer opaque)
{
    Slow *slow = opaque;

    while (!g_atomic_int_get(&slow->stop)) {
        kill(slow->pid, SIGSTOP);
        g_usleep(19000);
        kill(slow->pid, SIGCONT);
        g_usleep(1000);
    }
    return NULL;
}

static void publish_batch(ProtoClient *client, guint32 first)
{
    guint32 i;

    for (i = 0; i < KSM_BATCH_PUBLISH; i++) {
        const KsmPublish item = { first + i, 0 };

        memcpy(client->bulk + KSM_BULK_REQUEST + i * sizeof(item), &item,
               sizeof(item));
        proto_content(client->bulk + KSM_BULK_CONTENT + (gsize)i * 4096,
                      first + i + 1);
    }
    g_assert_cmpuint(proto_client_request(client, KSM_MSG_PUBLISH,
                                          KSM_BATCH_PUBLISH)
                         .msg.type,
                     ==, KSM_MSG_ANSWERS);
}

static gboolean is_filed(gpointer broker)
{
    g_autofree char *log = ksm_test_broker_read_log(broker);

    return strstr(log, "took over") != NULL;
}

/*
 * 256 MiB are filed in some 0.1 s, and 64 GiB in 22 s: so that this takes
 * longer than a client may wait, the broker gets a twentieth of the time.
 * Whoever comes back, holds, and is new is answered long before the end.
 */
static void test_answered_meanwhile(void)
{
    enum { COUNT = 65536, ANSWER_MS = 1000 };
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) client = proto_client_new(broker->socket, "g", "a",
                                                     PAGES);
    g_autoptr(ProtoClient) newcomer = NULL;
    Slow slow = { 0, 0 };
    GThread *thread;
    double start, answered, all = 0;
    guint32 page;

    for (page = 0; page < COUNT; page += KSM_BATCH_PUBLISH) {
        publish_batch(client, page);
    }
    g_assert_cmpuint(proto_client_stats(client).pages_shared, ==, COUNT);
    kill_and_restart(broker);
    slow.pid = broker->pid;
    thread = g_thread_new("slow", slow_down, &slow);
    start = ksm_test_now();
    client = come_back(broker, client, "a");
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_HANDED);
    newcomer = proto_client_new(broker->socket, "g", "new", PAGES);
    answered = ksm_test_now() - start;
    hold(client, 0, 0, 1); /* the first and the last of them */
    hold(client, COUNT - 1, COUNT - 1, 1);
    g_assert_cmpint(proto_client_lookup(newcomer, 1, COUNT + 7).kind, ==,
                    KSM_ANSWER_LISTED);
    all = ksm_test_now() - start;
    g_assert_false(is_filed(broker));
    g_test_message("two HELLOs answered after %.0f ms, all after %.0f ms",
                   answered * 1e3, all * 1e3);
    g_assert_cmpfloat(answered * 1e3, <, ANSWER_MS);
    hold(client, 1, 1, COUNT - 2);
    hold(client, 0, 0, 0);
    g_assert_cmpfloat(ksm_test_wait(is_filed, broker, 60), >=, 0);
    g_test_message("filed after %.1f s", ksm_test_now() - start);
    g_atomic_int_set(&slow.stop, 1);
    g_thread_join(thread);
    g_assert_cmpuint(proto_client_find(newcomer, 2, COUNT), ==, COUNT - 1);
    proto_client_range(newcomer, KSM_MSG_RELEASE, 2, 1);
    proto_client_range(client, KSM_MSG_RELEASE, 0, COUNT);
    wait_shared(client, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reclaim/taken-up", test_taken_up);
    g_test_add_func("/reclaim/user", test_user);
    g_test_add_func("/reclaim/nothing-is-freed-early",
                    test_nothing_is_freed_early);
    g_test_add_func("/reclaim/died-meanwhile", test_died_meanwhile);
    g_test_add_func("/reclaim/two-sessions", test_two_sessions);
    g_test_add_func("/reclaim/zeros", test_zeros);
    g_test_add_func("/reclaim/cut-off", test_cut_off);
    g_test_add_func("/reclaim/started-over", test_started_over);
    g_test_add_func("/reclaim/killed-at-it", test_killed_at_it);
    g_test_add_func("/reclaim/waits", test_waits);
    g_test_add_func("/reclaim/nobody-to-wait-for", test_nobody_to_wait_for);
    g_test_add_func("/reclaim/marked-once", test_marked_once);
    g_test_add_func("/reclaim/newcomer", test_newcomer);
    g_test_add_func("/reclaim/two-brokers", test_two_brokers);
    g_test_add_func("/reclaim/stranger", test_stranger);
    g_test_add_func("/reclaim/answered-meanwhile", test_answered_meanwhile);
    return g_test_run();
}
