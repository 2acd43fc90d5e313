/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-cycle.c: merging that continues for a given time.
 *
 * A side that converges sooner would be watched for a shorter time, and meet
 * fewer of the machine's own hiccups.  So merged memory is made private again
 * and merged once more, until merging has taken that time in total.  Nothing is
 * measured in between.
 */
#include "bench.h"

#include "require.h"

#define UNMERGE_SECONDS 60.0

static gboolean is_private(gpointer opaque)
{
    return bench_merged(opaque) == 0;
}

/* Everything private, and nobody at work. */
static void unmerge(Bench *bench)
{
    if (bench->config.side == BENCH_KSMD) {
        bench_ksmd_write("run", KSM_RUN_UNMERGE);
        bench_ksmd_run(FALSE);
        return;
    }
    bench_all(bench, BENCH_RUN, KSM_RUN_UNMERGE);
    if (ksm_test_wait(is_private, bench, UNMERGE_SECONDS) < 0) {
        g_error("still %" G_GUINT64_FORMAT " pages merged after %g s of "
                "unmerging",
                bench_merged(bench), UNMERGE_SECONDS);
    }
    bench_run(bench, FALSE);
}

void bench_keep_merging(Bench *bench, double seconds, BenchWatch watch,
                        gpointer opaque)
{
    BenchSettled settled = { 0 };
    double merging_s = 0, start;
    guint64 merged = 0;
    guint cycles = 0;

    while (merging_s < seconds) {
        if (cycles++) {
            unmerge(bench);
        }
        start = ksm_test_now();
        watch(bench, TRUE, opaque);
        if (bench->config.side == BENCH_PLAIN) {
            g_usleep((gulong)(seconds * G_USEC_PER_SEC));
        } else {
            bench_run(bench, TRUE);
            bench_settle(bench, seconds - merging_s, &settled);
        }
        watch(bench, FALSE, opaque);
        merging_s += ksm_test_now() - start;
        merged += settled.merged;
    }
    bench_report(bench, "cycles", cycles);
    bench_report(bench, "merging_s", merging_s);
    bench_report(bench, "pages_merged", (double)merged);
}
