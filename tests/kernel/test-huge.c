/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-huge.c: keep_huge: which huge pages stay whole, which are shared, and
 * that nothing is lost by it.  Two processes; the second one has the duplicates.
 */
#include "broker-proc.h"
#include "puppet.h"
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
#define MOST_ROUNDS 200
#define SWAP_MIB 64u

typedef struct Scene {
    KsmTestBroker *broker;
    KsmPuppet *puppets[2];
    KsmPuppetState state;       /* of the first one */
    guint64 kept[2];            /* pages_kept_huge of both */
    guint64 written;            /* rounds with writes, so far */
} Scene;

static void look(Scene *scene)
{
    ksm_puppet_state(scene->puppets[1], &scene->state);
    scene->kept[1] = scene->state.stats.pages_kept_huge;
    ksm_puppet_state(scene->puppets[0], &scene->state);
    scene->kept[0] = scene->state.stats.pages_kept_huge;
}

/*
 * The first process lists its pages and hears no more of them; it is the second
 * one that finds duplicates and keeps them.  Zeros both find, each by itself;
 * where they are shared like other pages, the first of all is a listed one.
 */
static void check_kept(const Scene *scene, guint64 duplicates, guint64 zeros)
{
    g_assert_cmpuint(scene->kept[0], ==,
                     zeros - (zeros && !ksm_test_has_zero_page()));
    g_assert_cmpuint(scene->kept[1], ==, duplicates + zeros);
}

/* Both have unique pages; FALSE: the machine has no huge pages to give. */
static gboolean scene_begin(Scene *scene, guint keep_huge)
{
    KsmPuppetSpec spec = {
        .pages = PAGES, .flags = KSM_REGION_HUGEPAGE,
        .keep_huge = keep_huge, .tells_held = TRUE,
    };
    guint i;

    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    scene->broker = ksm_test_broker_new(NULL);
    spec.socket = scene->broker->socket;
    ksm_puppets_new(scene->puppets, 2, &spec);
    for (i = 0; i < 2; i++) {
        ksm_puppet_fill(scene->puppets[i], 0, PAGES, KSM_TEST_SEEDED,
                        UNIQUE(i + 1), TRUE);
    }
    look(scene);
    return TRUE;
}

static void scene_end(Scene *scene)
{
    ksm_puppet_free(scene->puppets[0]);
    ksm_puppet_free(scene->puppets[1]);
    ksm_test_broker_free(scene->broker);
}

static gboolean scene_has_huge(Scene *scene)
{
    if (scene->state.maps.huge_kib == BLOCKS * BLOCK_KIB) {
        return TRUE;
    }
    ksm_test_lacks("thp", "memory that asks for huge pages gets none");
    scene_end(scene);
    return FALSE;
}

/* The same in both. */
static void fill_common(Scene *scene, guint64 first, guint64 count)
{
    guint i;

    for (i = 0; i < 2; i++) {
        ksm_puppet_fill(scene->puppets[i], first, count, KSM_TEST_SEEDED,
                        COMMON, TRUE);
    }
}

static void check_common(Scene *scene, guint64 first, guint64 count)
{
    guint i;

    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(ksm_puppet_check(scene->puppets[i], first, count,
                                          KSM_TEST_SEEDED, COMMON, TRUE), ==,
                         0);
    }
}

static void pass_round(Scene *scene)
{
    ksm_puppet_round(scene->puppets[0]);
    ksm_puppet_round(scene->puppets[1]);
    look(scene);
}

static void pass_rounds(Scene *scene, guint rounds)
{
    while (rounds--) {
        pass_round(scene);
    }
}

/* A round in which all of block 0 is written. */
static void pass_hot_round(Scene *scene)
{
    scene->written++;
    ksm_puppet_fill(scene->puppets[0], 0, BLOCK, KSM_TEST_SEEDED,
                    UNIQUE(100 + scene->written), TRUE);
    pass_round(scene);
}

static void check_hot(Scene *scene)
{
    g_assert_cmpuint(ksm_puppet_check(scene->puppets[0], 0, BLOCK,
                                      KSM_TEST_SEEDED,
                                      UNIQUE(100 + scene->written), TRUE), ==,
                     0);
}

/* Until its block 0 rests; what was written then is right. */
static void heat(Scene *scene)
{
    guint i;

    for (i = 0; i < MOST_ROUNDS && !scene->state.stats.pages_resting; i++) {
        pass_hot_round(scene);
    }
    g_assert_cmpuint(scene->state.stats.pages_resting, ==, BLOCK);
    check_hot(scene);
}

/* Without the policy, tracking alone splits what is written. */
static void test_off(void)
{
    Scene scene = { 0 };

    if (!scene_begin(&scene, 0) || !scene_has_huge(&scene)) {
        return;
    }
    pass_round(&scene);
    g_assert_cmpuint(scene.state.maps.huge_kib, ==, BLOCKS * BLOCK_KIB);
    pass_hot_round(&scene);
    g_assert_cmpuint(scene.state.maps.huge_kib, ==,
                     (BLOCKS - 1) * BLOCK_KIB);
    scene_end(&scene);
}

/* A block that is written all the time is huge, duplicates beside it go. */
static void test_hot(void)
{
    Scene scene = { 0 };
    guint64 fingerprints;
    guint huge = 0, i;

    if (!scene_begin(&scene, KEEP) || !scene_has_huge(&scene)) {
        return;
    }
    fill_common(&scene, BLOCK, 2 * BLOCK);
    for (i = 0; i < 6; i++) {
        pass_hot_round(&scene);
    }
    heat(&scene);
    g_assert_cmpuint(scene.state.stats.collapses, >=, 1);
    g_assert_cmpuint(scene.state.stats.pages_sharing, ==, 2 * BLOCK);
    g_assert_cmpuint(scene.state.maps.huge_kib, ==, 2 * BLOCK_KIB);
    /* At rest it costs nothing to be written. */
    fingerprints = scene.state.stats.fingerprints;
    pass_hot_round(&scene);
    g_assert_cmpuint(scene.state.stats.fingerprints, ==, fingerprints);
    for (i = 0; i < 60; i++) {
        pass_hot_round(&scene);
        huge += scene.state.maps.huge_kib == 2 * BLOCK_KIB;
    }
    g_test_message("huge in %u of 60 rounds, %" G_GUINT64_FORMAT
                   " collapses", huge, scene.state.stats.collapses);
    g_assert_cmpuint(huge, >=, 45);
    check_hot(&scene);
    check_common(&scene, BLOCK, 2 * BLOCK);
    scene_end(&scene);
}

/* Written here and there, nothing to be shared: huge most of the time. */
static void test_warm(void)
{
    Scene scene = { 0 };
    guint huge = 0, i;

    if (!scene_begin(&scene, KEEP) || !scene_has_huge(&scene)) {
        return;
    }
    for (i = 0; i < 100; i++) {
        ksm_puppet_fill(scene.puppets[0], i % BLOCK, 1, KSM_TEST_SEEDED,
                        UNIQUE(50 + i), TRUE);
        pass_round(&scene);
        huge += scene.state.maps.huge_kib == BLOCKS * BLOCK_KIB;
    }
    g_test_message("huge in %u of 100 rounds", huge);
    g_assert_cmpuint(huge, >=, 60);
    g_assert_cmpuint(ksm_puppet_check(scene.puppets[0], 99, 1,
                                      KSM_TEST_SEEDED, UNIQUE(149), TRUE), ==,
                     0);
    scene_end(&scene);
}

/* A hot block that holds duplicates when it calms is shared. */
static void test_calms(void)
{
    Scene scene = { 0 };
    guint i;

    if (!scene_begin(&scene, KEEP) || !scene_has_huge(&scene)) {
        return;
    }
    pass_rounds(&scene, 3);
    heat(&scene);
    /* Written while it rests, and never again. */
    fill_common(&scene, 0, BLOCK);
    pass_round(&scene);
    g_assert_cmpuint(scene.state.stats.pages_resting, ==, BLOCK);
    for (i = 0; i < MOST_ROUNDS &&
                scene.state.stats.pages_sharing < BLOCK; i++) {
        pass_round(&scene);
    }
    g_test_message("shared after %u rounds", i);
    g_assert_cmpuint(scene.state.stats.pages_sharing, ==, BLOCK);
    g_assert_cmpuint(scene.state.stats.pages_resting, ==, 0);
    check_common(&scene, 0, BLOCK);
    scene_end(&scene);
}

/*
 * Pages that are listed when their block's rest begins, are written, and go to
 * swap, so that the kernel says nothing of them: written when the rest is over.
 */
static void test_swapped(void)
{
    Scene scene = { 0 };
    KsmTestSwap *swap;
    guint64 rss, i;

    if (!scene_begin(&scene, KEEP) || !scene_has_huge(&scene)) {
        return;
    }
    swap = ksm_test_swap_on(SWAP_MIB);
    pass_rounds(&scene, 3);
    for (i = 0; i < MOST_ROUNDS && !scene.state.stats.pages_resting; i++) {
        ksm_puppet_fill(scene.puppets[0], i, 1, KSM_TEST_SEEDED, UNIQUE(50),
                        TRUE);
        pass_round(&scene);
    }
    g_assert_cmpuint(scene.state.stats.pages_unshared, >,
                     (BLOCKS - 1) * BLOCK);
    ksm_puppet_fill(scene.puppets[0], 100, 50, KSM_TEST_SEEDED, COMMON, TRUE);
    rss = scene.state.maps.rss_kib;
    ksm_puppet_page_out(scene.puppets[0], 0, BLOCK);
    for (i = 0; i < MOST_ROUNDS && scene.state.stats.pages_resting; i++) {
        pass_round(&scene);
    }
    g_test_message("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                   " KiB still there", scene.state.maps.rss_kib, rss);
    if (swap) {
        g_assert_cmpuint(scene.state.maps.rss_kib, <, rss - BLOCK_KIB / 2);
    }
    g_assert_cmpuint(scene.state.stats.pages_unshared, <=,
                     (BLOCKS - 1) * BLOCK);
    g_assert_cmpuint(ksm_puppet_check(scene.puppets[0], 100, 50,
                                      KSM_TEST_SEEDED, COMMON, TRUE), ==, 0);
    scene_end(&scene);
    ksm_test_swap_off(swap);
}

/* So many duplicates, or zeros, are not worth a huge page; one more is. */
static void test_threshold(gconstpointer zeros)
{
    KsmTestKind kind = zeros ? KSM_TEST_ZERO : KSM_TEST_SEEDED;
    guint64 more = zeros && !ksm_test_has_zero_page() ? 1 + 2 : 1, looked;
    Scene scene = { 0 };
    guint i;

    if (!scene_begin(&scene, KEEP) || !scene_has_huge(&scene)) {
        return;
    }
    fill_common(&scene, BLOCK, KEEP / 2);
    for (i = 0; i < 2; i++) {
        ksm_puppet_fill(scene.puppets[i], BLOCK + KEEP / 2, KEEP / 2, kind,
                        COMMON, TRUE);
    }
    pass_rounds(&scene, 6);
    g_assert_cmpuint(scene.state.stats.pages_sharing +
                     scene.state.stats.zero_pages, ==, 0);
    check_kept(&scene, zeros ? KEEP / 2 : KEEP, zeros ? KEEP / 2 : 0);
    g_assert_cmpuint(scene.state.maps.huge_kib, ==, BLOCKS * BLOCK_KIB);
    /* Nothing is written: nothing is looked at. */
    looked = scene.state.stats.fingerprints;
    pass_rounds(&scene, 40);
    g_assert_cmpuint(scene.state.stats.fingerprints, ==, looked);
    check_kept(&scene, zeros ? KEEP / 2 : KEEP, zeros ? KEEP / 2 : 0);
    /* Not even while others are. */
    ksm_puppet_state(scene.puppets[1], &scene.state);
    looked = scene.state.stats.fingerprints;
    for (i = 0; i < 5; i++) {
        ksm_puppet_fill(scene.puppets[1], i, 1, KSM_TEST_SEEDED, UNIQUE(9),
                        TRUE);
        ksm_puppet_round(scene.puppets[1]);
    }
    ksm_puppet_state(scene.puppets[1], &scene.state);
    g_assert_cmpuint(scene.state.stats.fingerprints, <=, looked + 5);
    /* One more, and those that may be listed: they count as no duplicates. */
    for (i = 0; i < 2; i++) {
        ksm_puppet_fill(scene.puppets[i], 2 * BLOCK - more, more, kind, COMMON,
                        TRUE);
    }
    pass_rounds(&scene, 8);
    g_assert_cmpuint(scene.state.stats.pages_sharing +
                     scene.state.stats.zero_pages, ==, KEEP + more);
    check_kept(&scene, 0, 0);
    g_assert_cmpuint(scene.state.maps.huge_kib, ==,
                     (BLOCKS - 1) * BLOCK_KIB);
    check_common(&scene, BLOCK, KEEP / 2);
    scene_end(&scene);
}

/*
 * Some pages are still shared, or given back as zero, of a block that is hot now:
 * they are taken back, and it is huge again.
 */
static void test_leftovers(gconstpointer zeros)
{
    KsmTestKind kind = zeros ? KSM_TEST_ZERO : KSM_TEST_SEEDED;
    Scene scene = { 0 };
    guint i;

    if (!scene_begin(&scene, KEEP) || !scene_has_huge(&scene)) {
        return;
    }
    for (i = 0; i < 2; i++) {
        ksm_puppet_fill(scene.puppets[i], 0, BLOCK, kind, COMMON, TRUE);
    }
    pass_rounds(&scene, 6);
    g_assert_cmpuint(scene.state.stats.pages_sharing +
                     scene.state.stats.zero_pages, ==, BLOCK);
    for (i = 0; i < MOST_ROUNDS && !scene.state.stats.pages_resting; i++) {
        ksm_puppet_fill(scene.puppets[0], LEFT, BLOCK - LEFT, KSM_TEST_SEEDED,
                        UNIQUE(200 + i), TRUE);
        pass_round(&scene);
    }
    g_test_message("rests after %u rounds", i);
    g_assert_cmpuint(scene.state.stats.pages_resting, ==, BLOCK);
    g_assert_cmpuint(scene.state.stats.pages_sharing +
                     scene.state.stats.zero_pages, ==, 0);
    g_assert_cmpuint(scene.state.maps.huge_kib, ==, BLOCKS * BLOCK_KIB);
    g_assert_cmpuint(ksm_puppet_check(scene.puppets[0], 0, LEFT, kind,
                                      COMMON, TRUE), ==, 0);
    g_assert_cmpuint(ksm_puppet_check(scene.puppets[0], LEFT, BLOCK - LEFT,
                                      KSM_TEST_SEEDED, UNIQUE(200 + i - 1),
                                      TRUE), ==, 0);
    scene_end(&scene);
}

/* Kept pages are shared when something else has split their huge page. */
static void test_split_by_others(void)
{
    Scene scene = { 0 };
    guint i;

    if (!scene_begin(&scene, KEEP) || !scene_has_huge(&scene)) {
        return;
    }
    fill_common(&scene, BLOCK, KEEP);
    pass_rounds(&scene, 6);
    check_kept(&scene, KEEP, 0);
    /* Kept itself, so that the engine does not hear of it. */
    for (i = 0; i < 2; i++) {
        ksm_puppet_discard(scene.puppets[i], BLOCK, 1);
    }
    pass_rounds(&scene, 24);
    check_kept(&scene, 0, 0);
    g_assert_cmpuint(scene.state.stats.pages_sharing, ==, KEEP - 1);
    check_common(&scene, BLOCK + 1, KEEP - 1);
    scene_end(&scene);
}

/* It can be switched off, and on, at any time. */
static void test_switch(void)
{
    Scene scene = { 0 };
    guint i;

    if (!scene_begin(&scene, KEEP) || !scene_has_huge(&scene)) {
        return;
    }
    fill_common(&scene, BLOCK, KEEP);
    heat(&scene);
    pass_rounds(&scene, 4);
    check_kept(&scene, KEEP, 0);
    for (i = 0; i < 2; i++) {
        ksm_puppet_set_keep_huge(scene.puppets[i], 0);
    }
    pass_rounds(&scene, 4);
    check_kept(&scene, 0, 0);
    g_assert_cmpuint(scene.state.stats.pages_resting, ==, 0);
    g_assert_cmpuint(scene.state.stats.pages_sharing, ==, KEEP);
    pass_hot_round(&scene);
    check_hot(&scene);
    check_common(&scene, BLOCK, KEEP);
    ksm_puppet_set_keep_huge(scene.puppets[0], KEEP);
    heat(&scene);
    scene_end(&scene);
}

int main(int argc, char **argv)
{
    static const gboolean zeros = TRUE;

    ksm_puppet_main(argc, argv);
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
