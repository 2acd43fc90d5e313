/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-groups.c: two groups share nothing, however alike their memory is; two
 * processes of one group do.  The same for a group's NUMA nodes.
 */
#include <inttypes.h>

#include "broker-proc.h"
#include "remote-engine.h"
#include "require.h"

#define PAGES 2048
#define SEED 4711
#define SHARED (PAGES / 4 * 3)
#define ROUNDS 12
#define SECONDS 30.0

#define ANY (-1)

static KsmRemote *make(KsmTestBroker *broker, const char *group, int node)
{
    KsmRemoteSpec spec = {
        .socket = broker->socket,
        .group = group,
        .pages = PAGES,
        .run = KSM_RUN_RUN,
        .tells_held = TRUE,
        .on_node = node != ANY,
        .node = node,
    };
    KsmRemote *remote = ksm_remote_new(&spec);

    ksm_remote_fill(remote, 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    return remote;
}

static gboolean all_listed(gpointer opaque)
{
    KsmRemoteState state;

    ksm_remote_state(opaque, &state);
    return state.stats.pages_unshared == PAGES;
}

/* Has listed all of its pages and found nothing in several more rounds. */
static void assert_alone(KsmRemote *remote, const char *group)
{
    KsmRemoteState state;
    guint i;

    if (ksm_test_wait(all_listed, remote, SECONDS) < 0) {
        ksm_remote_state(remote, &state);
        g_error("%s: %" PRIu64 " of %u pages are listed", group,
                state.stats.pages_unshared, PAGES);
    }
    for (i = 0; i < ROUNDS; i++) {
        ksm_remote_round(remote);
    }
    ksm_remote_state(remote, &state);
    g_assert_cmpuint(state.stats.pages_unshared, ==, PAGES);
    g_assert_cmpuint(state.stats.pages_sharing, ==, 0);
    g_assert_cmpuint(state.stats.merges, ==, 0);
    g_assert_cmpuint(state.stats.publishes, ==, 0);
    g_assert_cmpuint(state.stats.deferred_results, ==, 0);
    g_assert_cmpuint(state.stats.group_pages_shared, ==, 0);
    g_assert_cmpuint(state.stats.group_pages_sharing, ==, 0);
    g_assert_cmpuint(state.stats.group_pages_unshared, ==, PAGES);
    g_assert_cmpuint(state.maps.file_mappings, ==, 0);
}

typedef struct Place {
    const char *group;
    int node;
} Place;

/* What a pair in one place has, nobody in another place is told of. */
static void share_nothing(const Place *place, const Place *elsewhere)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    KsmRemote *pair[2];
    KsmRemote *other;
    KsmRemoteState state;
    guint i;

    pair[0] = make(broker, place->group, place->node);
    other = make(broker, elsewhere->group, elsewhere->node);
    assert_alone(pair[0], place->group);
    assert_alone(other, elsewhere->group);
    /* The same content in the same place is found at once. */
    pair[1] = make(broker, place->group, place->node);
    ksm_remotes_settle(pair, 2, 2 * PAGES, SECONDS);
    for (i = 0; i < 2; i++) {
        ksm_remote_state(pair[i], &state);
        g_assert_cmpuint(state.stats.pages_sharing, ==, PAGES);
        g_assert_cmpuint(state.stats.group_pages_shared, ==, PAGES);
        g_assert_cmpuint(ksm_remote_check(pair[i], 0, PAGES, KSM_TEST_SEEDED,
                                          SEED, TRUE),
                         ==, 0);
    }
    assert_alone(other, elsewhere->group);
    g_assert_cmpuint(ksm_remote_check(other, 0, PAGES, KSM_TEST_SEEDED, SEED,
                                      TRUE),
                     ==, 0);
    ksm_remote_free(pair[0]);
    ksm_remote_free(pair[1]);
    ksm_remote_free(other);
}

static void test_groups(void)
{
    const Place red = { "red", ANY }, blue = { "blue", ANY };

    if (ksm_test_need_uffd()) {
        share_nothing(&red, &blue);
    }
}

/* One node is enough, as those of all nodes have a place of their own. */
static void test_nodes(void)
{
    const Place one = { "red", 0 }, any = { "red", ANY };

    if (ksm_test_need_uffd() && ksm_test_need_numa()) {
        share_nothing(&one, &any);
        share_nothing(&any, &one);
    }
}

static gboolean has_given_back(gpointer opaque)
{
    KsmRemoteState state;

    ksm_remote_state(opaque, &state);
    return state.stats.given_back >= PAGES / 4;
}

static gboolean has_nothing_shared(gpointer opaque)
{
    KsmRemoteState state;

    ksm_remote_state(opaque, &state);
    return state.stats.pages_sharing + state.stats.pages_broken == 0;
}

/*
 * Pages that are given back have the policy of their neighbours: else each
 * would stay a mapping of its own, which the engine does not count.
 */
static void test_given_back(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    KsmRemote *pair[2];
    KsmRemoteState state;
    guint i;

    if (!ksm_test_need_uffd() || !ksm_test_need_numa()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    pair[0] = make(broker, "red", 0);
    pair[1] = make(broker, "red", 0);
    /* Every fourth page is never shared, another is broken later. */
    for (i = 0; i < PAGES; i += 4) {
        ksm_remote_fill(pair[0], i, 1, KSM_TEST_SEEDED, SEED + PAGES, TRUE);
    }
    ksm_remotes_settle(pair, 2, 2 * SHARED, SECONDS);
    for (i = 2; i < PAGES; i += 4) {
        ksm_remote_fill(pair[0], i, 1, KSM_TEST_SEEDED, SEED + PAGES, TRUE);
    }
    g_assert_cmpfloat(ksm_test_wait(has_given_back, pair[0], SECONDS), >=, 0);
    ksm_remote_state(pair[0], &state);
    g_assert_cmpuint(state.maps.mappings, ==, state.stats.mappings);
    g_assert_cmpuint(state.maps.mappings, >, PAGES / 4);
    ksm_remote_discard(pair[0], 1, 2);
    ksm_remote_set_run(pair[0], KSM_RUN_UNMERGE);
    g_assert_cmpfloat(ksm_test_wait(has_nothing_shared, pair[0], SECONDS), >=,
                      0);
    ksm_remote_state(pair[0], &state);
    g_assert_cmpuint(state.stats.mappings, ==, 1);
    g_assert_cmpuint(state.maps.mappings, ==, 1);
    ksm_remote_free(pair[0]);
    ksm_remote_free(pair[1]);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/groups/share-nothing", test_groups);
    g_test_add_func("/groups/nodes", test_nodes);
    g_test_add_func("/groups/given-back", test_given_back);
    return g_test_run();
}
