/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-groups.c: two groups share nothing, however alike their memory is; two
 * processes of one group do.
 */
#include <inttypes.h>

#include "broker-proc.h"
#include "puppet.h"
#include "require.h"

#define PAGES 2048
#define SEED 4711
#define ROUNDS 12
#define SECONDS 30.0

static KsmPuppet *make(KsmTestBroker *broker, const char *group)
{
    KsmPuppetSpec spec = {
        .socket = broker->socket, .group = group, .pages = PAGES,
        .run = KSM_RUN_RUN,
    };
    KsmPuppet *puppet = ksm_puppet_new(&spec);

    ksm_puppet_fill(puppet, 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    return puppet;
}

static gboolean all_listed(gpointer opaque)
{
    KsmPuppetState state;

    ksm_puppet_state(opaque, &state);
    return state.stats.pages_unshared == PAGES;
}

/* Has listed all of its pages and found nothing in several more rounds. */
static void assert_alone(KsmPuppet *puppet, const char *group)
{
    KsmPuppetState state;
    guint i;

    if (ksm_test_wait(all_listed, puppet, SECONDS) < 0) {
        ksm_puppet_state(puppet, &state);
        g_error("%s: %" PRIu64 " of %u pages are listed", group,
                state.stats.pages_unshared, PAGES);
    }
    for (i = 0; i < ROUNDS; i++) {
        ksm_puppet_round(puppet);
    }
    ksm_puppet_state(puppet, &state);
    g_assert_cmpuint(state.stats.pages_unshared, ==, PAGES);
    g_assert_cmpuint(state.stats.pages_sharing, ==, 0);
    g_assert_cmpuint(state.stats.merges, ==, 0);
    g_assert_cmpuint(state.stats.publishes, ==, 0);
    g_assert_cmpuint(state.stats.hints, ==, 0);
    g_assert_cmpuint(state.stats.group_pages_shared, ==, 0);
    g_assert_cmpuint(state.stats.group_pages_sharing, ==, 0);
    g_assert_cmpuint(state.stats.group_pages_unshared, ==, PAGES);
    g_assert_cmpuint(state.maps.file_mappings, ==, 0);
}

static void test_groups(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    KsmPuppet *pair[2];
    KsmPuppet *other;
    KsmPuppetState state;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    broker = ksm_test_broker_new(NULL);
    pair[0] = make(broker, "red");
    other = make(broker, "blue");
    assert_alone(pair[0], "red");
    assert_alone(other, "blue");
    /* The same content in the same group is found at once. */
    pair[1] = make(broker, "red");
    ksm_puppets_settle(pair, 2, 2 * PAGES, SECONDS);
    for (i = 0; i < 2; i++) {
        ksm_puppet_state(pair[i], &state);
        g_assert_cmpuint(state.stats.pages_sharing, ==, PAGES);
        g_assert_cmpuint(state.stats.group_pages_shared, ==, PAGES);
        g_assert_cmpuint(ksm_puppet_check(pair[i], 0, PAGES, KSM_TEST_SEEDED,
                                          SEED, TRUE), ==, 0);
    }
    assert_alone(other, "blue");
    g_assert_cmpuint(ksm_puppet_check(other, 0, PAGES, KSM_TEST_SEEDED, SEED,
                                      TRUE), ==, 0);
    ksm_puppet_free(pair[0]);
    ksm_puppet_free(pair[1]);
    ksm_puppet_free(other);
}

int main(int argc, char **argv)
{
    ksm_puppet_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/groups/share-nothing", test_groups);
    return g_test_run();
}
