/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-oracle.c: the integrity oracle, and the harm done to it from outside.
 *
 * Each row of the table is a test: some clients of one private broker,
 * for its share of KSM_TEST_SECONDS.  Whatever the row does, no page may be
 * wrong, pages must really have been merged and broken, and at the end the
 * broker must hold no reference and no slot.
 */
#include "oracle-run.h"

#include <inttypes.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "probe.h"
#include "require.h"
#include "swap.h"

#define DEFAULT_SECONDS 10.0
#define MIN_SECONDS 1.5
#define END_SECONDS 120.0
#define EMPTY_SECONDS 1.0
#define SLOW_SECONDS 60.0
#define LAP_SECONDS 5.0
#define SWAP_MIB 256u
/* Mappings that exist for moments: of windows that are not settled yet. */
#define UNSETTLED 32

static const OracleRow rows[] = {
    { "base", 5, 4, 48, 0, 0, FALSE, FALSE, 2000 },
    { "untold", 2, 3, 32, ORACLE_UNTOLD | ORACLE_READ | ORACLE_DIRECT, 0, FALSE,
      FALSE, 300 },
    { "read", 2, 3, 32, ORACLE_READ, 0, FALSE, FALSE, 300 },
    { "direct", 2, 3, 32, ORACLE_DIRECT, 0, FALSE, FALSE, 300 },
    { "uring", 2, 3, 32, ORACLE_URING, 0, FALSE, FALSE, 300 },
    { "uring-fixed", 2, 3, 32, ORACLE_FIXED, 0, FALSE, FALSE, 300 },
    { "fork", 2, 3, 32, ORACLE_FORK, 0, FALSE, FALSE, 300 },
    { "slow", 3, 3, 32, ORACLE_DAWDLE, 0, FALSE, FALSE, 300 },
    { "slow-toggle", 3, 3, 32, ORACLE_DAWDLE | ORACLE_TOGGLE | ORACLE_REGIONS,
      0, FALSE, FALSE, 100 },
    { "slow-unmerge", 3, 3, 32, ORACLE_DAWDLE | ORACLE_UNMERGE, 0, FALSE, FALSE,
      100 },
    { "slow-read", 2, 3, 32, ORACLE_DAWDLE | ORACLE_DIRECT | ORACLE_READ, 0,
      FALSE, FALSE, 100 },
    { "failing-calls", 3, 3, 32, ORACLE_FAIL | ORACLE_TOGGLE, 0, FALSE, FALSE,
      100 },
    { "budget", 2, 3, 32, 0, 100, FALSE, FALSE, 50 },
    { "huge", 2, 3, 64, ORACLE_HUGE, 0, FALSE, FALSE, 300 },
    { "keep-huge", 3, 3, 64,
      ORACLE_HUGE | ORACLE_KEEP_HUGE | ORACLE_DIRECT | ORACLE_READ, 0, FALSE,
      FALSE, 100 },
    { "keep-huge-failing", 3, 3, 64,
      ORACLE_HUGE | ORACLE_KEEP_HUGE | ORACLE_FAIL | ORACLE_TOGGLE, 0, FALSE,
      FALSE, 100 },
    { "kill-client", 3, 4, 32, 0, 0, TRUE, FALSE, 300 },
    { "kill-broker", 4, 3, 32, 0, 0, FALSE, TRUE, 300 },
    { "toggle", 2, 3, 32, ORACLE_TOGGLE, 0, FALSE, FALSE, 100 },
    { "regions", 2, 3, 32, ORACLE_REGIONS, 0, FALSE, FALSE, 300 },
    { "host", 3, 3, 32, ORACLE_HOST, 0, FALSE, FALSE, 100 },
};

/* Pages that must have been given back. */
static guint64 least_given_back(const OracleRow *row)
{
    return row->features & ORACLE_UNTOLD || row->max_mappings ? 0 :
                                                                row->least / 4;
}

static gboolean has_done_enough(OracleRun *run)
{
    KsmStats sum = oracle_run_stats(run);

    return sum.merges >= run->row->least && sum.breaks >= run->row->least &&
           sum.given_back >= least_given_back(run->row);
}

/* For so long, and on a busy machine until enough has happened. */
static void act(OracleRun *run, double seconds)
{
    double end = ksm_test_now() + seconds;
    double next = ksm_test_now() + 0.3;

    while (ksm_test_now() < end ||
           (!has_done_enough(run) && ksm_test_now() < end + SLOW_SECONDS)) {
        oracle_run_check_alive(run);
        if (ksm_test_now() > next) {
            if (run->row->kill_clients) {
                oracle_run_kill_client(run);
            }
            if (run->row->kill_broker) {
                oracle_run_kill_broker(run);
            }
            next = ksm_test_now() +
                   (double)ksm_test_below(&run->random, 1200) / 1000;
        }
        g_usleep(20000);
    }
    oracle_run_wait_ready(run);
}

static gboolean is_empty(gpointer opaque)
{
    KsmTestProbe *probe = opaque;
    KsmMsgGroup group;

    return ksm_test_probe_read(probe, &group) && group.sessions == 1 &&
           group.pages_shared == 0 && group.pages_sharing == 0 &&
           group.pages_unshared == 0 && ksm_test_probe_store_bytes(probe) == 0;
}

/* References of ended and of killed processes, and store pages, all gone. */
static void check_empty(KsmTestProbe *probe)
{
    double took = ksm_test_wait(is_empty, probe, EMPTY_SECONDS);
    KsmMsgGroup group = { 0 };

    if (took < 0) {
        ksm_test_probe_read(probe, &group);
        g_test_message("after %g s the broker still has %" PRIu64
                       " sessions, %" PRIu64 " slots, %" PRIu64
                       " references, %" PRIu64 " listed; store %" PRIu64
                       " bytes",
                       EMPTY_SECONDS, group.sessions, group.pages_shared,
                       group.pages_sharing, group.pages_unshared,
                       ksm_test_probe_store_bytes(probe));
        g_test_fail();
        return;
    }
    g_test_message("the broker was empty after %.0f ms", took * 1000);
}

static void stop(OracleRun *run)
{
    KsmTestProbe *probe;

    probe = ksm_test_probe_new(run->broker->socket, "oracle");
    g_assert_nonnull(probe);
    if (run->row->kill_clients) {
        kill(run->pids[0], SIGKILL);
        ksm_test_reap(run->pids[0], END_SECONDS);
        run->pids[0] = 0;
    }
    if (!oracle_run_stop(run)) {
        g_test_fail();
    }
    check_empty(probe);
    ksm_test_probe_free(probe);
}

/*
 * Pages that were shared and written stay broken until their region goes, so
 * a client shares less and less: new ones every few seconds.
 */
static double run_laps(OracleRun *run, double seconds)
{
    double start = ksm_test_now();
    double end = start + seconds;

    do {
        oracle_run_start(run);
        act(run, CLAMP(end - ksm_test_now(), 0, LAP_SECONDS));
        stop(run);
    } while (ksm_test_now() + 1 < end && !g_test_failed());
    return ksm_test_now() - start;
}

static void print_latency(OracleRun *run)
{
    guint64 sum[ORACLE_LATENCIES] = { 0 };
    GString *text = g_string_new("store latency, us:");
    guint64 longest = 0;
    guint i, k;

    for (i = 0; i < run->row->clients; i++) {
        OracleFigures *figures = &run->shared->clients[i];

        longest = MAX(longest, figures->latency_max_us);
        for (k = 0; k < ORACLE_LATENCIES; k++) {
            sum[k] += figures->latency_us[k];
        }
    }
    for (k = 0; k < ORACLE_LATENCIES; k++) {
        if (sum[k]) {
            g_string_append_printf(text, " <%u: %" PRIu64, 1u << k, sum[k]);
        }
    }
    g_test_message("%s; longest %" PRIu64 " us", text->str, longest);
    g_string_free(text, TRUE);
}

static void print_result(OracleRun *run, const KsmStats *sum, double seconds)
{
    guint64 writes = 0, checks = 0, io = 0;
    guint i;

    for (i = 0; i < run->row->clients; i++) {
        writes += run->shared->clients[i].writes;
        checks += run->shared->clients[i].checks;
        io += run->shared->clients[i].io_pages;
    }
    g_test_message("%s: %.1f s, %u processes: %.0f merges/s, %.0f zero "
                   "merges/s, %.0f breaks/s, %" PRIu64 " rollbacks, %" PRIu64
                   " page writes (%" PRIu64 " by I/O), %" PRIu64 " checks",
                   run->row->name, seconds, run->row->clients,
                   (double)sum->merges / seconds,
                   (double)sum->zero_merges / seconds,
                   (double)sum->breaks / seconds, sum->rollbacks, writes, io,
                   checks);
    g_test_message("given back %" PRIu64 "; refused: pinned %" PRIu64
                   ", held %" PRIu64 ", budget %" PRIu64 ", torn %" PRIu64
                   ", error %" PRIu64 "; longest window %" PRIu64 " us",
                   sum->given_back, sum->refused_pinned, sum->refused_dma,
                   sum->refused_budget, sum->refused_torn, sum->refused_error,
                   sum->window_ns_max / 1000);
    if (run->client_kills || run->broker_kills) {
        g_test_message("%u client kills, %u broker kills, sharing resumed "
                       "within %.2f s and %" PRIu64 " rounds, %" PRIu64
                       " losses seen",
                       run->client_kills, run->broker_kills, run->resume_max,
                       run->resume_rounds_max, sum->broker_losses);
    }
    print_latency(run);
}

/* What a row must have done to count. */
static void check_row(OracleRun *run, const KsmStats *sum)
{
    const OracleRow *row = run->row;
    guint i;

    g_assert_cmpuint(sum->merges, >=, row->least);
    g_assert_cmpuint(sum->breaks, >=, row->least);
    g_assert_cmpuint(sum->given_back, >=, least_given_back(row));
    if (row->features & ORACLE_UNTOLD) {
        g_assert_cmpuint(sum->given_back, ==, 0);
    }
    if (row->kill_broker) {
        g_assert_cmpuint(run->broker_kills, >, 0);
    }
    if (row->kill_clients) {
        g_assert_cmpuint(run->client_kills, >, 0);
    }
    if (row->max_mappings) {
        g_assert_cmpuint(sum->refused_budget, >, 0);
    }
    for (i = 0; i < row->clients; i++) {
        OracleFigures *figures = &run->shared->clients[i];

        g_assert_cmpuint(figures->checks, >, 0);
        if (!(row->features & ORACLE_FIXED)) {
            g_assert_cmpuint(figures->discards, >, 0);
        }
        if (row->max_mappings) {
            g_test_message("client %u: at most %" PRIu64 " mappings, %" PRIu64
                           " by the engine's count",
                           i, figures->mappings_max, figures->claimed_max);
            g_assert_cmpuint(figures->claimed_max, <=, row->max_mappings);
            g_assert_cmpuint(figures->mappings_max, <=,
                             row->max_mappings + UNSETTLED);
        }
        if (row->features &
            (ORACLE_READ | ORACLE_DIRECT | ORACLE_URING | ORACLE_FIXED)) {
            g_assert_cmpuint(figures->io_pages, >, 0);
        }
        if (row->features & (ORACLE_DAWDLE | ORACLE_FAIL)) {
            g_assert_cmpuint(figures->disturbed, >, 0);
        }
        if (row->features & ORACLE_HUGE) {
            g_assert_cmpuint(figures->huge_kib_max, >, 0);
        }
        if (row->features & ORACLE_KEEP_HUGE) {
            g_test_message("client %u: %" PRIu64
                           " collapses, huge at most %" PRIu64 " KiB",
                           i, sum->collapses, figures->huge_kib_max);
            g_assert_cmpuint(sum->collapses, >, 0);
        }
        if (row->features & ORACLE_FORK) {
            g_assert_cmpuint(figures->forks, >, 0);
        }
        if (row->features & (ORACLE_TOGGLE | ORACLE_UNMERGE)) {
            g_assert_cmpuint(figures->toggles, >, 0);
        }
        if (row->features & ORACLE_REGIONS) {
            g_assert_cmpuint(figures->regions, >, 0);
        }
    }
}

static double row_seconds(const OracleRow *row)
{
    guint sum = 0;
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        sum += rows[i].weight;
    }
    return MAX(MIN_SECONDS,
               ksm_test_seconds(DEFAULT_SECONDS) * row->weight / sum);
}

static gboolean can_do(const OracleRow *row)
{
    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    if ((row->features & (ORACLE_URING | ORACLE_FIXED)) &&
        !oracle_io_has_uring()) {
        ksm_test_lacks("uring", "io_uring is switched off or liburing is "
                                "not there");
        return FALSE;
    }
    if (row->features & ORACLE_DIRECT) {
        g_autofree char *path = NULL;
        int fd;

        path = g_strdup_printf("%s/oracle-%d.direct", g_get_tmp_dir(),
                               getpid());
        fd = g_open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
        g_unlink(path);
        if (fd < 0) {
            ksm_test_lacks("direct", "no O_DIRECT in the temporary "
                                     "directory");
            return FALSE;
        }
        close(fd);
    }
    return TRUE;
}

static void test_row(gconstpointer opaque)
{
    const OracleRow *row = opaque;
    gboolean host = (row->features & ORACLE_HOST) != 0;
    double seconds = row_seconds(row);
    OracleRun run = { 0 };
    KsmTestSwap *swap = NULL;
    double took;
    guint i;

    if (!can_do(row)) {
        return;
    }
    oracle_run_begin(&run, row);
    if (host) {
        swap = ksm_test_swap_on(SWAP_MIB);
    }
    took = run_laps(&run, seconds);
    print_result(&run, &run.past, took);
    for (i = 0; i < row->clients; i++) {
        g_assert_cmpuint(run.shared->clients[i].mismatches, ==, 0);
    }
    check_row(&run, &run.past);
    if (host) {
        oracle_host_check(run.shared->clients, row->clients, swap != NULL);
    }
    ksm_test_swap_off(swap);
    oracle_run_end(&run);
}

/* The oracle itself: one byte changed behind its back must be seen. */
static void test_scribble(void)
{
    static const OracleRow row = {
        "scribble", 0, 1, 16, ORACLE_SCRIBBLE, 0, FALSE, FALSE, 0,
    };
    OracleRun run = { 0 };

    if (!ksm_test_need_uffd()) {
        return;
    }
    oracle_run_begin(&run, &row);
    oracle_run_start(&run);
    g_usleep(300000); /* for the threads; the final check sees it */
    g_assert_false(oracle_run_stop(&run));
    g_assert_cmpuint(run.shared->clients[0].mismatches, >, 0);
    oracle_run_end(&run);
}

int main(int argc, char **argv)
{
    gsize i;

    oracle_client_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strdup_printf("/oracle/%s", rows[i].name);

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/oracle/sees-a-wrong-byte", test_scribble);
    return g_test_run();
}
