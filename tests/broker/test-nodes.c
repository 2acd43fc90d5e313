/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-nodes.c: a group has a store for each NUMA node that clients name, and
 * one for clients that name none; between them nothing is shared.
 *
 * On any machine whose kernel knows NUMA: one node is enough, number 0.  Where
 * pages lie follows from the policy of the broker's mapping; that the kernel
 * respects it is tested by tests/kernel/test-nodes on a machine with two nodes.
 */
#include <glib.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proto-client.h"
#include "require.h"

#define PAGES 1000u
#define ERROR_INVALID 4u
#define ERROR_GROUP 8u
#define NO_NODE 1000 /* no machine has that many */

/* A policy for what @client maps of its store. */
static void steer(const ProtoClient *client, int mode)
{
    unsigned long nodes[16] = { mode == MPOL_DEFAULT ? 0 : 1 };
    void *store = mmap(NULL, client->welcome.store_bytes, PROT_READ,
                       MAP_PRIVATE | MAP_NORESERVE, client->store_fd, 0);

    g_assert_true(store != MAP_FAILED);
    g_assert_cmpint(syscall(SYS_mbind, store, client->welcome.store_bytes, mode,
                            nodes, 1024ul, 0),
                    ==, 0);
    munmap(store, client->welcome.store_bytes);
}

static ProtoReply say_hello(ProtoClient *client, const char *name, int node,
                            int fd)
{
    client->node = node;
    return proto_client_hello_with(client, "g", name, PAGES, fd);
}

static ProtoClient *join(KsmTestBroker *broker, const char *name, int node)
{
    ProtoClient *client = proto_client_connect(broker->socket);
    ProtoReply reply = say_hello(client, name, node, -1);

    if (reply.msg.type != KSM_MSG_WELCOME) {
        g_error("%s of node %d was refused: %s", name, node,
                reply.error.reason);
    }
    return client;
}

static void assert_refused(KsmTestBroker *broker, int node, int fd,
                           guint32 code, const char *words)
{
    g_autoptr(ProtoClient) client = proto_client_connect(broker->socket);
    ProtoReply reply = say_hello(client, "villain", node, fd);

    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_test_message("node %d: %s", node, reply.error.reason);
    g_assert_cmpuint(reply.error.code, ==, code);
    g_assert_nonnull(strstr(reply.error.reason, words));
}

/* Fails unless the slots of the store of that name are mapped with @policy. */
static void assert_policy(KsmTestBroker *broker, const char *suffix,
                          const char *policy)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/numa_maps",
                                            (int)broker->pid);
    g_autofree char *name = g_strdup_printf("memfd:ksm-store:%u:g%s\\040",
                                            geteuid(), suffix);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    guint found = 0, i;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i] != NULL; i++) {
        /* the roster's mapping, of the same file, has no policy */
        if (strstr(lines[i], name) != NULL) {
            g_test_message("%s", lines[i]);
            found += strstr(lines[i], policy) != NULL ||
                     (strcmp(policy, " bind:0 ") == 0 &&
                      strstr(lines[i], " bind=static:0 ") != NULL);
        }
    }
    if (found == 0) {
        g_error("no mapping of store%s has policy %s:\n%s", suffix, policy,
                text);
    }
}

/* Each looks for, and publishes, what the others have. */
static void test_apart(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(ProtoClient) any = NULL, one = NULL, two = NULL;
    guint32 slot;

    if (!ksm_test_need_numa()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    any = join(broker, "any", KSM_NODE_ANY);
    one = join(broker, "one", 0);
    two = join(broker, "two", 0);
    g_assert_cmpuint(one->welcome.store_id, ==, two->welcome.store_id);
    g_assert_cmpuint(one->welcome.store_id, !=, any->welcome.store_id);

    g_assert_cmpint(proto_client_lookup(any, 1, 77).kind, ==,
                    KSM_ANSWER_LISTED);
    g_assert_cmpint(proto_client_lookup(one, 1, 77).kind, ==,
                    KSM_ANSWER_LISTED);
    g_assert_cmpint(proto_client_lookup(two, 1, 77).kind, ==,
                    KSM_ANSWER_PUBLISH);
    slot = proto_client_publish(two, 1, 77, 0).slot;
    proto_client_assert_slot(one, slot, 77);
    g_assert_cmpuint(proto_client_lookup(one, 2, 77).slot, ==, slot);
    g_assert_cmpint(proto_client_lookup(any, 1, 77).kind, ==,
                    KSM_ANSWER_LISTED);
    g_assert_cmpuint(proto_client_stats(one).pages_sharing, ==, 2);
    g_assert_cmpuint(proto_client_stats(one).sessions, ==, 2);
    g_assert_cmpuint(proto_client_stats(any).pages_shared, ==, 0);
    g_assert_cmpuint(proto_client_stats(any).sessions, ==, 1);
    g_assert_cmpuint(proto_client_stats(any).results_waiting, ==, 0);
}

/* A client may give the file another policy: the next content sets it right. */
static void test_bound(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(ProtoClient) any = NULL, one = NULL;

    if (!ksm_test_need_numa()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    any = join(broker, "any", KSM_NODE_ANY);
    one = join(broker, "one", 0);
    assert_policy(broker, "", " default ");
    assert_policy(broker, "@0", " bind:0 ");
    steer(one, MPOL_PREFERRED);
    assert_policy(broker, "@0", " prefer:0 ");
    proto_client_publish(one, 1, 5, 0);
    assert_policy(broker, "@0", " bind:0 ");
    proto_client_publish(any, 1, 5, 0);
    assert_policy(broker, "", " default ");
}

static void test_refused(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(ProtoClient) one = NULL;

    if (!ksm_test_need_numa()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    one = join(broker, "one", 0);
    assert_refused(broker, NO_NODE, -1, ERROR_GROUP,
                   "NUMA node 1000: it does not exist, has no memory");
    assert_refused(broker, KSM_MAX_NODE, -1, ERROR_GROUP, "NUMA node 1023");
    assert_refused(broker, KSM_MAX_NODE + 1, -1, ERROR_GROUP, "NUMA node 1024");
    assert_refused(broker, G_MAXINT32, -1, ERROR_GROUP, "NUMA node 2147483647");
    g_assert_cmpuint(proto_client_stats(one).sessions, ==, 1);
}

static guint64 inode_of(int fd)
{
    struct stat status;

    g_assert_cmpint(fstat(fd, &status), ==, 0);
    return status.st_ino;
}

/* With the store it had, which must be taken up; @before is freed. */
static ProtoClient *come_back(KsmTestBroker *broker, ProtoClient *before,
                              const char *name, int node, guint32 slot)
{
    ProtoClient *client = proto_client_connect(broker->socket);
    ProtoReply reply;

    client->engine = before->engine;
    reply = say_hello(client, name, node, before->store_fd);
    if (reply.msg.type != KSM_MSG_WELCOME) {
        g_error("the store was refused: %s", reply.error.reason);
    }
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_HANDED);
    g_assert_cmpuint(inode_of(client->store_fd), ==,
                     inode_of(before->store_fd));
    proto_client_free(before);
    reply = proto_client_hold(client, 1, slot, 1);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_OK);
    reply = proto_client_hold(client, 0, 0, 0);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_OK);
    return client;
}

/* Another broker takes up both stores, each for those whose it was. */
static void test_adopted(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(ProtoClient) any = NULL, one = NULL;
    guint32 any_slot, one_slot;

    if (!ksm_test_need_numa()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    any = join(broker, "any", KSM_NODE_ANY);
    one = join(broker, "one", 0);
    any_slot = proto_client_publish(any, 1, 10, 0).slot;
    one_slot = proto_client_publish(one, 1, 20, 0).slot;
    ksm_test_broker_kill(broker);
    steer(one, MPOL_DEFAULT); /* nobody is there to mind */
    ksm_test_broker_start(broker);

    /* first each of them in the other's place */
    assert_refused(broker, 0, any->store_fd, ERROR_INVALID,
                   "it does not have the name of this group");
    assert_refused(broker, KSM_NODE_ANY, one->store_fd, ERROR_INVALID,
                   "it does not have the name of this group");
    assert_refused(broker, NO_NODE, one->store_fd, ERROR_GROUP, "NUMA node");
    one = come_back(broker, one, "one", 0, one_slot);
    assert_policy(broker, "@0", " bind:0 ");
    any = come_back(broker, any, "any", KSM_NODE_ANY, any_slot);
    assert_policy(broker, "", " default ");
    g_assert_cmpuint(proto_client_find(one, 2, 20), ==, one_slot);
    g_assert_cmpuint(proto_client_find(any, 2, 10), ==, any_slot);
    g_assert_cmpint(proto_client_lookup(one, 3, 10).kind, ==,
                    KSM_ANSWER_LISTED);
    g_assert_cmpint(proto_client_lookup(any, 3, 20).kind, ==,
                    KSM_ANSWER_LISTED);
}

/* A session that comes again is another one, when it names another node. */
static void test_resumed(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(ProtoClient) client = NULL;
    guint64 any_store, one_store;

    if (!ksm_test_need_numa()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    client = join(broker, "same", KSM_NODE_ANY);
    any_store = client->welcome.store_id;
    proto_client_publish(client, 1, 10, 0);
    proto_client_free(client);
    client = join(broker, "same", 0);
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_NEW);
    g_assert_cmpuint(client->welcome.store_id, !=, any_store);
    one_store = client->welcome.store_id;
    proto_client_publish(client, 1, 20, 0);
    proto_client_free(client);
    client = join(broker, "same", KSM_NODE_ANY);
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_RESUMED);
    g_assert_cmpuint(client->welcome.store_id, ==, any_store);
    proto_client_free(client);
    client = join(broker, "same", 0);
    g_assert_cmpuint(client->welcome.outcome, ==, KSM_WELCOME_RESUMED);
    g_assert_cmpuint(client->welcome.store_id, ==, one_store);
}

/* The name is what a process is bound to, of whatever node. */
static void test_other_group(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autoptr(ProtoClient) one = NULL, other = NULL;
    ProtoReply reply;

    if (!ksm_test_need_numa()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    one = join(broker, "one", 0);
    other = proto_client_connect(broker->socket);
    other->node = 0;
    reply = proto_client_hello(other, "h", "x", PAGES);
    g_assert_cmpuint(reply.msg.type, ==, KSM_MSG_ERROR);
    g_assert_cmpuint(reply.error.code, ==, ERROR_GROUP);
    proto_client_free(other);
    other = join(broker, "other", KSM_NODE_ANY);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nodes/apart", test_apart);
    g_test_add_func("/nodes/bound", test_bound);
    g_test_add_func("/nodes/refused", test_refused);
    g_test_add_func("/nodes/adopted", test_adopted);
    g_test_add_func("/nodes/resumed", test_resumed);
    g_test_add_func("/nodes/other-group", test_other_group);
    return g_test_run();
}
