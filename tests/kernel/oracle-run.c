/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle-run.c: one broker and several clients of the oracle, and killing
 * either.
 */
#include "oracle-run.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "proc-info.h"
#include "require.h"

#define READY_SECONDS 60.0
#define END_SECONDS 120.0
/*
 * How soon sharing goes on is told in a client's own rounds (one to three), as
 * seconds depend on who else needs the CPUs: then it is only said to hang.
 */
#define RESUME_SECONDS 60.0
#define RESUME_ROUNDS 50

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

static void start_client(OracleRun *run, guint index)
{
    char fd[16], number[16];
    const char *argv[] = { "/proc/self/exe", "--client", fd, number, NULL };

    g_snprintf(fd, sizeof(fd), "%d", run->shared_fd);
    g_snprintf(number, sizeof(number), "%u", index);
    __atomic_store_n(&run->shared->clients[index].ready, 0, __ATOMIC_SEQ_CST);
    memset(&run->shared->clients[index].stats, 0, sizeof(KsmStats));
    run->pids[index] = ksm_test_spawn(argv, run->shared_fd, -1);
}

KsmStats oracle_run_client_stats(OracleRun *run, guint index)
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
    sum->given_back += stats->given_back;
    sum->collapses += stats->collapses;
    sum->rollbacks += stats->rollbacks;
    sum->refused_pinned += stats->refused_pinned;
    sum->refused_dma += stats->refused_dma;
    sum->refused_budget += stats->refused_budget;
    sum->refused_torn += stats->refused_torn;
    sum->refused_error += stats->refused_error;
    sum->broker_losses += stats->broker_losses;
    sum->window_ns_max = MAX(sum->window_ns_max, stats->window_ns_max);
}

KsmStats oracle_run_stats(OracleRun *run)
{
    KsmStats sum = run->past;
    guint i;

    for (i = 0; i < run->row->clients; i++) {
        KsmStats stats = oracle_run_client_stats(run, i);

        add_stats(&sum, &stats);
    }
    return sum;
}

/* A client that ends before its time has failed. */
void oracle_run_check_alive(OracleRun *run)
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
    OracleRun *run = opaque;
    guint i;

    oracle_run_check_alive(run);
    for (i = 0; i < run->row->clients; i++) {
        if (__atomic_load_n(&run->shared->clients[i].ready, __ATOMIC_SEQ_CST) <
            run->shared->config.writers) {
            return FALSE;
        }
    }
    return TRUE;
}

void oracle_run_wait_ready(OracleRun *run)
{
    g_assert_cmpfloat(ksm_test_wait(is_ready, run, READY_SECONDS), >=, 0);
}

void oracle_run_begin(OracleRun *run, const OracleRow *row)
{
    OracleConfig *config;

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
}

void oracle_run_start(OracleRun *run)
{
    guint i;

    __atomic_store_n(&run->shared->stop, 0, __ATOMIC_SEQ_CST);
    for (i = 0; i < run->row->clients; i++) {
        start_client(run, i);
    }
    oracle_run_wait_ready(run);
}

void oracle_run_kill_client(OracleRun *run)
{
    guint index = (guint)ksm_test_below(&run->random, run->row->clients);
    KsmStats stats;

    kill(run->pids[index], SIGKILL);
    ksm_test_reap(run->pids[index], END_SECONDS);
    run->client_kills++;
    stats = oracle_run_client_stats(run, index);
    add_stats(&run->past, &stats);
    start_client(run, index);
}

static gboolean has_resumed(gpointer opaque)
{
    OracleRun *run = opaque;
    gboolean all = TRUE;
    guint i;

    oracle_run_check_alive(run);
    for (i = 0; i < run->row->clients; i++) {
        KsmStats stats = oracle_run_client_stats(run, i);

        if (!run->resume_rounds[i] && stats.broker == KSM_BROKER_CONNECTED &&
            stats.merges > run->then[i].merges) {
            run->resume_rounds[i] = stats.full_scans - run->then[i].full_scans +
                                    1;
        }
        all = all && run->resume_rounds[i];
    }
    return all;
}

static gboolean has_lost(gpointer opaque)
{
    OracleRun *run = opaque;
    guint i;

    oracle_run_check_alive(run);
    for (i = 0; i < run->row->clients; i++) {
        if (oracle_run_client_stats(run, i).broker != KSM_BROKER_LOST) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Sharing must go on in every client soon after a new broker listens. */
void oracle_run_kill_broker(OracleRun *run)
{
    double took;
    guint i;

    ksm_test_broker_kill(run->broker);
    run->broker_kills++;
    if (run->broker_kills % 2) {
        g_assert_cmpfloat(ksm_test_wait(has_lost, run, RESUME_SECONDS), >=, 0);
    }
    g_usleep((gulong)ksm_test_below(&run->random, 400000));
    for (i = 0; i < run->row->clients; i++) {
        run->then[i] = oracle_run_client_stats(run, i);
        run->resume_rounds[i] = 0;
    }
    ksm_test_broker_start(run->broker);
    took = ksm_test_wait(has_resumed, run, RESUME_SECONDS);
    if (took < 0) {
        for (i = 0; i < run->row->clients; i++) {
            KsmStats stats = oracle_run_client_stats(run, i);

            g_test_message("client %u: broker %d merges %" PRIu64
                           " now %" PRIu64 ", rounds %" PRIu64,
                           i, stats.broker, run->then[i].merges, stats.merges,
                           stats.full_scans - run->then[i].full_scans);
        }
        g_error("sharing did not resume within %g s", RESUME_SECONDS);
    }
    run->resume_max = MAX(run->resume_max, took);
    for (i = 0; i < run->row->clients; i++) {
        run->resume_rounds_max = MAX(run->resume_rounds_max,
                                     run->resume_rounds[i]);
    }
    g_assert_cmpuint(run->resume_rounds_max, <=, RESUME_ROUNDS);
    /* it took the store up: nobody maps another, and nothing lies twice */
    g_assert_cmpuint(ksm_test_count_stores(run->pids, run->row->clients), ==,
                     1);
}

gboolean oracle_run_stop(OracleRun *run)
{
    gboolean ok = TRUE;
    guint i;
    int status;

    __atomic_store_n(&run->shared->stop, 1, __ATOMIC_SEQ_CST);
    for (i = 0; i < run->row->clients; i++) {
        if (!run->pids[i]) {
            continue;
        }
        status = ksm_test_reap(run->pids[i], END_SECONDS);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            g_test_message("client %u: status 0x%x", i, status);
            ok = FALSE;
        }
    }
    run->past = oracle_run_stats(run);
    for (i = 0; i < run->row->clients; i++) {
        memset(&run->shared->clients[i].stats, 0, sizeof(KsmStats));
    }
    return ok;
}

void oracle_run_end(OracleRun *run)
{
    ksm_test_broker_free(run->broker);
    g_unlink(run->shared->config.file);
    munmap(run->shared, sizeof(*run->shared));
    close(run->shared_fd);
}
