/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-side.c: our engine, ksmd, or none, behind one interface.
 *
 * CPU is the scheduler's account of the threads that merge (schedstat): the
 * scanners' and all of the broker on our side, ksmd on the other.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker-proc.h"
#include "proc-info.h"
#include "require.h"

#define SCANNER "ksm-scanner"
#define POLL_US 5000u
#define CALM_SECONDS 3.0
/* Of what can be merged: what counts as converged. */
#define CONVERGED 0.995

void bench_all(Bench *bench, BenchOrder order, guint64 first)
{
    guint i;

    for (i = 0; i < bench->started; i++) {
        bench_worker_tell(&bench->workers[i], order, first, 0, 0);
    }
    for (i = 0; i < bench->started; i++) {
        bench_worker_hear(&bench->workers[i]);
    }
}

void bench_start_worker(Bench *bench)
{
    KsmTestBroker *broker = bench->broker;
    guint index = bench->started;

    bench_worker_start(&bench->workers[index], &bench->config,
                       broker ? broker->socket : NULL, index);
    bench->started++;
}

void bench_open(Bench *bench, const BenchConfig *config)
{
    guint i;

    memset(bench, 0, sizeof(*bench));
    bench->config = *config;
    bench->json = g_string_new(NULL);
    bench->pages = (guint64)config->pages * config->processes;
    if (config->side == BENCH_OURS) {
        KsmTestBroker *broker = ksm_test_broker_new_idle();

        broker->shipped = config->shipped;
        ksm_test_broker_start(broker);
        bench->broker = broker;
        bench->broker_kib = ksm_test_status_kib(broker->pid, "RssAnon");
    } else if (config->side == BENCH_KSMD) {
        bench_ksmd_open();
        bench_ksmd_full_speed();
    }
    if (config->one_by_one) {
        return;
    }
    while (bench->started < config->processes) {
        bench_start_worker(bench);
    }
    bench_all(bench, BENCH_FILL_MEMORY, 0);
    for (i = 0; i < bench->started; i++) {
        bench->mergeable += bench->workers[i].shared->mergeable;
    }
    bench->before_kib = bench_memory_kib(bench);
}

void bench_close(Bench *bench)
{
    guint64 wrong = 0;
    guint i;

    for (i = 0; i < bench->started; i++) {
        wrong += bench_worker_order(&bench->workers[i], BENCH_CHECK, 0, 0, 0);
    }
    if (wrong) {
        g_error("%" G_GUINT64_FORMAT " pages have changed", wrong);
    }
    if (bench->config.side == BENCH_KSMD) {
        bench_ksmd_run(FALSE);
    }
    for (i = 0; i < bench->started; i++) {
        bench_worker_end(&bench->workers[i]);
    }
    if (bench->broker) {
        ksm_test_broker_free(bench->broker);
    }
}

void bench_run(Bench *bench, gboolean run)
{
    if (bench->config.side == BENCH_OURS) {
        bench_all(bench, BENCH_RUN, run ? KSM_RUN_RUN : KSM_RUN_PAUSE);
    } else if (bench->config.side == BENCH_KSMD) {
        bench_ksmd_run(run);
    }
}

void bench_ship(Bench *bench)
{
    KsmOptions defaults;

    if (!bench->config.shipped) {
        return;
    }
    bench->unhurried = TRUE;
    ksm_options_init(&defaults);
    if (bench->config.side == BENCH_OURS) {
        bench_all(bench, BENCH_INTERVAL, defaults.scan_interval_ms);
        bench_all(bench, BENCH_CPU, defaults.scan_cpu_percent);
    } else if (bench->config.side == BENCH_KSMD) {
        bench_ksmd_shipped();
    }
}

/*
 * The numbers behind @key, or the first ones, in a file of each thread of a
 * process with this name, or of all of them.
 */
static guint64 threads_sum(pid_t pid, const char *wanted, const char *file,
                           const char *key)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *tid;
    guint64 sum = 0;

    while (dir && (tid = g_dir_read_name(dir))) {
        g_autofree char *comm_path = NULL, *file_path = NULL;
        g_autofree char *comm = NULL, *text = NULL;
        const char *at;

        comm_path = g_build_filename(path, tid, "comm", NULL);
        file_path = g_build_filename(path, tid, file, NULL);
        if (g_file_get_contents(comm_path, &comm, NULL, NULL) &&
            (!wanted || strcmp(g_strchomp(comm), wanted) == 0) &&
            g_file_get_contents(file_path, &text, NULL, NULL) &&
            (at = strstr(text, key)) != NULL) {
            sum += g_ascii_strtoull(at + strlen(key), NULL, 10);
        }
    }
    if (dir) {
        g_dir_close(dir);
    }
    return sum;
}

static guint64 threads_cpu_ns(pid_t pid, const char *wanted)
{
    return threads_sum(pid, wanted, "schedstat", "");
}

guint64 bench_broker_cpu_ns(Bench *bench)
{
    KsmTestBroker *broker = bench->broker;

    return threads_cpu_ns(broker->pid, NULL);
}

guint64 bench_wakeups(Bench *bench)
{
    guint64 sum = 0;
    guint i;

    for (i = 0; i < bench->started; i++) {
        sum += threads_sum(bench->workers[i].pid, SCANNER, "status",
                           "\nvoluntary_ctxt_switches:");
    }
    return sum;
}

guint64 bench_cpu_ns(Bench *bench)
{
    guint64 ns = 0;
    guint i;

    if (bench->config.side == BENCH_KSMD) {
        return bench_ksmd_cpu_ns();
    }
    if (bench->config.side == BENCH_OURS) {
        for (i = 0; i < bench->started; i++) {
            ns += threads_cpu_ns(bench->workers[i].pid, SCANNER);
        }
        ns += bench_broker_cpu_ns(bench);
    }
    return ns;
}

guint64 bench_merged(Bench *bench)
{
    guint64 merged = 0;
    guint i;

    if (bench->config.side == BENCH_OURS) {
        bench_all(bench, BENCH_STATS, 0);
    }
    for (i = 0; i < bench->started; i++) {
        const KsmStats *stats = &bench->workers[i].shared->stats;

        if (bench->config.side == BENCH_OURS) {
            merged += stats->pages_sharing + stats->zero_pages;
        } else if (bench->config.side == BENCH_KSMD) {
            merged += bench_ksmd_merged(bench->workers[i].pid);
        }
    }
    return merged;
}

guint64 bench_passes(Bench *bench)
{
    guint64 least = G_MAXUINT64;
    guint i;

    if (bench->config.side == BENCH_KSMD) {
        return bench_ksmd_read("full_scans");
    }
    bench_all(bench, BENCH_STATS, 0);
    for (i = 0; i < bench->started; i++) {
        least = MIN(least, bench->workers[i].shared->stats.full_scans);
    }
    return least;
}

typedef struct PassWaiter {
    Bench *bench;
    guint64 passes;
} PassWaiter;

static gboolean passes_made(gpointer opaque)
{
    PassWaiter *waiter = opaque;

    g_usleep(4 * POLL_US);
    return bench_passes(waiter->bench) >= waiter->passes;
}

double bench_wait_passes(Bench *bench, guint64 more)
{
    PassWaiter waiter = { bench, bench_passes(bench) + more };
    double took = ksm_test_wait(passes_made, &waiter,
                                bench->config.limit_seconds);

    if (took < 0) {
        g_error("no %" G_GUINT64_FORMAT " passes in %g s", more,
                bench->config.limit_seconds);
    }
    return took;
}

/* Broken pages of ours stay in the store's mappings, and private. */
static guint64 mergeable_now(Bench *bench)
{
    guint64 broken = 0;
    guint i;

    for (i = 0; i < bench->started; i++) {
        broken += bench->workers[i].shared->stats.pages_broken;
    }
    return bench->mergeable - MIN(broken, bench->mergeable);
}

void bench_settle(Bench *bench, double limit_s, BenchSettled *settled)
{
    double start = ksm_test_now(), changed = start;
    guint64 cpu_start = bench_cpu_ns(bench), passes = bench_passes(bench);
    guint64 last = 0, merged;

    memset(settled, 0, sizeof(*settled));
    do {
        double now;

        g_usleep(POLL_US);
        merged = bench_merged(bench);
        now = ksm_test_now();
        if (merged != last) {
            last = merged;
            changed = now;
            settled->wall_s = now - start;
            settled->cpu_ns = bench_cpu_ns(bench) - cpu_start;
        }
        if ((merged && now - changed > CALM_SECONDS && !bench->unhurried) ||
            now - start > limit_s) {
            break;
        }
    } while ((double)merged < CONVERGED * (double)mergeable_now(bench));
    settled->merged = merged;
    settled->fraction = (double)merged / (double)MAX(bench->mergeable, 1);
    settled->passes = (double)(bench_passes(bench) - passes);
}

void bench_converge(Bench *bench)
{
    BenchSettled settled;

    bench_run(bench, TRUE);
    bench_settle(bench, bench->config.limit_seconds, &settled);
    bench_report(bench, "fraction", settled.fraction);
}

void bench_report(Bench *bench, const char *name, double value)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    g_ascii_formatd(number, sizeof(number), "%.9g", value);
    g_string_append_printf(bench->json, "%s\"%s\": %s",
                           bench->json->len ? ", " : "", name, number);
}

void bench_report_histogram(Bench *bench, const char *prefix,
                            const BenchHistogram *histogram)
{
    static const struct {
        const char *name;
        double share;
    } points[] = {
        { "p50", 0.5 },      { "p99", 0.99 },       { "p999", 0.999 },
        { "p9999", 0.9999 }, { "p99999", 0.99999 },
    };
    g_autofree char *max_name = NULL;
    guint i;

    for (i = 0; i < G_N_ELEMENTS(points); i++) {
        g_autofree char *name = NULL;

        name = g_strdup_printf("%s_%s_us", prefix, points[i].name);
        bench_report(bench, name,
                     bench_histogram_at(histogram, points[i].share) / 1e3);
    }
    max_name = g_strdup_printf("%s_max_us", prefix);
    bench_report(bench, max_name, (double)histogram->max_ns / 1e3);
}
