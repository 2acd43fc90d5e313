/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load-stall.c: how long a thread that touches pages of the first worker is
 * delayed while everything is merged, again and again, for the same time on all
 * sides.  All of its accesses are timed (bench-touch.c): stall_* by the clock,
 * held_* without the time in which the thread waited for a processor.
 */
#include "bench.h"

#include "require.h"

#define WATCH_SECONDS 60.0

static void start_busy(Bench *bench)
{
    guint i;

    for (i = 0; i < bench->config.busy_threads; i++) {
        bench_worker_order(&bench->workers[i % bench->config.processes],
                           BENCH_BUSY, 0, 0, 0);
    }
}

static gboolean has_noticed(gpointer opaque)
{
    BenchShared *shared = opaque;

    return g_atomic_int_get(&shared->watched) ==
           g_atomic_int_get(&shared->watch);
}

static void watch(Bench *bench, gboolean begins, gpointer opaque)
{
    BenchShared *shared = bench->workers[0].shared;

    (void)opaque;
    g_atomic_int_set(&shared->watch, begins);
    g_assert_cmpfloat(ksm_test_wait(has_noticed, shared, WATCH_SECONDS), >=, 0);
}

void bench_load_stall(Bench *bench)
{
    BenchWorker *first = &bench->workers[0];

    start_busy(bench);
    bench_ship(bench);
    bench_worker_order(first, BENCH_TOUCH, 0, 0, 0);
    bench_keep_merging(bench, bench->config.seconds, watch, NULL);
    bench_all(bench, BENCH_STOP, 0);
    bench_run(bench, FALSE);
    bench_report_histogram(bench, "stall", &first->shared->histogram);
    bench_report_histogram(bench, "held", &first->shared->held);
    bench_report(bench, "touches", (double)first->shared->histogram.total);
}
