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
#include "remote-engine.h"
#include "require.h"
#include "zero-page.h"

#define REMOTES 2u
#define PAGES 2048u
#define PART (PAGES / 4)
#define FIRST PART       /* of the zeros */
#define ZEROS (2 * PART) /* written, and (the second half) only read */
#define TILE 64u
#define SEED 77u
#define SECONDS 60.0
#define ROUNDS 10u
#define MAPPING_BYTES 256 /* of kernel memory */

typedef struct Fixture {
    gboolean has; /* the host has a zero page */
    KsmTestBroker *broker;
    KsmTestProbe *probe;
    KsmRemote *remotes[REMOTES];
} Fixture;

/* All have read all of the zeros, and they are zeros. */
static void read_zeros(Fixture *s)
{
    guint i;

    for (i = 0; i < REMOTES; i++) {
        g_assert_cmpuint(ksm_remote_check(s->remotes[i], FIRST, ZEROS,
                                          KSM_TEST_ZERO, 0, FALSE),
                         ==, 0);
    }
}

/* All write the half of the zeros that is written. */
static void write_zeros(Fixture *s)
{
    guint i;

    for (i = 0; i < REMOTES; i++) {
        ksm_remote_fill(s->remotes[i], FIRST, ZEROS / 2, KSM_TEST_ZERO, 0,
                        FALSE);
    }
}

/* What all have to share and merge, and `more` pages of each. */
static void settle_with(Fixture *s, guint64 more)
{
    guint64 zeros = s->has ? ZEROS / 2 : ZEROS;
    guint64 all = REMOTES * (PART + zeros + more);

    read_zeros(s);
    g_assert_cmpuint(ksm_remotes_settle(s->remotes, REMOTES, all, SECONDS), ==,
                     all);
}

static void settle(Fixture *s)
{
    guint i;

    settle_with(s, 0);
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_set_run(s->remotes[i], KSM_RUN_PAUSE);
    }
}

/* The last quarter, each one's own. */
static void fill_own(Fixture *s)
{
    guint i;

    for (i = 0; i < REMOTES; i++) {
        ksm_remote_fill(s->remotes[i], FIRST + ZEROS, PART, KSM_TEST_SEEDED,
                        (guint64)(i + 1) << 32, TRUE);
    }
}

/* Settled; the first quarter is the same everywhere.  FALSE: cannot be had. */
static gboolean fixture_open(Fixture *s)
{
    KsmRemoteSpec spec = { .pages = PAGES, .tells_held = TRUE };
    guint i;

    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    s->has = ksm_test_has_zero_page();
    g_test_message("reading a page takes %s", s->has ? "nothing" : "a page");
    s->broker = ksm_test_broker_new(NULL);
    s->probe = NULL;
    spec.socket = s->broker->socket;
    ksm_remotes_new(s->remotes, REMOTES, &spec);
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_fill(s->remotes[i], 0, PART, KSM_TEST_SEEDED, SEED, TRUE);
    }
    write_zeros(s);
    fill_own(s);
    settle(s);
    return TRUE;
}

static void fixture_close(Fixture *s)
{
    guint i;

    for (i = 0; i < REMOTES; i++) {
        ksm_remote_free(s->remotes[i]);
    }
    g_clear_pointer(&s->probe, ksm_test_probe_free);
    ksm_test_broker_free(s->broker);
}

/* So many rounds of all, with everything read before each of them. */
static void pass_rounds(Fixture *s, guint count)
{
    guint i;

    while (count--) {
        read_zeros(s);
        for (i = 0; i < REMOTES; i++) {
            ksm_remote_round(s->remotes[i]);
        }
    }
}

/* What each has of zeros, and what the group has for it. */
static void check_states(Fixture *s)
{
    KsmRemoteState state;
    KsmMsgGroup group;
    guint i;

    if (!s->probe) {
        s->probe = ksm_test_probe_new(s->broker->socket, "test");
        g_assert_nonnull(s->probe);
    }
    g_assert_true(ksm_test_probe_read(s->probe, &group));
    g_assert_cmpuint(group.pages_shared, ==, PART + (s->has ? 0 : TILE));
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_state(s->remotes[i], &state);
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
    KsmRemoteState before[REMOTES], after;
    Fixture s;
    guint i;

    if (!fixture_open(&s)) {
        return;
    }
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_state(s.remotes[i], &before[i]);
    }
    pass_rounds(&s, ROUNDS);
    for (i = 0; i < REMOTES; i++) {
        const KsmStats *old = &before[i].stats;

        ksm_remote_state(s.remotes[i], &after);
        g_assert_cmpuint(after.stats.full_scans, >=, old->full_scans + ROUNDS);
        g_assert_cmpuint(after.stats.merges + after.stats.zero_merges, ==,
                         old->merges + old->zero_merges);
        g_assert_cmpuint(after.stats.breaks, ==, old->breaks);
        g_assert_cmpuint(after.stats.windows, ==, old->windows);
        g_assert_cmpuint(after.stats.fingerprints, ==, old->fingerprints);
    }
    check_states(&s);
    fixture_close(&s);
}

/* Each one's profit is what its memory shrank by, less its part of the store. */
static void test_profit(void)
{
    KsmRemoteState state;
    Fixture s;
    gint64 slots, saved;

    if (!fixture_open(&s)) {
        return;
    }
    slots = PART + (s.has ? 0 : TILE);
    saved = PART + (s.has ? ZEROS / 2 : ZEROS);
    ksm_remote_round(s.remotes[0]); /* tells the group's figures */
    ksm_remote_state(s.remotes[0], &state);
    g_assert_cmpint(state.stats.general_profit, ==,
                    (saved - slots / REMOTES) * (gint64)KSM_PAGE_BYTES -
                        (gint64)state.stats.metadata_bytes -
                        (gint64)state.stats.mappings * MAPPING_BYTES);
    fixture_close(&s);
}

/* Written, given back, zeros again; unmerged, and merged anew. */
static void test_writing(void)
{
    KsmRemoteState state;
    Fixture s;
    guint i;

    if (!fixture_open(&s)) {
        return;
    }
    for (i = 0; i < ZEROS / 2; i += 5) {
        ksm_remote_fill(s.remotes[0], FIRST + i, 1, KSM_TEST_SEEDED,
                        (guint64)99 << 32 | i, FALSE);
    }
    ksm_remote_round(s.remotes[0]);
    for (i = 0; i < ZEROS / 2; i++) {
        g_assert_cmpuint(ksm_remote_check(s.remotes[0], FIRST + i, 1,
                                          i % 5 ? KSM_TEST_ZERO :
                                                  KSM_TEST_SEEDED,
                                          (guint64)99 << 32 | i, FALSE),
                         ==, 0);
    }
    ksm_remote_fill(s.remotes[0], FIRST, ZEROS / 2, KSM_TEST_ZERO, 0, FALSE);
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_set_run(s.remotes[i], KSM_RUN_UNMERGE);
        ksm_remote_round(s.remotes[i]);
        ksm_remote_state(s.remotes[i], &state);
        g_assert_cmpuint(state.stats.pages_sharing, ==, 0);
        g_assert_cmpuint(ksm_remote_check(s.remotes[i], 0, PART,
                                          KSM_TEST_SEEDED, SEED, TRUE),
                         ==, 0);
    }
    read_zeros(&s);
    write_zeros(&s);
    settle(&s);
    check_states(&s);
    fixture_close(&s);
}

/* Discarded: no slot is kept, and what is read then is merged once. */
static void test_discarding(void)
{
    Fixture s;
    guint i;

    if (!fixture_open(&s)) {
        return;
    }
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_discard(s.remotes[i], FIRST, ZEROS);
        ksm_remote_round(s.remotes[i]);
    }
    read_zeros(&s);
    write_zeros(&s);
    settle(&s);
    check_states(&s);
    pass_rounds(&s, ROUNDS);
    check_states(&s);
    fixture_close(&s);
}

static gboolean is_connected(gpointer remote)
{
    KsmRemoteState state;

    ksm_remote_state(remote, &state);
    return state.stats.broker == KSM_BROKER_CONNECTED;
}

/*
 * The next broker knows which slots of zeros somebody maps: none is given to
 * what is published then.
 */
static void test_next_broker(void)
{
    Fixture s;
    guint i;

    if (!fixture_open(&s)) {
        return;
    }
    ksm_test_broker_kill(s.broker);
    ksm_test_broker_start(s.broker);
    for (i = 0; i < REMOTES; i++) {
        ksm_remote_set_run(s.remotes[i], KSM_RUN_RUN);
        g_assert_cmpfloat(ksm_test_wait(is_connected, s.remotes[i], SECONDS),
                          >=, 0);
        ksm_remote_fill(s.remotes[i], FIRST + ZEROS, PART, KSM_TEST_SEEDED,
                        SEED << 8, TRUE);
    }
    settle_with(&s, PART);
    read_zeros(&s);
    for (i = 0; i < REMOTES; i++) {
        g_assert_cmpuint(ksm_remote_check(s.remotes[i], FIRST + ZEROS, PART,
                                          KSM_TEST_SEEDED, SEED << 8, TRUE),
                         ==, 0);
    }
    fill_own(&s);
    settle(&s);
    fixture_close(&s);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/zero-page/reading", test_reading);
    g_test_add_func("/zero-page/profit", test_profit);
    g_test_add_func("/zero-page/writing", test_writing);
    g_test_add_func("/zero-page/discarding", test_discarding);
    g_test_add_func("/zero-page/next-broker", test_next_broker);
    return g_test_run();
}
