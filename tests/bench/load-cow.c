/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load-cow.c: the first write to a shared page, with the page read before and
 * not.
 */
#include "bench.h"

#define COW_WRITES 2000u

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
    bench_converge(bench);
    bench_run(bench, FALSE);
    cow(bench, "cow", TRUE);
    cow(bench, "cow_unread", FALSE);
}
