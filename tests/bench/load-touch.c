/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load-touch.c: what a program feels whose memory is merged.
 *
 * cow: the first write to a shared page, with the page read before and not.
 * stall: a thread touches pages of the first worker while everything is
 * merged; every access is timed.  speed: a thread bound by memory, before,
 * while, and after merging, in the same memory.
 */
#include "bench.h"

#include <string.h>

#include "require.h"

#define COW_WRITES 2000u

static void run_for(double seconds)
{
    g_usleep((gulong)(seconds * G_USEC_PER_SEC));
}

static void cow(Bench *bench, const char *prefix, gboolean read)
{
    BenchHistogram all = { 0 };
    guint i;

    for (i = 0; i < bench->config.processes; i++) {
        BenchWorker *worker = &bench->workers[i];

        bench_worker_order(worker, BENCH_CLEAR_HISTOGRAM, 0, 0, 0);
        bench_worker_order(worker, BENCH_COW, read, COW_WRITES, 0);
        bench_histogram_merge(&all, &worker->shared->histogram);
    }
    bench_report_histogram(bench, prefix, &all);
}

void bench_load_cow(Bench *bench)
{
    BenchSettled settled;

    bench_run(bench, TRUE);
    bench_settle(bench, &settled);
    bench_report(bench, "fraction", settled.fraction);
    bench_run(bench, FALSE);
    cow(bench, "cow", TRUE);
    cow(bench, "cow_unread", FALSE);
}

static void start_busy(Bench *bench)
{
    guint i;

    for (i = 0; i < bench->config.busy_threads; i++) {
        bench_worker_order(&bench->workers[i % bench->config.processes],
                           BENCH_BUSY, 0, 0, 0);
    }
}

void bench_load_stall(Bench *bench)
{
    BenchWorker *first = &bench->workers[0];
    double start = ksm_test_now();
    BenchSettled settled;

    start_busy(bench);
    bench_worker_order(first, BENCH_TOUCH, 0, 0, 0);
    if (bench->config.side == BENCH_PLAIN) {
        run_for(bench->config.seconds);
    } else {
        bench_run(bench, TRUE);
        bench_settle(bench, &settled);
        bench_report(bench, "fraction", settled.fraction);
        bench_report(bench, "wall_s", settled.wall_s);
    }
    bench_all(bench, BENCH_STOP, 0);
    bench_run(bench, FALSE);
    bench_report_histogram(bench, "stall", &first->shared->histogram);
    bench_report(bench, "touches", (double)first->shared->histogram.total);
    bench_report(bench, "measured_s", ksm_test_now() - start);
}

/* Work done in a second by the chasing thread of the first worker. */
static double speed_of(Bench *bench, double seconds)
{
    volatile guint64 *operations = &bench->workers[0].shared->operations;
    guint64 before = *operations;
    double start = ksm_test_now();

    run_for(seconds);
    return (double)(*operations - before) / (ksm_test_now() - start);
}

void bench_load_speed(Bench *bench)
{
    double plain, merging, converged;
    BenchSettled settled;

    bench_worker_order(&bench->workers[0], BENCH_CHASE, 0, 0, 0);
    run_for(0.5);
    plain = speed_of(bench, bench->config.seconds);
    bench_run(bench, TRUE);
    merging = speed_of(bench, bench->config.seconds);
    bench_settle(bench, &settled);
    run_for(0.5);
    converged = speed_of(bench, bench->config.seconds);
    bench_worker_order(&bench->workers[0], BENCH_STOP, 0, 0, 0);
    bench_run(bench, FALSE);
    bench_report(bench, "plain_per_s", plain);
    bench_report(bench, "speed_merging", merging / plain);
    bench_report(bench, "speed_converged", converged / plain);
    bench_report(bench, "fraction", settled.fraction);
}
