/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-discard.c: memory that its owner discards reads as zero, keeps no slot,
 * takes no memory (except what the host spends on reading it) and no mapping,
 * and can be shared again.
 *
 * Discarding in the midst of windows is in the oracle (test-oracle.c).
 */
#include "broker-proc.h"
#include "probe.h"
#include "remote-engine.h"
#include "require.h"
#include "zero-page.h"

#define REMOTES 2u
#define PAGES 1024u
#define SEED 77u
#define SETTLE_SECONDS 60.0

typedef struct Fixture {
    KsmTestBroker *broker;
    KsmTestProbe *probe;
    KsmRemote *remotes[REMOTES];
} Fixture;

/* Two processes that share everything. */
static void set_up(Fixture *s)
{
    KsmRemoteSpec spec = { .pages = PAGES, .tells_held = TRUE };
    guint i;

    s->broker = ksm_test_broker_new(NULL);
    s->probe = ksm_test_probe_new(s->broker->socket, "test");
    g_assert_nonnull(s->probe);
    spec.socket = s->broker->socket;
    ksm_remotes_new(s->remotes, REMOTES, &spec);
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_fill(s->remotes[i], 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    }
    g_assert_cmpuint(ksm_remotes_settle(s->remotes, REMOTES, REMOTES * PAGES,
                                        SETTLE_SECONDS),
                     ==, REMOTES * PAGES);
    ksm_remote_set_run(s->remotes[0], KSM_RUN_PAUSE);
    ksm_remote_set_run(s->remotes[1], KSM_RUN_PAUSE);
}

static void tear_down(Fixture *s)
{
    guint i;

    for (i = 0; i < REMOTES; i++) {
        ksm_remote_free(s->remotes[i]);
    }
    ksm_test_probe_free(s->probe);
    ksm_test_broker_free(s->broker);
}

/* Waits until the group has so many slots and references. */
static void wait_group(Fixture *s, guint64 slots, guint64 references)
{
    double end = ksm_test_now() + SETTLE_SECONDS;
    KsmMsgGroup group;

    do {
        g_assert_true(ksm_test_probe_read(s->probe, &group));
        g_usleep(10000);
    } while (
        (group.pages_shared != slots || group.pages_sharing != references) &&
        ksm_test_now() < end);
    g_assert_cmpuint(group.pages_shared, ==, slots);
    g_assert_cmpuint(group.pages_sharing, ==, references);
}

static void check_empty(KsmRemote *remote, guint first, guint count)
{
    g_assert_cmpuint(ksm_remote_check(remote, first, count, KSM_TEST_ZERO, 0,
                                      FALSE),
                     ==, 0);
}

/* Paused: nobody but ksm_region_discard() has been at work. */
static void test_slots_go(void)
{
    KsmRemoteState state;
    Fixture s;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&s);
    ksm_remote_discard(s.remotes[0], 0, PAGES / 2);
    ksm_remote_state(s.remotes[0], &state);
    g_assert_cmpuint(state.maps.anonymous_kib, ==, 0);
    check_empty(s.remotes[0], 0, PAGES / 2);
    wait_group(&s, PAGES, REMOTES * PAGES - PAGES / 2);
    ksm_remote_state(s.remotes[0], &state);
    g_assert_cmpuint(state.stats.pages_sharing, ==, PAGES / 2);
    g_assert_cmpuint(state.stats.mappings, ==, state.maps.mappings);
    g_assert_cmpuint(state.maps.anonymous_kib, ==,
                     ksm_test_read_cost_kib(PAGES / 2 * KSM_PAGE_BYTES));

    ksm_remote_discard(s.remotes[1], 0, PAGES);
    ksm_remote_discard(s.remotes[0], 0, PAGES);
    ksm_remote_state(s.remotes[0], &state);
    g_assert_cmpuint(state.maps.anonymous_kib, ==, 0);
    check_empty(s.remotes[0], 0, PAGES);
    wait_group(&s, 0, 0);
    g_assert_cmpuint(ksm_test_probe_store_bytes(s.probe), ==, 0);
    ksm_remote_state(s.remotes[0], &state);
    g_assert_cmpuint(state.stats.mappings, ==, 1);
    g_assert_cmpuint(state.maps.anonymous_kib, ==,
                     ksm_test_read_cost_kib(PAGES * KSM_PAGE_BYTES));
    tear_down(&s);
}

/* Every second page, and among them pages that had been written. */
static void test_between_others(void)
{
    Fixture s;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&s);
    ksm_remote_fill(s.remotes[0], 0, PAGES / 4, KSM_TEST_BYTE, 0xaa, FALSE);
    for (i = 0; i < PAGES; i += 2) {
        ksm_remote_discard(s.remotes[0], i, 1);
    }
    for (i = 0; i < PAGES; i += 2) {
        check_empty(s.remotes[0], i, 1);
        g_assert_cmpuint(ksm_remote_check(s.remotes[0], i + 1, 1,
                                          i < PAGES / 4 ? KSM_TEST_BYTE :
                                                          KSM_TEST_SEEDED,
                                          i < PAGES / 4 ? 0xaa : SEED + i + 1,
                                          FALSE),
                         ==, 0);
    }
    wait_group(&s, PAGES, REMOTES * PAGES - PAGES / 2);
    g_assert_cmpuint(ksm_remote_check(s.remotes[1], 0, PAGES, KSM_TEST_SEEDED,
                                      SEED, TRUE),
                     ==, 0);
    tear_down(&s);
}

/* What was discarded is used again, and shared as before. */
static void test_again(void)
{
    Fixture s;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&s);
    for (i = 0; i < 3; i++) {
        ksm_remote_discard(s.remotes[0], 0, PAGES);
        ksm_remote_fill(s.remotes[0], 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
        g_assert_cmpuint(ksm_remotes_settle(s.remotes, REMOTES, REMOTES * PAGES,
                                            SETTLE_SECONDS),
                         ==, REMOTES * PAGES);
        wait_group(&s, PAGES, REMOTES * PAGES);
    }
    g_assert_cmpuint(ksm_remote_check(s.remotes[0], 0, PAGES, KSM_TEST_SEEDED,
                                      SEED, TRUE),
                     ==, 0);
    tear_down(&s);
}

/*
 * Mapped anew behind the engine's back, which is then told: shared pages, and
 * one that was written.  What is written there later is tracked and shared, and
 * all is one mapping in between.
 */
static void test_remapped(void)
{
    KsmRemoteState state;
    Fixture s;

    if (!ksm_test_need_uffd()) {
        return;
    }
    set_up(&s);
    ksm_remote_fill(s.remotes[0], 10, 1, KSM_TEST_BYTE, 0xaa, FALSE);
    ksm_remote_remap(s.remotes[0], 10, 1);
    ksm_remote_remap(s.remotes[0], 100, 300);
    check_empty(s.remotes[0], 10, 1);
    check_empty(s.remotes[0], 100, 300);
    wait_group(&s, PAGES, REMOTES * PAGES - 301);
    ksm_remote_state(s.remotes[0], &state);
    g_assert_cmpuint(state.stats.pages_sharing, ==, PAGES - 301);
    g_assert_cmpuint(state.stats.mappings, ==, state.maps.mappings);

    ksm_remote_remap(s.remotes[0], 0, PAGES);
    check_empty(s.remotes[0], 0, PAGES);
    wait_group(&s, PAGES, PAGES);
    ksm_remote_state(s.remotes[0], &state);
    g_assert_cmpuint(state.maps.mappings, ==, 1);
    ksm_remote_fill(s.remotes[0], 0, PAGES, KSM_TEST_SEEDED, SEED, TRUE);
    g_assert_cmpuint(ksm_remotes_settle(s.remotes, REMOTES, REMOTES * PAGES,
                                        SETTLE_SECONDS),
                     ==, REMOTES * PAGES);
    wait_group(&s, PAGES, REMOTES * PAGES);
    g_assert_cmpuint(ksm_remote_check(s.remotes[0], 0, PAGES, KSM_TEST_SEEDED,
                                      SEED, TRUE),
                     ==, 0);
    tear_down(&s);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/discard/slots-go", test_slots_go);
    g_test_add_func("/discard/between-others", test_between_others);
    g_test_add_func("/discard/again", test_again);
    g_test_add_func("/discard/remapped", test_remapped);
    return g_test_run();
}
