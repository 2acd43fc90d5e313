/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load-speed.c: a program bound by memory, in merged and in plain memory.
 *
 * The chaser (bench-chase.c) does the same work in both in turn.  What is
 * reported is the median of the ratios of its pairs, in three phases: before
 * merging (what the two memories differ by anyway), while merging, converged;
 * the latter two have the first divided out.  What slows both memories alike
 * (caches that the scanner fills, interrupts for the process) does not show in
 * the ratio; *_twin is the speed of the plain one against itself before, as far
 * as that can be told on a machine whose own speed drifts.
 */
#include "bench.h"

#include "require.h"

#define SETTLE_SECONDS 0.5
#define HOT_SECONDS 14.0

/* Indices of pairs that lie in a phase as a whole. */
typedef struct Phase {
    GArray *pairs; /* BenchPair */
    gint first;
} Phase;

static BenchShared *shared_of(Bench *bench)
{
    return bench->workers[0].shared;
}

/* A watch: collects the pairs done meanwhile. */
static void collect(Bench *bench, gboolean begins, gpointer opaque)
{
    BenchShared *shared = shared_of(bench);
    gint done = g_atomic_int_get(&shared->pairs_done);
    Phase *phase = opaque;

    if (begins) {
        phase->first = done + 1; /* the one under way is of both phases */
    } else if (done > phase->first) {
        g_array_append_vals(phase->pairs, &shared->pairs[phase->first],
                            (guint)(done - phase->first));
    }
}

static void collect_for(Bench *bench, double seconds, Phase *phase)
{
    g_usleep((gulong)(SETTLE_SECONDS * G_USEC_PER_SEC));
    collect(bench, TRUE, phase);
    g_usleep((gulong)(seconds * G_USEC_PER_SEC));
    collect(bench, FALSE, phase);
}

static double median_of(const Phase *phase, double (*value)(const BenchPair *))
{
    g_autofree double *values = g_new0(double, phase->pairs->len + 1);
    guint i;

    for (i = 0; i < phase->pairs->len; i++) {
        values[i] = value(&g_array_index(phase->pairs, BenchPair, i));
    }
    return bench_median(values, phase->pairs->len);
}

static double by_cpu(const BenchPair *pair)
{
    return (double)pair->cpu_ns[BENCH_TWIN] /
           (double)pair->cpu_ns[BENCH_MERGED];
}

static double by_clock(const BenchPair *pair)
{
    return (double)pair->clock_ns[BENCH_TWIN] /
           (double)pair->clock_ns[BENCH_MERGED];
}

static double of_twin(const BenchPair *pair)
{
    return 1e9 / (double)pair->cpu_ns[BENCH_TWIN];
}

static double accesses_per_us(const BenchPair *pair)
{
    return BENCH_HOT_ACCESSES * 1e3 / (double)pair->cpu_ns[BENCH_MERGED];
}

static void report(Bench *bench, const char *name, const Phase *phase,
                   const Phase *before)
{
    static const struct {
        const char *suffix;
        double (*value)(const BenchPair *);
    } values[] = {
        { "", by_cpu },
        { "_clock", by_clock },
        { "_twin", of_twin },
    };
    g_autofree char *count = g_strconcat("pairs_", name, NULL);
    guint i;

    for (i = 0; i < G_N_ELEMENTS(values); i++) {
        g_autofree char *full = NULL;

        full = g_strconcat("speed_", name, values[i].suffix, NULL);
        bench_report(bench, full,
                     median_of(phase, values[i].value) /
                         (before ? median_of(before, values[i].value) : 1));
    }
    bench_report(bench, count, phase->pairs->len);
}

void bench_load_speed(Bench *bench)
{
    Phase phases[3];
    guint i;

    for (i = 0; i < G_N_ELEMENTS(phases); i++) {
        phases[i].pairs = g_array_new(FALSE, FALSE, sizeof(BenchPair));
    }
    bench_worker_order(&bench->workers[0], BENCH_CHASE, 0, 0, 0);
    collect_for(bench, bench->config.seconds, &phases[0]);
    bench_ship(bench);
    bench_keep_merging(bench, bench->config.seconds, collect, &phases[1]);
    if (bench->config.side != BENCH_PLAIN) {
        bench_converge(bench);
    }
    collect_for(bench, bench->config.seconds, &phases[2]);
    bench_worker_order(&bench->workers[0], BENCH_STOP, 0, 0, 0);
    bench_run(bench, FALSE);
    report(bench, "before", &phases[0], NULL);
    report(bench, "merging", &phases[1], &phases[0]);
    report(bench, "converged", &phases[2], &phases[0]);
    for (i = 0; i < G_N_ELEMENTS(phases); i++) {
        g_array_free(phases[i].pairs, TRUE);
    }
}

/* The policy's own figures, and what is left of the huge pages. */
static void report_huge(Bench *bench)
{
    const BenchShared *shared = shared_of(bench);

    bench_report(bench, "saved_pages", (double)bench_saved_pages(bench));
    bench_report(bench, "huge_mib", (double)shared->huge_kib / 1024);
    if (bench->config.side == BENCH_OURS) {
        bench_all(bench, BENCH_STATS, 0);
        bench_report(bench, "kept_pages",
                     (double)shared->stats.pages_kept_huge);
        bench_report(bench, "collapses", (double)shared->stats.collapses);
    }
}

/*
 * One thread works in a part of one process's memory all the time.  First while
 * nobody merges, then when merging has gone on for long enough; ksmd, which
 * has then merged what it can, at its default pace.
 */
void bench_load_hot(Bench *bench)
{
    Phase before, after;
    guint64 cpu_ns;
    double start;

    before.pairs = g_array_new(FALSE, FALSE, sizeof(BenchPair));
    after.pairs = g_array_new(FALSE, FALSE, sizeof(BenchPair));
    bench_worker_order(&bench->workers[0], BENCH_HOT, 0, 0, 0);
    collect_for(bench, bench->config.seconds, &before);
    bench_run(bench, TRUE);
    g_usleep((gulong)(HOT_SECONDS * G_USEC_PER_SEC));
    if (bench->config.side == BENCH_KSMD) {
        bench_ksmd_shipped();
    }
    cpu_ns = bench_cpu_ns(bench);
    start = ksm_test_now();
    collect_for(bench, 2 * bench->config.seconds, &after);
    bench_report(bench, "cpu_percent",
                 (double)(bench_cpu_ns(bench) - cpu_ns) / 1e7 /
                     (ksm_test_now() - start));
    report(bench, "before", &before, NULL);
    report(bench, "hot", &after, &before);
    bench_report(bench, "accesses_per_us", median_of(&after, accesses_per_us));
    report_huge(bench);
    bench_worker_order(&bench->workers[0], BENCH_STOP, 0, 0, 0);
    bench_run(bench, FALSE);
    g_array_free(before.pairs, TRUE);
    g_array_free(after.pairs, TRUE);
}
