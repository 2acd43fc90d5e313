/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-host.c: what the host does to the broker: its parent exits, and there
 * are limits on its memory and descriptors from the start, or set while it
 * works.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "broker-proc.h"
#include "cgroup.h"
#include "proc-info.h"
#include "proto-client.h"
#include "require.h"

#define MIB (1024u * 1024u)
#define SPARE_BYTES (16u * MIB) /* left below a limit that comes */
#define CGROUP_BYTES (64u * MIB)
#define TILE_ORDER 6u
#define TILE_BYTES (4096u << TILE_ORDER)
#define HUGE_PAGES (1u << 28) /* with a table of 1 GiB */
#define MANY_PAGES (8u * MIB) /* of the session that lists too much */

static gboolean ended(gpointer opaque)
{
    return !ksm_test_broker_listens(opaque);
}

/* Starts the broker, and ends before it, when it has begun to serve. */
static void start_and_end(KsmTestBroker *broker)
{
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        ksm_test_broker_start(broker);
        proto_client_free(proto_client_new(broker->socket, "g", "a", 64));
        _exit(0);
    }
    g_assert_cmpint(ksm_test_reap(pid, 60), ==, 0);
}

/* If that was asked for (PR_SET_PDEATHSIG), also after a change of user. */
static void test_parent(void)
{
    static const char *const options[] = { NULL, "--user nobody" };
    gsize i;

    for (i = 0; i < (geteuid() == 0 ? 2 : 1); i++) {
        g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();

        broker->options = g_strdup(options[i]);
        start_and_end(broker);
        g_assert_cmpfloat(ksm_test_wait(ended, broker, 20), >=, 0);
    }
}

typedef struct Start {
    const char *limit;
    const char *words;
} Start;

/* Too little to begin with: said, with the limit's name, and status 1. */
static void test_start(void)
{
    static const Start rows[] = {
        { "--data=4194304", "RLIMIT_DATA" },
        { "--as=31457280", "RLIMIT_AS" },
        { "--nofile=6", "RLIMIT_NOFILE" },
    };
    gsize i;

    if (access("/usr/bin/prlimit", X_OK) != 0 ||
        access("/usr/bin/setpriv", X_OK) != 0) {
        g_test_skip("needs prlimit and setpriv");
        return;
    }
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(KsmTestBroker) broker = ksm_test_broker_new_idle();
        /* Root could raise the limit again. */
        const char *argv[] = {
            "/usr/bin/prlimit",
            rows[i].limit,
            "/usr/bin/setpriv",
            "--bounding-set=-all",
            "--inh-caps=-all",
            ksm_test_broker_program(),
            "--listen",
            broker->socket,
            NULL,
        };
        g_autofree char *log = NULL;
        int fd = g_open(broker->log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        int status;

        if (geteuid() != 0) {
            memmove(argv + 2, argv + 5, 4 * sizeof(argv[0]));
        }
        status = ksm_test_reap(ksm_test_spawn(argv, -1, fd), 20);
        close(fd);
        log = ksm_test_broker_read_log(broker);
        g_test_message("%s: status 0x%x: %s", rows[i].limit, status, log);
        g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        g_assert_nonnull(strstr(log, rows[i].words));
        g_assert_false(ksm_test_broker_listens(broker));
    }
}

static void set_limit(pid_t pid, int resource, rlim_t bytes)
{
    struct rlimit limit;

    g_assert_cmpint(prlimit(pid, resource, NULL, &limit), ==, 0);
    limit.rlim_cur = MIN(bytes, limit.rlim_max);
    g_assert_cmpint(prlimit(pid, resource, &limit, NULL), ==, 0);
}

/* Pages from @first on, @stride apart, each with a content that nobody has had. */
static guint list_pages(ProtoClient *client, guint32 first, guint32 stride)
{
    KsmLookup *items = (KsmLookup *)(client->bulk + KSM_BULK_REQUEST);
    const KsmAnswer *answers =
        (const KsmAnswer *)(client->bulk + KSM_BULK_REPLY);
    guint i, listed = 0;

    for (i = 0; i < KSM_BATCH_LOOKUPS; i++) {
        guint64 number = (guint64)first + i + 1;

        items[i] = (KsmLookup) {
            { number * 0x9e3779b97f4a7c15u, number },
            first + i * stride,
            0,
        };
    }
    g_assert_cmpuint(proto_client_request(client, KSM_MSG_LOOKUP,
                                          KSM_BATCH_LOOKUPS)
                         .msg.type,
                     ==, KSM_MSG_ANSWERS);
    for (i = 0; i < KSM_BATCH_LOOKUPS; i++) {
        g_assert_true(answers[i].kind == KSM_ANSWER_LISTED ||
                      answers[i].kind == KSM_ANSWER_REFUSED);
        listed += answers[i].kind == KSM_ANSWER_LISTED;
    }
    return listed;
}

static guint list_batch(ProtoClient *client, guint32 first)
{
    return list_pages(client, first, 1);
}

/* Lists until the broker refuses; returns where. */
static guint32 list_to_the_limit(ProtoClient *client)
{
    guint32 first = 0;

    while (list_batch(client, first) == KSM_BATCH_LOOKUPS) {
        first += KSM_BATCH_LOOKUPS;
        g_assert_cmpuint(first, <, MANY_PAGES - KSM_BATCH_LOOKUPS);
    }
    return first;
}

/* What the others see while nothing more can be had, and afterwards. */
static void assert_costs_savings_only(KsmTestBroker *broker, int resource,
                                      ProtoClient *hog, ProtoClient *witness)
{
    guint32 refused_at = list_to_the_limit(hog);
    ProtoClient *newcomer = proto_client_connect(broker->socket);
    ProtoReply reply = proto_client_hello(newcomer, "g", "b", 64);
    g_autofree char *log = ksm_test_broker_read_log(broker);

    g_assert_nonnull(strstr(log, "new pages are refused"));
    g_test_message("refused after %u pages; a session: %s", refused_at,
                   reply.error.reason);
    g_assert_cmpuint(refused_at, >, 0);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_nonnull(strstr(reply.error.reason, "RLIMIT"));
    proto_client_free(newcomer);
    g_assert_cmpint(proto_client_publish(witness, 2, 2, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    g_assert_cmpint(proto_client_lookup(witness, 3, 1).kind, ==,
                    KSM_ANSWER_SLOT);

    set_limit(broker->pid, resource, RLIM_INFINITY);
    newcomer = proto_client_new(broker->socket, "g", "b", 64);
    g_assert_cmpuint(list_batch(hog, refused_at), ==, KSM_BATCH_LOOKUPS);
    proto_client_free(newcomer);
}

static void test_at_work(gconstpointer opaque)
{
    gboolean data = opaque != NULL;
    int resource = data ? RLIMIT_DATA : RLIMIT_AS;
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autoptr(ProtoClient) witness = proto_client_new(broker->socket, "g",
                                                      "witness", 64);
    g_autoptr(ProtoClient) hog = proto_client_new(broker->socket, "g", "hog",
                                                  MANY_PAGES);
    guint64 kib;

    g_assert_cmpint(proto_client_publish(witness, 1, 1, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    kib = ksm_test_status_kib((int)broker->pid, data ? "VmData" : "VmSize");
    set_limit(broker->pid, resource, kib * 1024 + SPARE_BYTES);
    assert_costs_savings_only(broker, resource, hog, witness);
    proto_client_free(g_steal_pointer(&hog));
    g_assert_true(ksm_test_broker_stop(broker));
}

/* Contents that nobody has had, from @number on, until one is refused. */
static guint32 publish_to_the_limit(ProtoClient *client, guint32 number)
{
    while (proto_client_publish(client, number, number, TILE_ORDER).kind ==
           KSM_ANSWER_SLOT) {
        number++;
        g_assert_cmpuint(number, <, MANY_PAGES);
    }
    return number;
}

/* Half of the limit, not of the host. */
static void test_cgroup_default(void)
{
    g_autoptr(KsmTestCgroup) cgroup = ksm_test_cgroup_new(CGROUP_BYTES);
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(ProtoClient) client = NULL;
    g_autofree char *log = NULL;
    guint32 tiles;

    if (cgroup == NULL) {
        return;
    }
    ksm_test_cgroup_enter(cgroup);
    broker = ksm_test_broker_new(NULL);
    ksm_test_cgroup_leave(cgroup);
    client = proto_client_new(broker->socket, "g", "a", MANY_PAGES);
    tiles = publish_to_the_limit(client, 1) - 1;
    g_assert_cmpuint(tiles, ==, CGROUP_BYTES / 2 / TILE_BYTES);
    log = ksm_test_broker_read_log(broker);
    g_assert_nonnull(strstr(log, "--max-store-mib"));
    g_assert_true(ksm_test_broker_stop(broker));
}

/*
 * A store that may be larger than the control group allows: the broker refuses
 * contents and sessions before the kernel would kill it, says why, and goes on
 * when the limit is raised.
 */
static void test_cgroup(void)
{
    g_autoptr(KsmTestCgroup) cgroup = ksm_test_cgroup_new(CGROUP_BYTES);
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(ProtoClient) client = NULL, newcomer = NULL;
    g_autofree char *log = NULL;
    ProtoReply reply;
    guint32 next;

    if (cgroup == NULL) {
        return;
    }
    ksm_test_cgroup_enter(cgroup);
    broker = ksm_test_broker_new("--max-store-mib=1024");
    ksm_test_cgroup_leave(cgroup);
    client = proto_client_new(broker->socket, "g", "a", MANY_PAGES);
    next = publish_to_the_limit(client, 1);
    g_test_message("%u MiB stored, %" G_GUINT64_FORMAT " MiB charged",
                   (next - 1) * TILE_BYTES / MIB,
                   ksm_test_cgroup_usage(cgroup) / MIB);
    g_assert_cmpuint(next - 1, >, CGROUP_BYTES / 2 / TILE_BYTES);
    g_assert_cmpuint(ksm_test_cgroup_usage(cgroup), >,
                     (guint64)(next - 1) * TILE_BYTES);
    log = ksm_test_broker_read_log(broker);
    g_assert_nonnull(strstr(log, "control group"));

    ksm_test_cgroup_set_limit(cgroup, ksm_test_cgroup_usage(cgroup) + 4 * MIB);
    newcomer = proto_client_connect(broker->socket);
    reply = proto_client_hello(newcomer, "g", "b", 64);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_nonnull(strstr(reply.error.reason, "control group"));
    g_assert_cmpint(proto_client_lookup(client, next, 1).kind, ==,
                    KSM_ANSWER_SLOT);

    ksm_test_cgroup_set_limit(cgroup, 2 * CGROUP_BYTES);
    g_assert_cmpint(proto_client_publish(client, next + 1, next, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    g_assert_true(ksm_test_broker_stop(broker));
}

/*
 * A page spoken of in each page of a session's table: the table would take
 * 1 GiB.  It is refused, said, and the broker lives; other sessions go on with
 * what they have.
 */
static void test_cgroup_table(void)
{
    enum { LEAF = 1024 };
    g_autoptr(KsmTestCgroup) cgroup = ksm_test_cgroup_new(CGROUP_BYTES);
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(ProtoClient) client = NULL, witness = NULL;
    g_autofree char *log = NULL;
    guint32 first = 0;

    if (cgroup == NULL) {
        return;
    }
    ksm_test_cgroup_enter(cgroup);
    broker = ksm_test_broker_new("--max-total-pages=1073741824");
    ksm_test_cgroup_leave(cgroup);
    witness = proto_client_new(broker->socket, "g", "witness", 64);
    client = proto_client_new(broker->socket, "g", "a", HUGE_PAGES);
    g_assert_cmpint(proto_client_publish(witness, 1, 1, 0).kind, ==,
                    KSM_ANSWER_SLOT);
    while (list_pages(client, first, LEAF) == KSM_BATCH_LOOKUPS) {
        first += KSM_BATCH_LOOKUPS * LEAF;
        g_assert_cmpuint(first, <, HUGE_PAGES / 2);
    }
    g_test_message("refused after %u leaves, %" G_GUINT64_FORMAT " MiB charged",
                   first / LEAF, ksm_test_cgroup_usage(cgroup) / MIB);
    g_assert_cmpuint(first, >, 0);
    g_assert_cmpuint(ksm_test_cgroup_usage(cgroup), <, CGROUP_BYTES);
    g_assert_cmpint(proto_client_lookup(witness, 2, 1).kind, ==,
                    KSM_ANSWER_SLOT);
    log = ksm_test_broker_read_log(broker);
    g_assert_nonnull(strstr(log, "control group is nearly reached: new pages"));
    proto_client_range(client, KSM_MSG_WITHDRAW, 0, HUGE_PAGES);
    g_assert_true(ksm_test_broker_stop(broker));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host/parent", test_parent);
#if defined(__SANITIZE_ADDRESS__)
    return g_test_run(); /* it takes address space without end */
#endif
    g_test_add_func("/host/start", test_start);
    g_test_add_data_func("/host/address-space", NULL, test_at_work);
    g_test_add_data_func("/host/data", "data", test_at_work);
    g_test_add_func("/host/cgroup-default", test_cgroup_default);
    g_test_add_func("/host/cgroup", test_cgroup);
    g_test_add_func("/host/cgroup-table", test_cgroup_table);
    return g_test_run();
}
