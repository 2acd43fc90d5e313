/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-sharing.c: guest-ksmd over its socket, with well-behaved clients. */
#include <glib.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "broker-proc.h"
#include "proto-child.h"
#include "probe.h"
#include "proto-client.h"
#include "require.h"

#define PAGE 4096u
#define NOBODY 65534u

static guint take_results(ProtoClient *client, KsmResult *results)
{
    ProtoReply reply = proto_client_request(client, KSM_MSG_FETCH_RESULTS, 0);

    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ANSWERS);
    memcpy(results, client->bulk + KSM_BULK_REPLY,
           reply.msg.count * sizeof(*results));
    return reply.msg.count;
}

static gboolean store_is_empty(gpointer client)
{
    const ProtoClient *self = client;

    return ksm_test_store_bytes(self->store_fd, self->welcome.store_bytes) == 0;
}

static void test_share(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) a = proto_client_new(broker->socket, "g", "a", 99);
    g_autoptr(ProtoClient) b = proto_client_new(broker->socket, "g", "b", 99);
    KsmResult results[KSM_BATCH_RESULTS];
    KsmAnswer answer;

    g_assert_cmpuint(a->welcome.store_id, ==, b->welcome.store_id);
    g_assert_cmpuint(a->welcome.broker_id, ==, b->welcome.broker_id);
    g_assert_cmpuint(a->welcome.outcome, ==, 0);
    g_assert_cmpint(lseek(a->store_fd, 0, SEEK_END), >=,
                    (off_t)a->welcome.store_bytes);
    g_assert_cmpint(proto_client_lookup(a, 5, 1).kind, ==, KSM_ANSWER_LISTED);
    g_assert_cmpint(proto_client_lookup(b, 6, 1).kind, ==, KSM_ANSWER_PUBLISH);
    answer = proto_client_publish(b, 6, 1, 0);
    g_assert_cmpint(answer.kind, ==, KSM_ANSWER_SLOT);
    proto_client_assert_slot(a, answer.slot, 1);
    g_assert_cmpuint(proto_client_stats(a).results_waiting, ==, 1);
    g_assert_cmpuint(take_results(a, results), ==, 1);
    g_assert_cmpuint(results[0].page, ==, 5);
    g_assert_cmpuint(results[0].slot, ==, answer.slot);
    g_assert_cmpuint(proto_client_stats(a).pages_sharing, ==, 2);
    proto_client_range(a, KSM_MSG_RELEASE, 0, 99);
    g_assert_cmpuint(proto_client_stats(a).pages_sharing, ==, 1);
    g_assert_cmpuint(proto_client_stats(a).pages_shared, ==, 1);
    proto_client_range(b, KSM_MSG_RELEASE, 6, 1);
    g_assert_cmpuint(proto_client_stats(a).pages_shared, ==, 0);
    g_assert_cmpfloat(ksm_test_wait(store_is_empty, a, 5), >=, 0);
}

static void test_tile(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) a = proto_client_new(broker->socket, "g", "a", 5000);
    guint32 head = proto_client_publish(a, 64, 7, 6).slot;
    guint32 page;

    g_assert_cmpuint(proto_client_stats(a).pages_shared, ==, 64);
    for (page = 100; page < 300; page++) {
        KsmAnswer answer = proto_client_lookup(a, page, 7);

        g_assert_cmpint(answer.kind, ==, KSM_ANSWER_SLOT);
        g_assert_cmpuint(answer.slot, ==, head + page % 64);
        proto_client_assert_slot(a, answer.slot, 7);
    }
}

typedef struct Stranger {
    const char *socket;
    const char *group;
    guint64 store_id; /* that it must not get */
    uid_t uid;
} Stranger;

static void stranger_run(gpointer opaque)
{
    const Stranger *self = opaque;
    ProtoClient *client;

    if (self->uid != 0) {
        g_assert_cmpint(setgroups(0, NULL), ==, 0);
        g_assert_cmpint(setresgid(self->uid, self->uid, self->uid), ==, 0);
        g_assert_cmpint(setresuid(self->uid, self->uid, self->uid), ==, 0);
    }
    client = proto_client_new(self->socket, self->group, "stranger", 100);
    g_assert_cmpuint(client->welcome.store_id, !=, self->store_id);
    g_assert_cmpint(proto_client_lookup(client, 1, 1).kind, ==,
                    KSM_ANSWER_LISTED);
    g_assert_cmpint(proto_client_lookup(client, 2, 2).kind, ==,
                    KSM_ANSWER_LISTED);
    g_assert_cmpuint(proto_client_stats(client).pages_shared, ==, 0);
    g_assert_cmpuint(proto_client_stats(client).pages_unshared, ==, 2);
    g_assert_cmpuint(proto_client_stats(client).sessions, ==, 1);
    proto_child_report(1);
    proto_child_await();
}

static void resident_run(gpointer socket)
{
    ProtoClient *a = proto_client_new(socket, "one", "a", 100);

    proto_client_publish(a, 1, 1, 0);
    proto_client_lookup(a, 2, 2);
    proto_child_report((guint32)a->welcome.store_id);
    proto_child_await();
    g_assert_cmpuint(proto_client_stats(a).pages_sharing, ==, 1);
}

/*
 * Lets a stranger look for what a client of group "one" has: no answer, no
 * slot and no count of it may be seen in another group.  Both are children: one
 * of a client's may not name another group.
 */
static void stranger_test(const char *group, uid_t uid)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new("--socket-mode 666");
    Stranger stranger = { broker->socket, group, 0, uid };
    ProtoChild *resident, *child;

    g_assert_cmpint(chmod(broker->dir, 0711), ==, 0);
    resident = proto_child_new(resident_run, broker->socket);
    stranger.store_id = proto_child_wait(resident);
    child = proto_child_new(stranger_run, &stranger);
    g_assert_cmpuint(proto_child_wait(child), ==, 1);
    proto_child_free(resident);
    proto_child_free(child);
}

static void test_other_group(void)
{
    stranger_test("two", 0);
}

static void test_same_name_other_user(void)
{
    if (geteuid() != 0) {
        g_test_skip("needs root, to become another user");
        return;
    }
    stranger_test("one", NOBODY);
}

typedef struct Scribbler {
    guint8 *page;
    gint stop;
} Scribbler;

static gpointer scribble(gpointer opaque)
{
    Scribbler *self = opaque;
    guint32 i = 1;

    while (!g_atomic_int_get(&self->stop)) {
        ((volatile guint32 *)(void *)self->page)[i * 7 % 1024] = i;
        i++;
    }
    return NULL;
}

/*
 * The content changes while it is published: whatever the slot got, it is
 * filed under, so that nobody is ever sent to a slot with other content.
 */
static void test_torn_publish(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) a = proto_client_new(broker->socket, "g", "a",
                                                1 << 24);
    Scribbler scribbler = { a->bulk + KSM_BULK_CONTENT, 0 };
    GThread *thread = g_thread_new("scribble", scribble, &scribbler);
    double end = ksm_test_now() + 10;
    guint changed = 0;
    guint32 page;

    for (page = 0; changed < 500 && ksm_test_now() < end; page += 2) {
        KsmAnswer answer = proto_client_publish(a, page, 3, 0);
        guint8 slot[PAGE], wanted[PAGE];
        XXH128_hash_t hash;
        KsmLookup item = { .page = page + 1 };

        g_assert_cmpint(answer.kind, ==, KSM_ANSWER_SLOT);
        g_assert_cmpint(pread(a->store_fd, slot, PAGE,
                              (off_t)answer.slot * PAGE),
                        ==, PAGE);
        proto_content(wanted, 3);
        changed += memcmp(slot, wanted, PAGE) != 0;
        hash = XXH3_128bits(slot, PAGE);
        item.fingerprint = (KsmFingerprint) { hash.high64, hash.low64 };
        memcpy(a->bulk, &item, sizeof(item));
        proto_client_request(a, KSM_MSG_LOOKUP, 1);
        g_assert_cmpmem(a->bulk + KSM_BULK_REPLY, 8, &answer, 8);
    }
    g_atomic_int_set(&scribbler.stop, 1);
    g_thread_join(thread);
    g_test_message("%u of %u contents changed on the way", changed, page / 2);
    g_assert_cmpuint(changed, >, 0);
}

static guint broker_fds(const KsmTestBroker *broker)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", broker->pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    guint count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir) != NULL) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

static guint fds_at_start;

static gboolean log_says_ready(gpointer broker)
{
    g_autofree char *log = ksm_test_broker_read_log(broker);

    return strstr(log, "listening on") != NULL;
}

/* Its socket can be reached before it has opened all that it will. */
static void count_fds_at_start(KsmTestBroker *broker)
{
    g_assert_cmpfloat(ksm_test_wait(log_says_ready, broker, 5), >=, 0);
    fds_at_start = broker_fds(broker);
}

static gboolean fds_are_back(gpointer broker)
{
    /* one more: this test's process is remembered while it lives */
    return broker_fds(broker) <= fds_at_start + 1;
}

/* A process stays in the group it named first, whatever it says later. */
static void test_one_group_for_life(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    ProtoClient *client;
    ProtoReply reply;

    count_fds_at_start(broker);
    proto_client_free(proto_client_new(broker->socket, "one", "a", 100));
    g_assert_cmpfloat(ksm_test_wait(fds_are_back, broker, 5), >=, 0);
    client = proto_client_connect(broker->socket);
    reply = proto_client_hello(client, "two", "a", 100);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_cmpuint(reply.error.code, ==, 8); /* KSM_ERROR_GROUP */
    proto_client_free(client);
    proto_client_free(proto_client_new(broker->socket, "one", "a", 100));
}

/* Many clients at once; afterwards the broker has no descriptor more. */
static void test_many_clients(void)
{
    enum { CLIENTS = 500 };
    g_autoptr(KsmTestBroker) broker =
        ksm_test_broker_new("--max-process-sessions 600");
    ProtoClient *clients[CLIENTS];
    guint i;

    count_fds_at_start(broker);
    for (i = 0; i < CLIENTS; i++) {
        g_autofree char *name = g_strdup_printf("vm%u", i);

        clients[i] = proto_client_new(broker->socket, "g", name, 1000);
        g_assert_cmpint(proto_client_publish(clients[i], 1, 1, 0).kind, ==,
                        KSM_ANSWER_SLOT);
        g_assert_cmpint(proto_client_lookup(clients[i], 2, 100 + i).kind, ==,
                        KSM_ANSWER_LISTED);
    }
    g_assert_cmpuint(proto_client_stats(clients[0]).pages_sharing, ==, CLIENTS);
    g_assert_cmpuint(proto_client_stats(clients[0]).pages_shared, ==, 1);
    g_assert_cmpuint(proto_client_stats(clients[0]).pages_unshared, ==,
                     CLIENTS);
    for (i = 0; i < CLIENTS; i++) {
        proto_client_range(clients[i], KSM_MSG_RELEASE, 0, 1000);
        proto_client_free(clients[i]);
    }
    g_assert_cmpfloat(ksm_test_wait(fds_are_back, broker, 5), >=, 0);
}

/* Several memory backends of one VM: sessions of one process. */
static void test_sessions_of_one_process(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) a = proto_client_new(broker->socket, "g", "x", 10);
    g_autoptr(ProtoClient) b = proto_client_new(broker->socket, "g", "x", 10);

    g_assert_cmpuint(b->welcome.outcome, ==, 0);
    proto_client_publish(a, 1, 1, 0);
    g_assert_cmpint(proto_client_lookup(b, 1, 1).kind, ==, KSM_ANSWER_SLOT);
    proto_client_range(a, KSM_MSG_RELEASE, 0, 10);
    g_assert_cmpuint(proto_client_stats(b).pages_shared, ==, 1);
}

static void test_resize(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) a = proto_client_new(broker->socket, "g", "a", 0);
    KsmMsgResize resize = {
        .msg = { .type = KSM_MSG_RESIZE, .serial = 7 },
        .pages = 1 << 24,
    };
    ProtoReply reply;

    g_assert_true(proto_client_send(a, &resize, sizeof(resize)));
    proto_client_receive(a, &reply);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_OK);
    g_assert_cmpint(proto_client_lookup(a, (1 << 24) - 1, 1).kind, ==,
                    KSM_ANSWER_LISTED);
    proto_client_range(a, KSM_MSG_WITHDRAW, 0, 1 << 24);
    g_assert_cmpuint(proto_client_stats(a).pages_unshared, ==, 0);
}

static void list_many(ProtoClient *client, guint32 count)
{
    KsmLookup items[KSM_BATCH_LOOKUPS];
    guint32 page, i;

    for (page = 0; page < count; page += i) {
        for (i = 0; i < KSM_BATCH_LOOKUPS && page + i < count; i++) {
            guint64 number = page + i;
            XXH128_hash_t hash = XXH3_128bits(&number, sizeof(number));

            items[i] = (KsmLookup) {
                { hash.high64, hash.low64 },
                page + i,
                0,
            };
        }
        memcpy(client->bulk, items, i * sizeof(*items));
        proto_client_request(client, KSM_MSG_LOOKUP, i);
    }
}

static gboolean log_has_status(gpointer broker)
{
    g_autofree char *log = ksm_test_broker_read_log(broker);

    return strstr(log, "memory_bytes=") != NULL;
}

/* What a listed page costs, by the broker's own count and by its RSS. */
static void test_bytes_per_page(void)
{
    enum { PAGES = 1000000 };
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) a = proto_client_new(broker->socket, "g", "a",
                                                PAGES);
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", broker->pid);
    g_autofree char *before = NULL, *after = NULL, *log = NULL;
    double counted, resident, seconds = ksm_test_now();

    g_file_get_contents(path, &before, NULL, NULL);
    list_many(a, PAGES);
    seconds = ksm_test_now() - seconds;
    g_file_get_contents(path, &after, NULL, NULL);
    g_assert_cmpuint(proto_client_stats(a).pages_unshared, ==, PAGES);
    kill(broker->pid, SIGUSR1);
    g_assert_cmpfloat(ksm_test_wait(log_has_status, broker, 5), >=, 0);
    log = ksm_test_broker_read_log(broker);
    counted = g_ascii_strtod(strstr(log, "memory_bytes=") + 13, NULL) / PAGES;
    resident = (g_ascii_strtod(strchr(after, ' '), NULL) -
                g_ascii_strtod(strchr(before, ' '), NULL)) *
               PAGE / PAGES;
    g_test_message("a listed page costs %.1f bytes (%.1f resident); %.2f "
                   "million look-ups a second through the socket",
                   counted, resident, PAGES / seconds / 1e6);
    g_assert_cmpfloat(counted, <, 24.0);
    g_assert_cmpfloat(resident, <, 26.0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sharing/share", test_share);
    g_test_add_func("/sharing/tile", test_tile);
    g_test_add_func("/sharing/groups/other-name", test_other_group);
    g_test_add_func("/sharing/groups/other-user", test_same_name_other_user);
    g_test_add_func("/sharing/groups/for-life", test_one_group_for_life);
    g_test_add_func("/sharing/torn-publish", test_torn_publish);
    g_test_add_func("/sharing/many-clients", test_many_clients);
    g_test_add_func("/sharing/sessions-of-one-process",
                    test_sessions_of_one_process);
    g_test_add_func("/sharing/resize", test_resize);
    g_test_add_func("/sharing/bytes-per-page", test_bytes_per_page);
    return g_test_run();
}
