/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-stats.c: the engine's statistics agree with each other and with what
 * the kernel reports about the memory; bytes of metadata for each guest page.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "broker-proc.h"
#include "remote-engine.h"
#include "require.h"
#include "zero-page.h"

#define PAGES 16384
#define QUARTER (PAGES / 4)
#define ZEROS_TILE 64 /* slots of zeros in a store */
#define SETTLE_SECONDS 60.0
#define MAX_BYTES_PER_PAGE 48.0
#define BIG_PAGES 131072
#define MAPPING_BYTES 256 /* of kernel memory */

/* Engines of one broker. */
typedef struct Fixture {
    KsmTestBroker *broker;
    KsmRemote *remotes[2];
    guint count;
} Fixture;

/* FALSE: they cannot be had. */
static gboolean fixture_open(Fixture *f, guint count, KsmRemoteSpec spec)
{
    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    f->broker = ksm_test_broker_new(NULL);
    f->count = count;
    spec.socket = f->broker->socket;
    ksm_remotes_new(f->remotes, count, &spec);
    return TRUE;
}

static void fixture_close(Fixture *f)
{
    guint i;

    for (i = 0; i < f->count; i++) {
        ksm_remote_free(f->remotes[i]);
    }
    ksm_test_broker_free(f->broker);
}

static guint64 sum_of_states(const KsmStats *stats)
{
    return stats->pages_untouched + stats->pages_volatile +
           stats->pages_unshared + stats->pages_sharing + stats->zero_pages +
           stats->pages_broken + stats->pages_excluded;
}

/* Shared by both, zero, unique, and a quarter never touched. */
static void fill(KsmRemote *remote, guint64 unique)
{
    ksm_remote_fill(remote, 0, QUARTER, KSM_TEST_SEEDED, 1, TRUE);
    ksm_remote_fill(remote, QUARTER, QUARTER, KSM_TEST_ZERO, 0, FALSE);
    ksm_remote_fill(remote, 2 * QUARTER, QUARTER, KSM_TEST_SEEDED, unique,
                    TRUE);
}

/* Zeros are shared like the rest where the host has no zero page. */
static guint64 zeros_in_store(void)
{
    return ksm_test_has_zero_page() ? 0 : QUARTER;
}

static void check_savings(KsmRemote *remote, const KsmRemoteState *before)
{
    KsmRemoteState now;
    double claimed, real;

    ksm_remote_state(remote, &now);
    claimed = (double)(now.stats.pages_sharing + now.stats.zero_pages) * 4;
    real = (double)before->maps.anonymous_kib - (double)now.maps.anonymous_kib;
    g_test_message("claimed %.0f KiB, private memory shrank by %.0f KiB",
                   claimed, real);
    g_assert_cmpuint(now.stats.pages_sharing, ==, QUARTER + zeros_in_store());
    g_assert_cmpuint(now.stats.zero_pages, ==, QUARTER - zeros_in_store());
    g_assert_cmpuint(now.stats.pages_untouched, ==, QUARTER);
    g_assert_cmpuint(now.stats.pages_unshared, ==, QUARTER);
    g_assert_cmpfloat(claimed, <=, real * 1.01);
    g_assert_cmpfloat(claimed, >=, real * 0.99);
    g_assert_cmpuint(now.stats.mappings, ==, now.maps.mappings);
}

/* Its pages whole, less half of the slots: those are borne. */
static void check_profit(KsmRemote *remote)
{
    const gint64 slots = QUARTER + (zeros_in_store() ? ZEROS_TILE : 0);
    KsmRemoteState now;

    ksm_remote_round(remote); /* tells the group's figures as they are */
    ksm_remote_state(remote, &now);
    g_assert_cmpuint(now.stats.group_pages_shared, ==, slots);
    g_assert_cmpuint(now.stats.metadata_bytes, >=, PAGES);
    g_assert_cmpint(now.stats.general_profit, ==,
                    (2 * QUARTER - slots / 2) * (gint64)KSM_PAGE_BYTES -
                        (gint64)now.stats.metadata_bytes -
                        (gint64)now.stats.mappings * MAPPING_BYTES);
}

static void test_savings(void)
{
    KsmRemoteSpec spec = { .pages = PAGES };
    KsmRemoteState before[2], now;
    Fixture f;
    guint64 zeros;
    guint i;

    if (!fixture_open(&f, 2, spec)) {
        return;
    }
    for (i = 0; i < 2; i++) {
        fill(f.remotes[i], (guint64)(i + 1) << 32);
        ksm_remote_state(f.remotes[i], &before[i]);
    }
    ksm_remotes_settle(f.remotes, 2, 4 * QUARTER, SETTLE_SECONDS);
    for (i = 0; i < 2; i++) {
        check_savings(f.remotes[i], &before[i]);
    }
    for (i = 0; i < 2; i++) {
        check_profit(f.remotes[i]);
    }
    /* Broken pages are found, counted, and hold what was written. */
    ksm_remote_set_run(f.remotes[0], KSM_RUN_PAUSE);
    ksm_remote_fill(f.remotes[0], 100, 50, KSM_TEST_SEEDED, 99, FALSE);
    ksm_remote_fill(f.remotes[0], QUARTER + 100, 50, KSM_TEST_SEEDED, 99,
                    FALSE);
    ksm_remote_round(f.remotes[0]);
    ksm_remote_state(f.remotes[0], &now);
    zeros = zeros_in_store();
    g_assert_cmpuint(now.stats.pages_sharing, ==,
                     QUARTER - 50 + (zeros ? zeros - 50 : 0));
    g_assert_cmpuint(now.stats.zero_pages, ==, zeros ? 0 : QUARTER - 50);
    g_assert_cmpuint(now.stats.pages_broken, ==, zeros ? 100 : 50);
    g_assert_cmpuint(now.stats.breaks, ==, 100);
    g_assert_cmpuint(ksm_remote_check(f.remotes[0], 100, 50, KSM_TEST_SEEDED,
                                      99, FALSE),
                     ==, 0);
    g_assert_cmpuint(ksm_remote_check(f.remotes[1], 0, QUARTER, KSM_TEST_SEEDED,
                                      1, TRUE),
                     ==, 0);
    fixture_close(&f);
}

/* So much may be elsewhere: stacks and arrays of the engine's, of this program. */
#define ELSEWHERE_KIB 512

/*
 * What it says to save its host is what /proc says to be gone, after pages have
 * come back, too, one in each 2 MiB: also beside the memory that it shares.
 */
static void test_profit(void)
{
    KsmRemoteSpec spec = { .pages = 4 * PAGES,
                           .tells_held = TRUE,
                           .flags = KSM_REGION_HUGEPAGE };
    guint64 before_kib, now_kib, pages = spec.pages, page;
    KsmRemoteState state;
    Fixture f;
    gint64 saved_kib;
    guint i;
    int pid;

    if (!fixture_open(&f, 2, spec)) {
        return;
    }
    for (i = 0; i < 2; i++) {
        ksm_remote_fill(f.remotes[i], 0, pages / 2, KSM_TEST_SEEDED, 1, TRUE);
        ksm_remote_fill(f.remotes[i], pages / 2, pages / 2, KSM_TEST_ZERO, 0,
                        FALSE);
    }
    pid = ksm_remote_pid(f.remotes[0]);
    before_kib = ksm_test_status_kib(pid, "RssAnon");
    ksm_remotes_settle(f.remotes, 2, 2 * pages, SETTLE_SECONDS);
    for (page = 7; page < pages / 2; page += 512) {
        ksm_remote_fill(f.remotes[0], page, 1, KSM_TEST_SEEDED, 1000 + page,
                        TRUE);
    }
    do {
        ksm_remote_round(f.remotes[0]);
        ksm_remote_state(f.remotes[0], &state);
    } while (state.stats.given_back < pages / 2 / 512);
    ksm_remote_round(f.remotes[0]);
    ksm_remote_state(f.remotes[0], &state);
    now_kib = ksm_test_status_kib(pid, "RssAnon");
    /* general-profit bears the mappings, and a share of the slots: elsewhere. */
    saved_kib = (state.stats.general_profit +
                 (gint64)(state.stats.mappings * MAPPING_BYTES) +
                 (gint64)(state.stats.pages_sharing * KSM_PAGE_BYTES *
                          state.stats.group_pages_shared /
                          state.stats.group_pages_sharing)) /
                1024;
    g_test_message("%" PRId64 " KiB by general-profit, %" PRIu64 " - %" PRIu64
                   " KiB by /proc",
                   saved_kib, before_kib, now_kib);
    g_assert_cmpfloat(ABS((double)saved_kib - (double)before_kib +
                          (double)now_kib),
                      <=, (double)saved_kib / 100 + ELSEWHERE_KIB);
    g_assert_cmpuint(ksm_remote_check(f.remotes[1], 0, pages / 2,
                                      KSM_TEST_SEEDED, 1, TRUE),
                     ==, 0);
    fixture_close(&f);
}

/*
 * Metadata follows what is touched, not how much there is.  But where reading
 * takes memory, looking for what to do fills the table of states, a byte for
 * each page.
 */
static void test_sparse(void)
{
    KsmRemoteSpec spec = { .pages = 64u << 18 }; /* 64 GiB */
    guint64 looks = ksm_test_has_zero_page() ? 0 : spec.pages;
    KsmRemoteState state;
    Fixture f;

    if (!fixture_open(&f, 1, spec)) {
        return;
    }
    ksm_remote_fill(f.remotes[0], 0, PAGES, KSM_TEST_BYTE, 0xcc, FALSE);
    ksm_remotes_settle(f.remotes, 1, PAGES, SETTLE_SECONDS);
    ksm_remote_state(f.remotes[0], &state);
    g_assert_cmpuint(state.stats.pages_sharing, ==, PAGES);
    g_assert_cmpuint(state.stats.metadata_bytes, <, looks + (4 << 20));
    g_assert_cmpuint(state.stats.metadata_bytes, >, PAGES);
    fixture_close(&f);
}

/* Whatever is under way: each page is in exactly one state. */
static void test_states(void)
{
    KsmRemoteSpec spec = { .pages = PAGES, .run = KSM_RUN_RUN };
    double end = ksm_test_now() + 2;
    Fixture f;
    guint64 random = 5, snapshots = 0;
    KsmRemoteState state;

    if (!fixture_open(&f, 2, spec)) {
        return;
    }
    while (ksm_test_now() < end) {
        KsmRemote *remote = f.remotes[snapshots % 2];
        guint64 first = ksm_test_below(&random, PAGES - 300);

        ksm_remote_fill(remote, first, 300,
                        (KsmTestKind)ksm_test_below(&random, 2), 7, TRUE);
        ksm_remote_state(remote, &state);
        g_assert_cmpuint(state.stats.pages_total, ==, PAGES);
        g_assert_cmpuint(sum_of_states(&state.stats), ==, PAGES);
        snapshots++;
    }
    g_test_message("%" PRIu64 " snapshots", snapshots);
    ksm_remote_set_run(f.remotes[1], KSM_RUN_UNMERGE);
    ksm_remote_round(f.remotes[1]);
    ksm_remote_state(f.remotes[1], &state);
    g_assert_cmpuint(state.stats.pages_sharing, ==, 0);
    g_assert_cmpuint(sum_of_states(&state.stats), ==, PAGES);
    fixture_close(&f);
}

/* The last `memory_bytes=N` of the broker's log, or 0. */
static guint64 logged_bytes(KsmTestBroker *broker)
{
    static const char key[] = "memory_bytes=";
    g_autofree char *log = ksm_test_broker_read_log(broker);
    const char *at = g_strrstr(log, key);

    return at ? g_ascii_strtoull(at + strlen(key), NULL, 10) : 0;
}

static gboolean has_logged(gpointer opaque)
{
    return logged_bytes(opaque) != 0;
}

/*
 * The dearest case: each page of every process is listed or shared.  Unique
 * pages cost a listing each, shared ones a slot.
 */
static void test_metadata(void)
{
    KsmRemoteSpec spec = { .pages = BIG_PAGES };
    guint64 pages = 2 * BIG_PAGES, engine = 0;
    Fixture f;
    KsmRemoteState state;
    double bytes;
    guint i;

    if (!fixture_open(&f, 2, spec)) {
        return;
    }
    for (i = 0; i < 2; i++) {
        ksm_remote_fill(f.remotes[i], 0, BIG_PAGES / 2, KSM_TEST_SEEDED, 1,
                        TRUE);
        ksm_remote_fill(f.remotes[i], BIG_PAGES / 2, BIG_PAGES / 2,
                        KSM_TEST_SEEDED, (guint64)(i + 1) << 32, TRUE);
    }
    ksm_remotes_settle(f.remotes, 2, BIG_PAGES / 100 * 99, SETTLE_SECONDS);
    for (i = 0; i < 2; i++) {
        ksm_remote_state(f.remotes[i], &state);
        g_assert_cmpuint(state.stats.pages_sharing, >=,
                         BIG_PAGES / 2 / 100 * 99);
        g_assert_cmpuint(state.stats.pages_unshared, >=,
                         BIG_PAGES / 2 / 100 * 99);
        engine += state.stats.metadata_bytes;
    }
    kill(f.broker->pid, SIGUSR1);
    g_assert_cmpfloat(ksm_test_wait(has_logged, f.broker, 10), >=, 0);
    bytes = (double)(engine + logged_bytes(f.broker)) / (double)pages;
    g_test_message("metadata: %.1f bytes per guest page (engine %.1f, broker "
                   "%.1f; the broker's anonymous memory %" PRIu64
                   " KiB for %" PRIu64 " pages)",
                   bytes, (double)engine / (double)pages,
                   (double)logged_bytes(f.broker) / (double)pages,
                   ksm_test_status_kib(f.broker->pid, "RssAnon"), pages);
    g_assert_cmpuint(engine, >, 0);
    g_assert_cmpfloat(bytes, <=, MAX_BYTES_PER_PAGE);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stats/savings", test_savings);
    g_test_add_func("/stats/profit", test_profit);
    g_test_add_func("/stats/sparse", test_sparse);
    g_test_add_func("/stats/states", test_states);
    g_test_add_func("/stats/metadata", test_metadata);
    return g_test_run();
}
