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

typedef struct Speed {
    guint64 operations;
    guint64 cpu_ns;
    double at;
} Speed;

static void speed_begin(Bench *bench, Speed *speed)
{
    const BenchShared *shared = bench->workers[0].shared;

    speed->operations = shared->operations;
    speed->cpu_ns = shared->cpu_ns;
    speed->at = ksm_test_now();
}

/*
 * Work done by the chasing thread in a second of its own processor time (its
 * faults included), which others on the machine disturb less than the clock;
 * *by_clock: in a second.
 */
static double speed_end(Bench *bench, const Speed *begin, double *by_clock)
{
    Speed end;
    double work;

    speed_begin(bench, &end);
    work = (double)(end.operations - begin->operations);
    *by_clock = work / (end.at - begin->at);
    return work / ((double)(end.cpu_ns - begin->cpu_ns) / 1e9);
}

void bench_load_speed(Bench *bench)
{
    double plain, merging, converged, by_clock[3];
    double seconds = bench->config.seconds;
    BenchSettled settled = { 0 };
    Speed begin;

    bench_worker_order(&bench->workers[0], BENCH_CHASE, 0, 0, 0);
    run_for(0.5);
    speed_begin(bench, &begin);
    run_for(seconds);
    plain = speed_end(bench, &begin, &by_clock[0]);
    speed_begin(bench, &begin);
    if (bench->config.side == BENCH_PLAIN) {
        run_for(seconds);
    } else {
        bench_ship(bench);
        bench_run(bench, TRUE);
        bench_settle(bench, &settled);
    }
    merging = speed_end(bench, &begin, &by_clock[1]);
    run_for(0.5);
    speed_begin(bench, &begin);
    run_for(seconds);
    converged = speed_end(bench, &begin, &by_clock[2]);
    bench_worker_order(&bench->workers[0], BENCH_STOP, 0, 0, 0);
    bench_run(bench, FALSE);
    bench_report(bench, "plain_per_cpu_s", plain);
    bench_report(bench, "speed_merging", merging / plain);
    bench_report(bench, "speed_converged", converged / plain);
    bench_report(bench, "clock_speed_merging", by_clock[1] / by_clock[0]);
    bench_report(bench, "clock_speed_converged", by_clock[2] / by_clock[0]);
    bench_report(bench, "wall_s", settled.wall_s);
    bench_report(bench, "fraction", settled.fraction);
}
