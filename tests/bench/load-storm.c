/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load-storm.c: processes that come up one after another, as guests do after
 * an outage; each fills its memory and is merged before the next one comes.
 * CPU and time of all of it: a newcomer should cost its own pages, not another
 * scan of all others.
 */
#include "bench.h"

#include "require.h"

/* The first has nobody to share with; it becomes known. */
#define KNOWN_PASSES 2u

static void come_up(Bench *bench)
{
    BenchWorker *worker = &bench->workers[bench->started];

    bench_start_worker(bench);
    bench_run(bench, TRUE);
    bench_worker_order(worker, BENCH_FILL_MEMORY, 0, 0, 0);
    bench->mergeable += worker->shared->mergeable;
}

void bench_load_storm(Bench *bench)
{
    guint64 cpu_ns = bench_cpu_ns(bench), end_ns = cpu_ns, merged = 0;
    double start = ksm_test_now(), end = start;
    guint i;

    bench_ship(bench);
    for (i = 0; i < bench->config.processes; i++) {
        BenchSettled settled;

        end_ns = bench_cpu_ns(bench);
        end = ksm_test_now();
        come_up(bench);
        if (i == 0) {
            bench_wait_passes(bench, KNOWN_PASSES);
            continue;
        }
        bench_settle(bench, bench->config.limit_seconds, &settled);
        merged = settled.merged;
    }
    bench_report(bench, "cpu_s", (double)(bench_cpu_ns(bench) - cpu_ns) / 1e9);
    bench_report(bench, "wall_s", ksm_test_now() - start);
    bench_report(bench, "last_cpu_s",
                 (double)(bench_cpu_ns(bench) - end_ns) / 1e9);
    bench_report(bench, "last_wall_s", ksm_test_now() - end);
    bench_report(bench, "fraction",
                 (double)merged / (double)MAX(bench->mergeable, 1));
    bench->before_kib = bench->pages * (KSM_PAGE_BYTES / 1024);
    bench_report(bench, "saved_pages", (double)bench_saved_pages(bench));
    bench_run(bench, FALSE);
    bench_report_metadata(bench);
}
