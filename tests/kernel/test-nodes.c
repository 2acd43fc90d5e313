/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-nodes.c: where shared pages lie, on a host with two NUMA nodes.
 *
 * The kernel reports it for each mapping (/proc/PID/numa_maps).  All that might
 * allocate a page elsewhere (broker, scanner and writer) run on the other
 * node's processor.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker-proc.h"
#include "remote-engine.h"
#include "require.h"

#define PAGES 1024
#define SEED 815
#define SECONDS 60.0
#define NODES 2

/* The first processor of a node; -1: it has none, or is not there. */
static int cpu_of(int node)
{
    g_autofree char *path =
        g_strdup_printf("/sys/devices/system/node/node%d/cpulist", node);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        !g_ascii_isdigit(text[0])) {
        return -1;
    }
    return atoi(text);
}

static gboolean need_nodes(void)
{
    if (cpu_of(0) < 0 || cpu_of(1) < 0) {
        ksm_test_lacks("nodes", "this host has not two NUMA nodes");
        return FALSE;
    }
    return ksm_test_need_uffd();
}

/* All threads of a process run on that node from now on. */
static void run_on(int pid, int node)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) tasks = g_dir_open(path, 0, NULL);
    const char *task;
    cpu_set_t cpus;

    g_assert_nonnull(tasks);
    CPU_ZERO(&cpus);
    CPU_SET(cpu_of(node), &cpus);
    while ((task = g_dir_read_name(tasks)) != NULL) {
        g_assert_cmpint(sched_setaffinity(atoi(task), sizeof(cpus), &cpus), ==,
                        0);
    }
}

/* Adds the pages on each node of a line of numa_maps. */
static void add_pages(const char *line, guint64 pages[NODES])
{
    int node;

    for (node = 0; node < NODES; node++) {
        g_autofree char *word = g_strdup_printf(" N%d=", node);
        const char *at = strstr(line, word);

        pages[node] += at ? g_ascii_strtoull(at + strlen(word), NULL, 10) : 0;
    }
}

/* The pages of a process on each node, in mappings with that word. */
static void count_pages(int pid, const char *word, guint64 pages[NODES])
{
    g_autofree char *path = g_strdup_printf("/proc/%d/numa_maps", pid);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    guint i;

    memset(pages, 0, NODES * sizeof(*pages));
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i]; i++) {
        if (strstr(lines[i], word)) {
            add_pages(lines[i], pages);
        }
    }
}

static KsmRemote *make(KsmTestBroker *broker, gboolean on_node, int node,
                       int runs_on)
{
    KsmRemoteSpec spec = {
        .socket = broker->socket,
        .group = "g",
        .pages = PAGES,
        .tells_held = TRUE,
        .on_node = on_node,
        .node = node,
    };
    KsmRemote *remote = ksm_remote_new(&spec);

    run_on(ksm_remote_pid(remote), runs_on);
    ksm_remote_fill(remote, 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    return remote;
}

/* Nothing in mappings with that word is on another node, and that much is. */
static void assert_on_node(KsmRemote *remote, const char *word, int node,
                           guint64 least)
{
    guint64 pages[NODES];

    count_pages(ksm_remote_pid(remote), word, pages);
    g_test_message("node %d, mappings with '%s': %" G_GUINT64_FORMAT " pages "
                   "on node 0, %" G_GUINT64_FORMAT " on node 1",
                   node, word, pages[0], pages[1]);
    g_assert_cmpuint(pages[!node], ==, 0);
    g_assert_cmpuint(pages[node], >=, least);
}

static gboolean has_given_back(gpointer opaque)
{
    KsmRemoteState state;

    ksm_remote_state(opaque, &state);
    return state.stats.given_back >= PAGES / 4;
}

/* Shared pages, copies of them, and what copies have become. */
static void check_places(KsmRemote *remote, int node)
{
    KsmRemoteState state;

    ksm_remote_state(remote, &state);
    g_assert_cmpuint(state.stats.pages_sharing, ==, PAGES);
    g_assert_cmpuint(state.stats.group_pages_shared, ==, PAGES);
    /* reading maps them */
    g_assert_cmpuint(ksm_remote_check(remote, 0, PAGES, KSM_TEST_SEEDED, SEED,
                                      TRUE),
                     ==, 0);
    assert_on_node(remote, "ksm-store", node, PAGES);

    /* the copies of a quarter are in the same mappings */
    ksm_remote_set_run(remote, KSM_RUN_PAUSE);
    ksm_remote_fill(remote, 0, PAGES / 4, KSM_TEST_SEEDED, SEED + PAGES, TRUE);
    assert_on_node(remote, "ksm-store", node, PAGES);
    ksm_remote_set_run(remote, KSM_RUN_RUN);
    g_assert_cmpfloat(ksm_test_wait(has_given_back, remote, SECONDS), >=, 0);
    assert_on_node(remote, " bind", node, PAGES);
    g_assert_cmpuint(ksm_remote_check(remote, 0, PAGES / 4, KSM_TEST_SEEDED,
                                      SEED + PAGES, TRUE),
                     ==, 0);
}

/* Two guests on each node: all have the same, and share it with one other. */
static void test_kept(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    KsmRemote *remotes[2 * NODES];
    guint i;

    if (!need_nodes()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    for (i = 0; i < 2 * NODES; i++) {
        int node = (int)i / 2;

        run_on(broker->pid, !node);
        remotes[i] = make(broker, TRUE, node, !node);
        if (i % 2) {
            ksm_remotes_settle(&remotes[i - 1], 2, 2 * PAGES, SECONDS);
        }
    }
    for (i = 0; i < 2 * NODES; i++) {
        check_places(remotes[i], (int)i / 2);
    }
    for (i = 0; i < 2 * NODES; i++) {
        ksm_remote_free(remotes[i]);
    }
}

/* Without being asked, the same memory is shared, and lies anywhere. */
static void test_across(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    KsmRemote *remotes[NODES];
    KsmRemoteState state;
    guint64 pages[NODES];
    int i;

    if (!need_nodes()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    for (i = 0; i < NODES; i++) {
        remotes[i] = make(broker, FALSE, 0, i);
        count_pages(ksm_remote_pid(remotes[i]), " anon=", pages);
        g_assert_cmpuint(pages[i], >=, PAGES);
    }
    ksm_remotes_settle(remotes, NODES, NODES * PAGES, SECONDS);
    for (i = 0; i < NODES; i++) {
        ksm_remote_state(remotes[i], &state);
        g_assert_cmpuint(state.stats.pages_sharing, ==, PAGES);
        g_assert_cmpuint(state.stats.group_pages_shared, ==, PAGES);
        ksm_remote_free(remotes[i]);
    }
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nodes/kept", test_kept);
    g_test_add_func("/nodes/across", test_across);
    return g_test_run();
}
