/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-zero-page.c: pages of zeros, on hosts with and without a zero page.
 *
 * With one they are holes, and cost nothing.  Without one they are shared, as
 * one tile of the group's store.  Either way reading them changes nothing: what
 * was merged once is not merged again.
 */
#include "broker-proc.h"
#include "probe.h"
#include "puppet.h"
#include "require.h"
#include "zero-page.h"

#define PUPPETS 2u
#define PAGES 2048u
#define PART (PAGES / 4)
#define FIRST PART              /* of the zeros */
#define ZEROS (2 * PART)        /* written, and (the second half) only read */
#define TILE 64u
#define SEED 77u
#define SECONDS 60.0
#define ROUNDS 10u

typedef struct Scene {
    gboolean has;               /* the host has a zero page */
    KsmTestBroker *broker;
    KsmTestProbe *probe;
    KsmPuppet *puppets[PUPPETS];
} Scene;

/* The first quarter is the same everywhere, the last one each one's own. */
static gboolean scene_open(Scene *s)
{
    KsmPuppetSpec spec = { .pages = PAGES, .tells_held = TRUE };
    guint i;

    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    s->has = ksm_test_has_zero_page();
    g_test_message("reading a page takes %s", s->has ? "nothing" : "a page");
    s->broker = ksm_test_broker_new(NULL);
    s->probe = NULL;
    spec.socket = s->broker->socket;
    ksm_puppets_new(s->puppets, PUPPETS, &spec);
    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_fill(s->puppets[i], 0, PART, KSM_TEST_SEEDED, SEED, TRUE);
        ksm_puppet_fill(s->puppets[i], FIRST, ZEROS / 2, KSM_TEST_ZERO, 0,
                        FALSE);
        ksm_puppet_fill(s->puppets[i], FIRST + ZEROS, PART, KSM_TEST_SEEDED,
                        (guint64)(i + 1) << 32, TRUE);
    }
    return TRUE;
}

static void scene_close(Scene *s)
{
    guint i;

    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_free(s->puppets[i]);
    }
    g_clear_pointer(&s->probe, ksm_test_probe_free);
    ksm_test_broker_free(s->broker);
}

/* All have read all of the zeros, and they are zeros. */
static void read_zeros(Scene *s)
{
    guint i;

    for (i = 0; i < PUPPETS; i++) {
        g_assert_cmpuint(ksm_puppet_check(s->puppets[i], FIRST, ZEROS,
                                          KSM_TEST_ZERO, 0, FALSE), ==, 0);
    }
}

/* So many rounds of all, with everything read before each of them. */
static void pass_rounds(Scene *s, guint count)
{
    guint i;

    while (count--) {
        read_zeros(s);
        for (i = 0; i < PUPPETS; i++) {
            ksm_puppet_round(s->puppets[i]);
        }
    }
}

static void settle(Scene *s)
{
    guint64 zeros = s->has ? ZEROS / 2 : ZEROS, all = PUPPETS * (PART + zeros);
    guint i;

    read_zeros(s);
    g_assert_cmpuint(ksm_puppets_settle(s->puppets, PUPPETS, all, SECONDS), ==,
                     all);
    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_set_run(s->puppets[i], KSM_RUN_PAUSE);
    }
}

/* What each has of zeros, and what the group has for it. */
static void check_states(Scene *s)
{
    KsmPuppetState state;
    KsmMsgGroup group;
    guint i;

    if (!s->probe) {
        s->probe = ksm_test_probe_new(s->broker->socket, "test");
        g_assert_nonnull(s->probe);
    }
    g_assert_true(ksm_test_probe_read(s->probe, &group));
    g_assert_cmpuint(group.pages_shared, ==, PART + (s->has ? 0 : TILE));
    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_state(s->puppets[i], &state);
        g_assert_cmpuint(state.stats.zero_pages, ==, s->has ? ZEROS / 2 : 0);
        g_assert_cmpuint(state.stats.pages_sharing, ==,
                         PART + (s->has ? 0 : ZEROS));
        g_assert_cmpuint(state.maps.anonymous_kib, ==, 4 * PART);
        g_assert_cmpuint(state.maps.mappings, ==, state.stats.mappings);
        g_assert_cmpuint(state.maps.mappings, <=, 3 + ZEROS / TILE);
    }
}

/* Read again and again: nothing is merged, broken, or even looked at. */
static void test_reading(void)
{
    KsmPuppetState before[PUPPETS], after;
    Scene s;
    guint i;

    if (!scene_open(&s)) {
        return;
    }
    settle(&s);
    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_state(s.puppets[i], &before[i]);
    }
    pass_rounds(&s, ROUNDS);
    for (i = 0; i < PUPPETS; i++) {
        const KsmStats *old = &before[i].stats;

        ksm_puppet_state(s.puppets[i], &after);
        g_assert_cmpuint(after.stats.full_scans, >=,
                         old->full_scans + ROUNDS);
        g_assert_cmpuint(after.stats.merges + after.stats.zero_merges, ==,
                         old->merges + old->zero_merges);
        g_assert_cmpuint(after.stats.breaks, ==, old->breaks);
        g_assert_cmpuint(after.stats.windows, ==, old->windows);
        g_assert_cmpuint(after.stats.fingerprints, ==, old->fingerprints);
    }
    check_states(&s);
    scene_close(&s);
}

/* Each one's profit is what its memory shrank by, less its part of the store. */
static void test_profit(void)
{
    KsmPuppetState state;
    Scene s;
    gint64 slots, saved;

    if (!scene_open(&s)) {
        return;
    }
    settle(&s);
    slots = PART + (s.has ? 0 : TILE);
    saved = PART + (s.has ? ZEROS / 2 : ZEROS);
    ksm_puppet_round(s.puppets[0]);     /* tells the group's figures */
    ksm_puppet_state(s.puppets[0], &state);
    g_assert_cmpint(state.stats.general_profit, ==,
                    (saved - slots / PUPPETS) * (gint64)KSM_PAGE_BYTES -
                    (gint64)state.stats.metadata_bytes);
    scene_close(&s);
}

/* Written, given back, zeros again; unmerged, and merged anew. */
static void test_writing(void)
{
    KsmPuppetState state;
    Scene s;
    guint i;

    if (!scene_open(&s)) {
        return;
    }
    settle(&s);
    for (i = 0; i < ZEROS / 2; i += 5) {
        ksm_puppet_fill(s.puppets[0], FIRST + i, 1, KSM_TEST_SEEDED,
                        (guint64)99 << 32 | i, FALSE);
    }
    ksm_puppet_round(s.puppets[0]);
    for (i = 0; i < ZEROS / 2; i++) {
        g_assert_cmpuint(
            ksm_puppet_check(s.puppets[0], FIRST + i, 1,
                             i % 5 ? KSM_TEST_ZERO : KSM_TEST_SEEDED,
                             (guint64)99 << 32 | i, FALSE), ==, 0);
    }
    ksm_puppet_fill(s.puppets[0], FIRST, ZEROS / 2, KSM_TEST_ZERO, 0, FALSE);
    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_set_run(s.puppets[i], KSM_RUN_UNMERGE);
        ksm_puppet_round(s.puppets[i]);
        ksm_puppet_state(s.puppets[i], &state);
        g_assert_cmpuint(state.stats.pages_sharing, ==, 0);
        g_assert_cmpuint(ksm_puppet_check(s.puppets[i], 0, PART,
                                          KSM_TEST_SEEDED, SEED, TRUE), ==, 0);
    }
    read_zeros(&s);
    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_fill(s.puppets[i], FIRST, ZEROS / 2, KSM_TEST_ZERO, 0,
                        FALSE);
    }
    settle(&s);
    check_states(&s);
    scene_close(&s);
}

/* Discarded: no slot is kept, and what is read then is merged once. */
static void test_discarding(void)
{
    Scene s;
    guint i;

    if (!scene_open(&s)) {
        return;
    }
    settle(&s);
    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_discard(s.puppets[i], FIRST, ZEROS);
        ksm_puppet_round(s.puppets[i]);
    }
    read_zeros(&s);
    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_fill(s.puppets[i], FIRST, ZEROS / 2, KSM_TEST_ZERO, 0,
                        FALSE);
    }
    settle(&s);
    check_states(&s);
    pass_rounds(&s, ROUNDS);
    check_states(&s);
    scene_close(&s);
}

static gboolean is_connected(gpointer puppet)
{
    KsmPuppetState state;

    ksm_puppet_state(puppet, &state);
    return state.stats.broker == KSM_BROKER_CONNECTED;
}

/*
 * The next broker knows which slots of zeros somebody maps: none is given to
 * what is published then.
 */
static void test_next_broker(void)
{
    Scene s;
    guint i;

    if (!scene_open(&s)) {
        return;
    }
    settle(&s);
    ksm_test_broker_kill(s.broker);
    ksm_test_broker_start(s.broker);
    for (i = 0; i < PUPPETS; i++) {
        ksm_puppet_set_run(s.puppets[i], KSM_RUN_RUN);
        g_assert_cmpfloat(ksm_test_wait(is_connected, s.puppets[i], SECONDS),
                          >=, 0);
        ksm_puppet_fill(s.puppets[i], FIRST + ZEROS, PART, KSM_TEST_SEEDED,
                        SEED << 8, TRUE);
    }
    g_assert_cmpuint(ksm_puppets_settle(s.puppets, PUPPETS, PUPPETS *
                         (PART + PART + (s.has ? ZEROS / 2 : ZEROS)), SECONDS),
                     ==, PUPPETS * (PART + PART +
                                    (s.has ? ZEROS / 2 : ZEROS)));
    read_zeros(&s);
    for (i = 0; i < PUPPETS; i++) {
        g_assert_cmpuint(ksm_puppet_check(s.puppets[i], FIRST + ZEROS, PART,
                                          KSM_TEST_SEEDED, SEED << 8, TRUE),
                         ==, 0);
        ksm_puppet_fill(s.puppets[i], FIRST + ZEROS, PART, KSM_TEST_SEEDED,
                        (guint64)(i + 1) << 32, TRUE);
    }
    settle(&s);
    scene_close(&s);
}

int main(int argc, char **argv)
{
    ksm_puppet_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/zero-page/reading", test_reading);
    g_test_add_func("/zero-page/profit", test_profit);
    g_test_add_func("/zero-page/writing", test_writing);
    g_test_add_func("/zero-page/discarding", test_discarding);
    g_test_add_func("/zero-page/next-broker", test_next_broker);
    return g_test_run();
}
