/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load-steady.c: memory that is merged: what it costs to keep it so.
 *
 * idle: nothing is written; the CPU of a round, or of a full pass of ksmd, for
 * each GiB.  churn: a share of the pages is rewritten once a second.  Both
 * sides make one round (or pass) a second, so that they would find a new
 * duplicate equally soon: one needs two rounds for it, the other two passes,
 * and more where smart_scan passes the page over.  What a round costs is what a
 * second costs.
 *
 * many: many processes with default settings, after a long time without a
 * write; CPU of all that merges.
 *
 * crowd: many processes with default settings that are merged at the same time;
 * CPU of their scanners, as a part of what the broker allows by default.
 */
#include "bench.h"

#include "require.h"

#define GIB_PAGES 262144.0
/* Until nothing is looked at more rarely than before: due.c doubles to 64 s. */
#define QUIET_S 130
#define PERIOD_MS 1000u
#define PERIOD_TRIES 2u

/* CPU of one pass over everything, averaged over some. */
static double pass_cpu_s(Bench *bench, guint64 passes, double *period_s)
{
    double start = ksm_test_now();
    guint64 cpu = bench_cpu_ns(bench), first = bench_passes(bench), done;

    bench_wait_passes(bench, passes);
    done = bench_passes(bench) - first;
    *period_s = (ksm_test_now() - start) / (double)done;
    return (double)(bench_cpu_ns(bench) - cpu) / 1e9 / (double)done;
}

void bench_load_idle(Bench *bench)
{
    double gib = (double)bench->pages / GIB_PAGES, period_s;
    guint64 passes = bench->config.side == BENCH_OURS ? 40 : 5;

    bench_converge(bench);
    /* What was mapped anew is seen once more; then all is quiet. */
    bench_wait_passes(bench, bench->config.side == BENCH_OURS ? 12 : 2);
    bench_report(bench, "round_cpu_s_per_gib",
                 pass_cpu_s(bench, passes, &period_s) / gib);
    bench_report(bench, "round_s", period_s);
    if (bench->config.side == BENCH_KSMD) {
        bench_ksmd_write("smart_scan", 0);
        bench_wait_passes(bench, 2);
        bench_report(bench, "full_pass_cpu_s_per_gib",
                     pass_cpu_s(bench, 3, &period_s) / gib);
    }
}

/* What was used so far; of ksmd only the first. */
typedef struct Used {
    guint64 cpu_ns, broker_ns, wakeups, requests;
} Used;

static Used used_so_far(Bench *bench)
{
    Used used = { .cpu_ns = bench_cpu_ns(bench) };
    guint i;

    if (bench->config.side == BENCH_OURS) {
        used.broker_ns = bench_broker_cpu_ns(bench);
        used.wakeups = bench_wakeups(bench);
        bench_all(bench, BENCH_STATS, 0);
        for (i = 0; i < bench->started; i++) {
            used.requests += bench->workers[i].shared->stats.broker_requests;
        }
    }
    return used;
}

void bench_load_many(Bench *bench)
{
    const double seconds = bench->config.seconds;
    const double of_each = seconds * bench->config.processes;
    Used before, after;

    bench_converge(bench);
    bench_ship(bench);
    g_usleep(QUIET_S * G_USEC_PER_SEC);
    before = used_so_far(bench);
    g_usleep((gulong)(seconds * G_USEC_PER_SEC));
    after = used_so_far(bench);
    bench_report(bench, "cpu_percent",
                 (double)(after.cpu_ns - before.cpu_ns) / 1e7 / seconds);
    if (bench->config.side == BENCH_OURS) {
        bench_report(bench, "broker_percent",
                     (double)(after.broker_ns - before.broker_ns) / 1e7 /
                         seconds);
        bench_report(bench, "wakeups_per_s",
                     (double)(after.wakeups - before.wakeups) / of_each);
        bench_report(bench, "requests_per_s",
                     (double)(after.requests - before.requests) / of_each);
    }
    bench_all(bench, BENCH_MEMORY, 0);
    bench_report(bench, "mappings", (double)bench->workers[0].shared->mappings);
}

void bench_load_crowd(Bench *bench)
{
    /* What docs/man/guest-ksmd.8 says of --max-cpu-percent. */
    const double limit = (g_get_num_processors() + 3) / 4 * 20;
    BenchSettled settled;
    guint64 broker = bench_broker_cpu_ns(bench);
    double percent;

    bench_ship(bench);
    bench_run(bench, TRUE);
    bench_settle(bench, bench->config.limit_seconds, &settled);
    broker = bench_broker_cpu_ns(bench) - broker;
    percent = (double)(settled.cpu_ns - MIN(broker, settled.cpu_ns)) / 1e7 /
              settled.wall_s;
    bench_report(bench, "cpu_percent", percent);
    bench_report(bench, "limit_percent", limit);
    bench_report(bench, "cpu_of_limit", percent / limit);
    bench_report(bench, "broker_cpu_s", (double)broker / 1e9);
    bench_report(bench, "wall_s", settled.wall_s);
    bench_report(bench, "fraction", settled.fraction);
}

/*
 * A round a second, the time that it takes included.  A pass of ksmd takes as
 * long as the machine lets it, so this takes a few tries.
 */
static void set_period(Bench *bench)
{
    double sleep_s = 0, period_s;
    guint i;

    if (bench->config.side == BENCH_OURS) {
        bench_all(bench, BENCH_INTERVAL, PERIOD_MS);
        return;
    }
    for (i = 0; i < PERIOD_TRIES; i++) {
        pass_cpu_s(bench, 2, &period_s);
        sleep_s = MAX(sleep_s + PERIOD_MS / 1e3 - period_s, 0);
        bench_ksmd_write("sleep_millisecs", (guint64)(sleep_s * 1e3));
    }
}

void bench_load_churn(Bench *bench)
{
    double period_s, cpu_s, started;
    guint64 rewritten = 0;
    guint i;

    bench_converge(bench);
    set_period(bench);
    bench_all(bench, BENCH_REWRITE, 0);
    bench_wait_passes(bench, 2);
    started = ksm_test_now();
    for (i = 0; i < bench->config.processes; i++) {
        rewritten -= bench->workers[i].shared->operations;
    }
    cpu_s = pass_cpu_s(bench, (guint64)MAX(bench->config.seconds, 2),
                       &period_s);
    for (i = 0; i < bench->config.processes; i++) {
        rewritten += bench->workers[i].shared->operations;
    }
    bench_report(bench, "rewritten_per_s",
                 (double)rewritten / (ksm_test_now() - started));
    bench_report(bench, "cpu_s_per_s", cpu_s);
    bench_report(bench, "round_s", period_s);
    bench_all(bench, BENCH_STOP, 0);
    bench_report(bench, "saved_pages", (double)bench_saved_pages(bench));
    bench_run(bench, FALSE);
}
