/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-oracle.c: the integrity oracle, and the harm done to it from outside.
 *
 * Each row of the table is a test: so many clients under one private broker,
 * for its share of KSM_TEST_SECONDS.  Whatever the row does, no page may be
 * wrong, pages must really have been merged and broken, and at the end the
 * broker must hold no reference and no store page.
 */
#include "oracle.h"

#include <inttypes.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "broker-proc.h"
#include "probe.h"
#include "require.h"

#define DEFAULT_SECONDS 10.0
#define LEAST_SECONDS 1.5
#define READY_SECONDS 60.0
#define END_SECONDS 120.0
#define RESUME_SECONDS 10.0
#define EMPTY_SECONDS 1.0

typedef struct Row {
    const char *name;
    guint weight;               /* share of KSM_TEST_SECONDS */
    guint clients;
    guint mib;                  /* region of a client */
    guint features;
    guint max_mappings;
    gboolean kill_clients, kill_broker;
    guint64 least;              /* merges and breaks, in all */
} Row;

static const Row rows[] = {
    { "base", 5, 4, 48, 0, 0, FALSE, FALSE, 2000 },
    { "read", 2, 3, 32, ORACLE_READ, 0, FALSE, FALSE, 300 },
    { "direct", 2, 3, 32, ORACLE_DIRECT, 0, FALSE, FALSE, 300 },
    { "uring", 2, 3, 32, ORACLE_URING, 0, FALSE, FALSE, 300 },
    { "uring-fixed", 2, 3, 32, ORACLE_FIXED, 0, FALSE, FALSE, 300 },
    { "fork", 2, 3, 32, ORACLE_FORK, 0, FALSE, FALSE, 300 },
    { "budget", 2, 3, 32, 0, 100, FALSE, FALSE, 50 },
    { "huge", 2, 3, 64, ORACLE_HUGE, 0, FALSE, FALSE, 300 },
    { "kill-client", 3, 4, 32, 0, 0, TRUE, FALSE, 300 },
    { "kill-broker", 4, 3, 32, 0, 0, FALSE, TRUE, 300 },
    { "toggle", 2, 3, 32, ORACLE_TOGGLE, 0, FALSE, FALSE, 100 },
    { "regions", 2, 3, 32, ORACLE_REGIONS, 0, FALSE, FALSE, 300 },
};

typedef struct Run {
    const Row *row;
    KsmTestBroker *broker;
    OracleShared *shared;
    int shared_fd;
    pid_t pids[ORACLE_CLIENTS];
    guint64 random;
    KsmStats past;              /* of clients that were killed */
    guint client_kills, broker_kills;
    double resume_max;
    guint64 merges_then[ORACLE_CLIENTS];
} Run;

/* A file of seeded pages; on a real disk if possible, for O_DIRECT. */
static void make_file(OracleConfig *config)
{
    g_autofree unsigned char *data = NULL;
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    guint64 i;

    path = g_strdup_printf("%s/oracle-%d.data", g_get_tmp_dir(), getpid());
    g_strlcpy(config->file, path, sizeof(config->file));
    data = g_malloc((gsize)ORACLE_FILE_PAGES * KSM_PAGE_BYTES);
    for (i = 0; i < ORACLE_FILE_PAGES; i++) {
        ksm_test_page_make(data + i * KSM_PAGE_BYTES, KSM_TEST_SEEDED,
                           oracle_file_seed(config, i));
    }
    g_file_set_contents(path, (char *)data,
                        (gssize)ORACLE_FILE_PAGES * KSM_PAGE_BYTES, &error);
    g_assert_no_error(error);
}

static void start_client(Run *run, guint index)
{
    char fd[16], number[16];
    const char *argv[] = { "/proc/self/exe", "--client", fd, number, NULL };

    g_snprintf(fd, sizeof(fd), "%d", run->shared_fd);
    g_snprintf(number, sizeof(number), "%u", index);
    __atomic_store_n(&run->shared->clients[index].ready, 0, __ATOMIC_SEQ_CST);
    memset(&run->shared->clients[index].stats, 0, sizeof(KsmStats));
    run->pids[index] = ksm_test_spawn(argv, run->shared_fd, -1);
}

static KsmStats client_stats(Run *run, guint index)
{
    OracleFigures *figures = &run->shared->clients[index];
    KsmStats stats;
    guint64 before, after;
    guint tries = 1000;

    do {
        before = __atomic_load_n(&figures->snapshot, __ATOMIC_SEQ_CST);
        stats = figures->stats;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        after = __atomic_load_n(&figures->snapshot, __ATOMIC_SEQ_CST);
    } while (((before & 1) || before != after) && --tries);
    return stats;
}

static void add_stats(KsmStats *sum, const KsmStats *stats)
{
    sum->merges += stats->merges;
    sum->zero_merges += stats->zero_merges;
    sum->breaks += stats->breaks;
    sum->rollbacks += stats->rollbacks;
    sum->refused_pinned += stats->refused_pinned;
    sum->refused_budget += stats->refused_budget;
    sum->refused_torn += stats->refused_torn;
    sum->refused_error += stats->refused_error;
    sum->broker_losses += stats->broker_losses;
    sum->window_ns_max = MAX(sum->window_ns_max, stats->window_ns_max);
}

static KsmStats sum_stats(Run *run)
{
    KsmStats sum = run->past;
    guint i;

    for (i = 0; i < run->row->clients; i++) {
        KsmStats stats = client_stats(run, i);

        add_stats(&sum, &stats);
    }
    return sum;
}

/* A client that ends before its time has failed. */
static void check_alive(Run *run)
{
    guint i;
    int status;

    for (i = 0; i < run->row->clients; i++) {
        if (run->pids[i] && waitpid(run->pids[i], &status, WNOHANG)) {
            g_error("client %u ended early: status 0x%x", i, status);
        }
    }
}

static gboolean is_ready(gpointer opaque)
{
    Run *run = opaque;
    guint i;

    check_alive(run);
    for (i = 0; i < run->row->clients; i++) {
        if (__atomic_load_n(&run->shared->clients[i].ready,
                            __ATOMIC_SEQ_CST) <
            run->shared->config.writers) {
            return FALSE;
        }
    }
    return TRUE;
}

static void begin(Run *run, const Row *row)
{
    OracleConfig *config;
    guint i;

    run->row = row;
    run->random = (guint64)g_test_rand_int();
    run->broker = ksm_test_broker_new(NULL);
    run->shared_fd = memfd_create("oracle", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(run->shared_fd, sizeof(*run->shared)), ==, 0);
    run->shared = mmap(NULL, sizeof(*run->shared), PROT_READ | PROT_WRITE,
                       MAP_SHARED, run->shared_fd, 0);
    g_assert_true(run->shared != MAP_FAILED);
    config = &run->shared->config;
    config->seed = ksm_test_random(&run->random);
    config->pages = (guint64)row->mib * 256;
    config->writers = 3;
    config->readers = 1;
    config->features = row->features;
    config->max_mappings = row->max_mappings;
    g_strlcpy(config->socket, run->broker->socket, sizeof(config->socket));
    make_file(config);
    for (i = 0; i < row->clients; i++) {
        start_client(run, i);
    }
    g_assert_cmpfloat(ksm_test_wait(is_ready, run, READY_SECONDS), >=, 0);
}

static void kill_one_client(Run *run)
{
    guint index = (guint)ksm_test_below(&run->random, run->row->clients);
    KsmStats stats;

    kill(run->pids[index], SIGKILL);
    ksm_test_reap(run->pids[index], END_SECONDS);
    run->client_kills++;
    stats = client_stats(run, index);
    add_stats(&run->past, &stats);
    start_client(run, index);
}

static gboolean has_resumed(gpointer opaque)
{
    Run *run = opaque;
    guint i;

    check_alive(run);
    for (i = 0; i < run->row->clients; i++) {
        KsmStats stats = client_stats(run, i);

        if (stats.broker != KSM_BROKER_CONNECTED ||
            stats.merges <= run->merges_then[i]) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean has_lost(gpointer opaque)
{
    Run *run = opaque;
    guint i;

    check_alive(run);
    for (i = 0; i < run->row->clients; i++) {
        if (client_stats(run, i).broker != KSM_BROKER_LOST) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Sharing must go on in every client soon after a new broker listens. */
static void kill_the_broker(Run *run)
{
    double took;
    guint i;

    ksm_test_broker_kill(run->broker);
    run->broker_kills++;
    if (run->broker_kills % 2) {
        g_assert_cmpfloat(ksm_test_wait(has_lost, run, RESUME_SECONDS), >=,
                          0);
    }
    g_usleep((gulong)ksm_test_below(&run->random, 400000));
    for (i = 0; i < run->row->clients; i++) {
        run->merges_then[i] = client_stats(run, i).merges;
    }
    ksm_test_broker_start(run->broker);
    took = ksm_test_wait(has_resumed, run, RESUME_SECONDS);
    if (took < 0) {
        for (i = 0; i < run->row->clients; i++) {
            KsmStats stats = client_stats(run, i);

            g_test_message("client %u: broker %d merges %" PRIu64 " then %"
                           PRIu64, i, stats.broker, stats.merges,
                           run->merges_then[i]);
        }
        g_error("sharing did not resume within %g s", RESUME_SECONDS);
    }
    run->resume_max = MAX(run->resume_max, took);
}

static void act(Run *run, double seconds)
{
    double end = ksm_test_now() + seconds;
    double next = ksm_test_now() + 0.3;

    while (ksm_test_now() < end) {
        check_alive(run);
        if (ksm_test_now() > next) {
            if (run->row->kill_clients) {
                kill_one_client(run);
            }
            if (run->row->kill_broker) {
                kill_the_broker(run);
            }
            next = ksm_test_now() +
                   (double)ksm_test_below(&run->random, 1200) / 1000;
        }
        g_usleep(20000);
    }
    g_assert_cmpfloat(ksm_test_wait(is_ready, run, READY_SECONDS), >=, 0);
}

static gboolean is_empty(gpointer opaque)
{
    KsmTestProbe *probe = opaque;
    KsmMsgGroup group;

    return ksm_test_probe_read(probe, &group) && group.sessions == 1 &&
           group.pages_shared == 0 && group.pages_sharing == 0 &&
           group.pages_unshared == 0 &&
           ksm_test_probe_store_bytes(probe) == 0;
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
                       " bytes", EMPTY_SECONDS, group.sessions,
                       group.pages_shared, group.pages_sharing,
                       group.pages_unshared,
                       ksm_test_probe_store_bytes(probe));
        g_test_fail();
        return;
    }
    g_test_message("the broker was empty after %.0f ms", took * 1000);
}

static void finish(Run *run)
{
    KsmTestProbe *probe;
    guint i;

    probe = ksm_test_probe_new(run->broker->socket, "oracle");
    g_assert_nonnull(probe);
    if (run->row->kill_clients) {
        kill(run->pids[0], SIGKILL);
        ksm_test_reap(run->pids[0], END_SECONDS);
        run->pids[0] = 0;
    }
    __atomic_store_n(&run->shared->stop, 1, __ATOMIC_SEQ_CST);
    for (i = 0; i < run->row->clients; i++) {
        int status;

        if (run->pids[i]) {
            status = ksm_test_reap(run->pids[i], END_SECONDS);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                g_test_message("client %u: status 0x%x", i, status);
                g_test_fail();
            }
        }
    }
    check_empty(probe);
    ksm_test_probe_free(probe);
}

static void print_latency(Run *run)
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

static void print_result(Run *run, const KsmStats *sum, double seconds)
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
    g_test_message("refused: pinned %" PRIu64 ", budget %" PRIu64
                   ", torn %" PRIu64 ", error %" PRIu64
                   "; longest window %" PRIu64 " us",
                   sum->refused_pinned, sum->refused_budget,
                   sum->refused_torn, sum->refused_error,
                   sum->window_ns_max / 1000);
    if (run->client_kills || run->broker_kills) {
        g_test_message("%u client kills, %u broker kills, sharing resumed "
                       "within %.2f s, %" PRIu64 " losses seen",
                       run->client_kills, run->broker_kills, run->resume_max,
                       sum->broker_losses);
    }
    print_latency(run);
}

/* What a row must have done to count. */
static void check_row(Run *run, const KsmStats *sum)
{
    const Row *row = run->row;
    guint i;

    g_assert_cmpuint(sum->merges, >=, row->least);
    g_assert_cmpuint(sum->breaks, >=, row->least);
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
        if (row->max_mappings) {
            g_assert_cmpuint(figures->mappings_max, <=,
                             row->max_mappings + 8);
        }
        if (row->features & (ORACLE_READ | ORACLE_DIRECT | ORACLE_URING |
                             ORACLE_FIXED)) {
            g_assert_cmpuint(figures->io_pages, >, 0);
        }
        if (row->features & ORACLE_HUGE) {
            g_assert_cmpuint(figures->huge_kib_max, >, 0);
        }
        if (row->features & ORACLE_FORK) {
            g_assert_cmpuint(figures->forks, >, 0);
        }
        if (row->features & ORACLE_TOGGLE) {
            g_assert_cmpuint(figures->toggles, >, 0);
        }
        if (row->features & ORACLE_REGIONS) {
            g_assert_cmpuint(figures->regions, >, 0);
        }
    }
}

static void end(Run *run)
{
    ksm_test_broker_free(run->broker);
    g_unlink(run->shared->config.file);
    munmap(run->shared, sizeof(*run->shared));
    close(run->shared_fd);
}

static double row_seconds(const Row *row)
{
    guint sum = 0;
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        sum += rows[i].weight;
    }
    return MAX(LEAST_SECONDS, ksm_test_seconds(DEFAULT_SECONDS) *
               row->weight / sum);
}

static gboolean can_do(const Row *row)
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
    const Row *row = opaque;
    double seconds = row_seconds(row);
    double start, took;
    Run run = { 0 };
    KsmStats sum;
    guint i;

    if (!can_do(row)) {
        return;
    }
    begin(&run, row);
    start = ksm_test_now();
    act(&run, seconds);
    sum = sum_stats(&run);
    took = ksm_test_now() - start;
    finish(&run);
    print_result(&run, &sum, took);
    for (i = 0; i < row->clients; i++) {
        g_assert_cmpuint(run.shared->clients[i].mismatches, ==, 0);
    }
    check_row(&run, &sum);
    end(&run);
}

/* The oracle itself: one byte changed behind its back must be seen. */
static void test_scribble(void)
{
    static const Row row = {
        "scribble", 0, 1, 16, ORACLE_SCRIBBLE, 0, FALSE, FALSE, 0,
    };
    Run run = { 0 };
    int status;

    if (!ksm_test_need_uffd()) {
        return;
    }
    begin(&run, &row);
    g_usleep(500000);
    __atomic_store_n(&run.shared->stop, 1, __ATOMIC_SEQ_CST);
    status = ksm_test_reap(run.pids[0], END_SECONDS);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    g_assert_cmpuint(run.shared->clients[0].mismatches, >, 0);
    end(&run);
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
