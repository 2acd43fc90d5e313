/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-huge.c: keep_huge: which huge pages stay whole, which are shared, and
 * that nothing is lost by it.  Two processes; the second one has the duplicates.
 */
#include "broker-proc.h"
#include "remote-engine.h"
#include "require.h"
#include "swap.h"
#include "zero-page.h"

#define BLOCK 512u
#define BLOCK_KIB 2048u
#define KEEP 64u
#define LEFT (KEEP / 2)
#define BLOCKS 4u
#define PAGES (BLOCKS * BLOCK)
#define UNIQUE(n) ((guint64)(n) << 32)
#define COMMON 7u
#define MAX_ROUNDS 200
#define SWAP_MIB 64u

typedef struct Fixture {
    KsmTestBroker *broker;
    KsmRemote *remotes[2];
    KsmRemoteState state; /* of the first one */
    guint64 kept[2];      /* pages_kept_huge of both */
    guint64 written;      /* rounds with writes, so far */
} Fixture;

static void look(Fixture *fixture)
{
    ksm_remote_state(fixture->remotes[1], &fixture->state);
    fixture->kept[1] = fixture->state.stats.pages_kept_huge;
    ksm_remote_state(fixture->remotes[0], &fixture->state);
    fixture->kept[0] = fixture->state.stats.pages_kept_huge;
}

/*
 * The first process lists its pages and hears no more of them; it is the second
 * one that finds duplicates and keeps them.  Zeros both find, each by itself;
 * where they are shared like other pages, the first of all is a listed one.
 */
static void check_kept(const Fixture *fixture, guint64 duplicates,
                       guint64 zeros)
{
    g_assert_cmpuint(fixture->kept[0], ==,
                     zeros - (zeros && !ksm_test_has_zero_page()));
    g_assert_cmpuint(fixture->kept[1], ==, duplicates + zeros);
}

/* Both have unique pages; FALSE: the machine has no huge pages to give. */
static gboolean fixture_begin(Fixture *fixture, guint keep_huge)
{
    KsmRemoteSpec spec = {
        .pages = PAGES,
        .flags = KSM_REGION_HUGEPAGE,
        .keep_huge = keep_huge,
        .tells_held = TRUE,
    };
    guint i;

    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    fixture->broker = ksm_test_broker_new(NULL);
    spec.socket = fixture->broker->socket;
    ksm_remotes_new(fixture->remotes, 2, &spec);
    for (i = 0; i < 2; i++) {
        ksm_remote_fill(fixture->remotes[i], 0, PAGES, KSM_TEST_SEEDED,
                        UNIQUE(i + 1), TRUE);
    }
    look(fixture);
    return TRUE;
}

static void fixture_end(Fixture *fixture)
{
    ksm_remote_free(fixture->remotes[0]);
    ksm_remote_free(fixture->remotes[1]);
    ksm_test_broker_free(fixture->broker);
}

static gboolean fixture_has_huge(Fixture *fixture)
{
    if (fixture->state.maps.huge_kib == BLOCKS * BLOCK_KIB) {
        return TRUE;
    }
    ksm_test_lacks("thp", "memory that asks for huge pages gets none");
    fixture_end(fixture);
    return FALSE;
}

/* The same in both. */
static void fill_common(Fixture *fixture, guint64 first, guint64 count)
{
    guint i;

    for (i = 0; i < 2; i++) {
        ksm_remote_fill(fixture->remotes[i], first, count, KSM_TEST_SEEDED,
                        COMMON, TRUE);
    }
}

static void check_common(Fixture *fixture, guint64 first, guint64 count)
{
    guint i;

    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(ksm_remote_check(fixture->remotes[i], first, count,
                                          KSM_TEST_SEEDED, COMMON, TRUE),
                         ==, 0);
    }
}

static void pass_round(Fixture *fixture)
{
    ksm_remote_round(fixture->remotes[0]);
    ksm_remote_round(fixture->remotes[1]);
    look(fixture);
}

static void pass_rounds(Fixture *fixture, guint rounds)
{
    while (rounds--) {
        pass_round(fixture);
    }
}

/* A round in which all of block 0 is written. */
static void pass_hot_round(Fixture *fixture)
{
    fixture->written++;
    ksm_remote_fill(fixture->remotes[0], 0, BLOCK, KSM_TEST_SEEDED,
                    UNIQUE(100 + fixture->written), TRUE);
    pass_round(fixture);
}

static void check_hot(Fixture *fixture)
{
    g_assert_cmpuint(ksm_remote_check(fixture->remotes[0], 0, BLOCK,
                                      KSM_TEST_SEEDED,
                                      UNIQUE(100 + fixture->written), TRUE),
                     ==, 0);
}

/* Until its block 0 rests; what was written then is right. */
static void heat(Fixture *fixture)
{
    guint i;

    for (i = 0; i < MAX_ROUNDS && !fixture->state.stats.pages_parked; i++) {
        pass_hot_round(fixture);
    }
    g_assert_cmpuint(fixture->state.stats.pages_parked, ==, BLOCK);
    check_hot(fixture);
}

/* Without the policy, tracking alone splits what is written. */
static void test_off(void)
{
    Fixture fixture = { 0 };

    if (!fixture_begin(&fixture, 0) || !fixture_has_huge(&fixture)) {
        return;
    }
    pass_round(&fixture);
    g_assert_cmpuint(fixture.state.maps.huge_kib, ==, BLOCKS * BLOCK_KIB);
    pass_hot_round(&fixture);
    g_assert_cmpuint(fixture.state.maps.huge_kib, ==, (BLOCKS - 1) * BLOCK_KIB);
    fixture_end(&fixture);
}

/* A block that is written all the time is huge, duplicates beside it go. */
static void test_hot(void)
{
    Fixture fixture = { 0 };
    guint64 fingerprints;
    guint huge = 0, i;

    if (!fixture_begin(&fixture, KEEP) || !fixture_has_huge(&fixture)) {
        return;
    }
    fill_common(&fixture, BLOCK, 2 * BLOCK);
    for (i = 0; i < 6; i++) {
        pass_hot_round(&fixture);
    }
    heat(&fixture);
    g_assert_cmpuint(fixture.state.stats.collapses, >=, 1);
    g_assert_cmpuint(fixture.state.stats.pages_sharing, ==, 2 * BLOCK);
    g_assert_cmpuint(fixture.state.maps.huge_kib, ==, 2 * BLOCK_KIB);
    /* Parked, it costs nothing to be written. */
    fingerprints = fixture.state.stats.fingerprints;
    pass_hot_round(&fixture);
    g_assert_cmpuint(fixture.state.stats.fingerprints, ==, fingerprints);
    for (i = 0; i < 60; i++) {
        pass_hot_round(&fixture);
        huge += fixture.state.maps.huge_kib == 2 * BLOCK_KIB;
    }
    g_test_message("huge in %u of 60 rounds, %" G_GUINT64_FORMAT " collapses",
                   huge, fixture.state.stats.collapses);
    g_assert_cmpuint(huge, >=, 45);
    check_hot(&fixture);
    check_common(&fixture, BLOCK, 2 * BLOCK);
    fixture_end(&fixture);
}

/* Written here and there, nothing to be shared: huge most of the time. */
static void test_warm(void)
{
    Fixture fixture = { 0 };
    guint huge = 0, i;

    if (!fixture_begin(&fixture, KEEP) || !fixture_has_huge(&fixture)) {
        return;
    }
    for (i = 0; i < 100; i++) {
        ksm_remote_fill(fixture.remotes[0], i % BLOCK, 1, KSM_TEST_SEEDED,
                        UNIQUE(50 + i), TRUE);
        pass_round(&fixture);
        huge += fixture.state.maps.huge_kib == BLOCKS * BLOCK_KIB;
    }
    g_test_message("huge in %u of 100 rounds", huge);
    g_assert_cmpuint(huge, >=, 60);
    g_assert_cmpuint(ksm_remote_check(fixture.remotes[0], 99, 1,
                                      KSM_TEST_SEEDED, UNIQUE(149), TRUE),
                     ==, 0);
    fixture_end(&fixture);
}

/* A hot block that holds duplicates when it calms is shared. */
static void test_calms(void)
{
    Fixture fixture = { 0 };
    guint i;

    if (!fixture_begin(&fixture, KEEP) || !fixture_has_huge(&fixture)) {
        return;
    }
    pass_rounds(&fixture, 3);
    heat(&fixture);
    /* Written while it rests, and never again. */
    fill_common(&fixture, 0, BLOCK);
    pass_round(&fixture);
    g_assert_cmpuint(fixture.state.stats.pages_parked, ==, BLOCK);
    for (i = 0; i < MAX_ROUNDS && fixture.state.stats.pages_sharing < BLOCK;
         i++) {
        pass_round(&fixture);
    }
    g_test_message("shared after %u rounds", i);
    g_assert_cmpuint(fixture.state.stats.pages_sharing, ==, BLOCK);
    g_assert_cmpuint(fixture.state.stats.pages_parked, ==, 0);
    check_common(&fixture, 0, BLOCK);
    fixture_end(&fixture);
}

/*
 * Pages that are listed when their block is parked, are written, and go to
 * swap, so that the kernel says nothing of them: written when the rest is over.
 */
static void test_swapped(void)
{
    Fixture fixture = { 0 };
    KsmTestSwap *swap;
    guint64 rss, i;

    if (!fixture_begin(&fixture, KEEP) || !fixture_has_huge(&fixture)) {
        return;
    }
    swap = ksm_test_swap_on(SWAP_MIB);
    pass_rounds(&fixture, 3);
    for (i = 0; i < MAX_ROUNDS && !fixture.state.stats.pages_parked; i++) {
        ksm_remote_fill(fixture.remotes[0], i, 1, KSM_TEST_SEEDED, UNIQUE(50),
                        TRUE);
        pass_round(&fixture);
    }
    g_assert_cmpuint(fixture.state.stats.pages_unshared, >,
                     (BLOCKS - 1) * BLOCK);
    ksm_remote_fill(fixture.remotes[0], 100, 50, KSM_TEST_SEEDED, COMMON, TRUE);
    rss = fixture.state.maps.rss_kib;
    ksm_remote_page_out(fixture.remotes[0], 0, BLOCK);
    for (i = 0; i < MAX_ROUNDS && fixture.state.stats.pages_parked; i++) {
        pass_round(&fixture);
    }
    g_test_message("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                   " KiB still there",
                   fixture.state.maps.rss_kib, rss);
    if (swap) {
        g_assert_cmpuint(fixture.state.maps.rss_kib, <, rss - BLOCK_KIB / 2);
    }
    g_assert_cmpuint(fixture.state.stats.pages_unshared, <=,
                     (BLOCKS - 1) * BLOCK);
    g_assert_cmpuint(ksm_remote_check(fixture.remotes[0], 100, 50,
                                      KSM_TEST_SEEDED, COMMON, TRUE),
                     ==, 0);
    fixture_end(&fixture);
    ksm_test_swap_off(swap);
}

/* So many duplicates, or zeros, are not worth a huge page; one more is. */
static void test_threshold(gconstpointer zeros)
{
    KsmTestKind kind = zeros ? KSM_TEST_ZERO : KSM_TEST_SEEDED;
    guint64 more = zeros && !ksm_test_has_zero_page() ? 1 + 2 : 1, looked;
    Fixture fixture = { 0 };
    guint i;

    if (!fixture_begin(&fixture, KEEP) || !fixture_has_huge(&fixture)) {
        return;
    }
    fill_common(&fixture, BLOCK, KEEP / 2);
    for (i = 0; i < 2; i++) {
        ksm_remote_fill(fixture.remotes[i], BLOCK + KEEP / 2, KEEP / 2, kind,
                        COMMON, TRUE);
    }
    pass_rounds(&fixture, 6);
    g_assert_cmpuint(fixture.state.stats.pages_sharing +
                         fixture.state.stats.zero_pages,
                     ==, 0);
    check_kept(&fixture, zeros ? KEEP / 2 : KEEP, zeros ? KEEP / 2 : 0);
    g_assert_cmpuint(fixture.state.maps.huge_kib, ==, BLOCKS * BLOCK_KIB);
    /* Nothing is written: nothing is looked at. */
    looked = fixture.state.stats.fingerprints;
    pass_rounds(&fixture, 40);
    g_assert_cmpuint(fixture.state.stats.fingerprints, ==, looked);
    check_kept(&fixture, zeros ? KEEP / 2 : KEEP, zeros ? KEEP / 2 : 0);
    /* Not even while others are. */
    ksm_remote_state(fixture.remotes[1], &fixture.state);
    looked = fixture.state.stats.fingerprints;
    for (i = 0; i < 5; i++) {
        ksm_remote_fill(fixture.remotes[1], i, 1, KSM_TEST_SEEDED, UNIQUE(9),
                        TRUE);
        ksm_remote_round(fixture.remotes[1]);
    }
    ksm_remote_state(fixture.remotes[1], &fixture.state);
    g_assert_cmpuint(fixture.state.stats.fingerprints, <=, looked + 5);
    /* One more, and those that may be listed: they count as no duplicates. */
    for (i = 0; i < 2; i++) {
        ksm_remote_fill(fixture.remotes[i], 2 * BLOCK - more, more, kind,
                        COMMON, TRUE);
    }
    pass_rounds(&fixture, 8);
    g_assert_cmpuint(fixture.state.stats.pages_sharing +
                         fixture.state.stats.zero_pages,
                     ==, KEEP + more);
    check_kept(&fixture, 0, 0);
    g_assert_cmpuint(fixture.state.maps.huge_kib, ==, (BLOCKS - 1) * BLOCK_KIB);
    check_common(&fixture, BLOCK, KEEP / 2);
    fixture_end(&fixture);
}

/*
 * Some pages are still shared, or given back as zero, of a block that is hot now:
 * they are taken back, and it is huge again.
 */
static void test_leftovers(gconstpointer zeros)
{
    KsmTestKind kind = zeros ? KSM_TEST_ZERO : KSM_TEST_SEEDED;
    Fixture fixture = { 0 };
    guint i;

    if (!fixture_begin(&fixture, KEEP) || !fixture_has_huge(&fixture)) {
        return;
    }
    for (i = 0; i < 2; i++) {
        ksm_remote_fill(fixture.remotes[i], 0, BLOCK, kind, COMMON, TRUE);
    }
    pass_rounds(&fixture, 6);
    g_assert_cmpuint(fixture.state.stats.pages_sharing +
                         fixture.state.stats.zero_pages,
                     ==, BLOCK);
    for (i = 0; i < MAX_ROUNDS && !fixture.state.stats.pages_parked; i++) {
        ksm_remote_fill(fixture.remotes[0], LEFT, BLOCK - LEFT, KSM_TEST_SEEDED,
                        UNIQUE(200 + i), TRUE);
        pass_round(&fixture);
    }
    g_test_message("rests after %u rounds", i);
    g_assert_cmpuint(fixture.state.stats.pages_parked, ==, BLOCK);
    g_assert_cmpuint(fixture.state.stats.pages_sharing +
                         fixture.state.stats.zero_pages,
                     ==, 0);
    g_assert_cmpuint(fixture.state.maps.huge_kib, ==, BLOCKS * BLOCK_KIB);
    g_assert_cmpuint(ksm_remote_check(fixture.remotes[0], 0, LEFT, kind, COMMON,
                                      TRUE),
                     ==, 0);
    g_assert_cmpuint(ksm_remote_check(fixture.remotes[0], LEFT, BLOCK - LEFT,
                                      KSM_TEST_SEEDED, UNIQUE(200 + i - 1),
                                      TRUE),
                     ==, 0);
    fixture_end(&fixture);
}

/* Kept pages are shared when something else has split their huge page. */
static void test_split_by_others(void)
{
    Fixture fixture = { 0 };
    guint i;

    if (!fixture_begin(&fixture, KEEP) || !fixture_has_huge(&fixture)) {
        return;
    }
    fill_common(&fixture, BLOCK, KEEP);
    pass_rounds(&fixture, 6);
    check_kept(&fixture, KEEP, 0);
    /* Kept itself, so that the engine does not hear of it. */
    for (i = 0; i < 2; i++) {
        ksm_remote_discard(fixture.remotes[i], BLOCK, 1);
    }
    pass_rounds(&fixture, 24);
    check_kept(&fixture, 0, 0);
    g_assert_cmpuint(fixture.state.stats.pages_sharing, ==, KEEP - 1);
    check_common(&fixture, BLOCK + 1, KEEP - 1);
    fixture_end(&fixture);
}

/* It can be switched off, and on, at any time. */
static void test_switch(void)
{
    Fixture fixture = { 0 };
    guint i;

    if (!fixture_begin(&fixture, KEEP) || !fixture_has_huge(&fixture)) {
        return;
    }
    fill_common(&fixture, BLOCK, KEEP);
    heat(&fixture);
    pass_rounds(&fixture, 4);
    check_kept(&fixture, KEEP, 0);
    for (i = 0; i < 2; i++) {
        ksm_remote_set_keep_huge(fixture.remotes[i], 0);
    }
    pass_rounds(&fixture, 4);
    check_kept(&fixture, 0, 0);
    g_assert_cmpuint(fixture.state.stats.pages_parked, ==, 0);
    g_assert_cmpuint(fixture.state.stats.pages_sharing, ==, KEEP);
    pass_hot_round(&fixture);
    check_hot(&fixture);
    check_common(&fixture, BLOCK, KEEP);
    ksm_remote_set_keep_huge(fixture.remotes[0], KEEP);
    heat(&fixture);
    fixture_end(&fixture);
}

int main(int argc, char **argv)
{
    static const gboolean zeros = TRUE;

    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/huge/off", test_off);
    g_test_add_func("/huge/hot", test_hot);
    g_test_add_func("/huge/warm", test_warm);
    g_test_add_func("/huge/calms", test_calms);
    g_test_add_func("/huge/swapped", test_swapped);
    g_test_add_data_func("/huge/threshold", NULL, test_threshold);
    g_test_add_data_func("/huge/threshold-zeros", &zeros, test_threshold);
    g_test_add_data_func("/huge/leftovers", NULL, test_leftovers);
    g_test_add_data_func("/huge/leftovers-zero", &zeros, test_leftovers);
    g_test_add_func("/huge/split-by-others", test_split_by_others);
    g_test_add_func("/huge/switch", test_switch);
    return g_test_run();
}
