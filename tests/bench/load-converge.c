/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load-converge.c: existing memory, none of it merged yet: CPU and time
 * until all duplicates are merged, and what that saves.  For runs, tails, fill.
 */
#include "bench.h"

static void report_settled(Bench *bench, const BenchSettled *settled)
{
    bench_report(bench, "cpu_s", (double)settled->cpu_ns / 1e9);
    bench_report(bench, "wall_s", settled->wall_s);
    bench_report(bench, "fraction", settled->fraction);
    bench_report(bench, "passes", settled->passes);
    bench_report(bench, "cpu_us_per_page",
                 (double)settled->cpu_ns / 1e3 / (double)bench->pages);
}

/* How long the windows took that pages were away for. */
static void report_windows(Bench *bench)
{
    guint64 windows = 0, total_ns = 0, max_ns = 0;
    guint i;

    if (bench->config.side != BENCH_OURS) {
        return;
    }
    bench_all(bench, BENCH_STATS, 0);
    for (i = 0; i < bench->config.processes; i++) {
        const KsmStats *stats = &bench->workers[i].shared->stats;

        windows += stats->windows;
        total_ns += stats->window_ns_total;
        max_ns = MAX(max_ns, stats->window_ns_max);
    }
    bench_report(bench, "windows", (double)windows);
    bench_report(bench, "window_mean_us",
                 (double)total_ns / (double)MAX(windows, 1) / 1e3);
    bench_report(bench, "window_max_us", (double)max_ns / 1e3);
}

static void report_mappings(Bench *bench)
{
    guint64 mappings = 0;
    guint i;

    for (i = 0; i < bench->config.processes; i++) {
        mappings = MAX(mappings, bench->workers[i].shared->mappings);
    }
    bench_report(bench, "mappings", (double)mappings);
}

void bench_load_converge(Bench *bench)
{
    BenchSettled settled;

    bench_ship(bench);
    bench_run(bench, TRUE);
    bench_settle(bench, bench->config.limit_seconds, &settled);
    report_settled(bench, &settled);
    if (bench->config.brief) {
        bench_run(bench, FALSE);
        return;
    }
    bench_report(bench, "saved_pages", (double)bench_saved_pages(bench));
    bench_run(bench, FALSE);
    bench_report(bench, "mergeable_pages", (double)bench->mergeable);
    report_mappings(bench);
    bench_report_metadata(bench);
    report_windows(bench);
}
