/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-chase.c: a thread bound by memory, in merged and in plain memory.
 *
 * How fast a machine is that others share drifts by tens of percent within
 * seconds, so speeds of different times cannot be compared.  This thread
 * therefore does the same work, some milliseconds of it, in the memory that is
 * merged and in its twin, which nobody merges, and notes both times as a pair.
 *
 * The two alternate strictly: a slice that follows one in the same memory finds
 * its page tables cached and is a fifth faster, so that changing the order from
 * pair to pair spreads the ratios.  What being second costs is in all phases,
 * and so divided out.  Longer slices spread more, as the machine drifts within
 * a pair: with 3 ms, medians of three seconds agreed to half a percent.
 */
#include "bench.h"

#include "page-content.h"

#define STEPS 4u
#define STEP_READS 4096u
#define STEP_PAGES 8u

/*
 * Half random reads, each depending on the one before, half streams over some
 * pages: latency and bandwidth, and the TLB.
 */
static guint64 work(const guint8 *memory, guint64 pages, guint64 random)
{
    const guint64 words = KSM_PAGE_BYTES / sizeof(guint64);
    const volatile guint64 *base =
        (const volatile guint64 *)(gconstpointer)memory;
    guint64 total = pages * words, sum = 0, at, i;
    guint step;

    for (step = 0; step < STEPS; step++) {
        at = ksm_test_below(&random, total);
        for (i = 0; i < STEP_READS; i++) {
            at = (at * 5 + (base[at] & 1) + 12345) % total;
        }
        sum += at;
        at = ksm_test_below(&random, pages - STEP_PAGES) * words;
        for (i = 0; i < STEP_PAGES * words; i++) {
            sum += base[at + i];
        }
    }
    return sum;
}

/*
 * Random reads, each depending on the one before, in the hot part; some words
 * are written, which leaves them as they are.
 */
static guint64 work_hot(const BenchConfig *config, guint8 *memory,
                        guint64 random)
{
    guint64 total = (guint64)config->pages * config->hot_percent / 100 *
                    (KSM_PAGE_BYTES / sizeof(guint64));
    volatile guint64 *base = (volatile guint64 *)(gpointer)memory;
    guint64 sum = 0, i;

    for (i = 1; i <= BENCH_HOT_ACCESSES; i++) {
        guint64 at = (ksm_test_random(&random) + (sum & 1)) % total;
        guint64 word = base[at];

        sum += word;
        if (config->write_every && i % config->write_every == 0) {
            base[at] = word;
        }
    }
    return sum;
}

typedef struct Job {
    const BenchMemory *memory;
    gboolean hot;
} Job;

static void work_timed(const Job *job, BenchTwin which, guint64 seed,
                       BenchPair *pair)
{
    const BenchMemory *memory = job->memory;
    guint8 *base = which == BENCH_TWIN ? memory->twin : memory->base;
    guint64 cpu_ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    guint64 clock_ns = bench_clock_ns(CLOCK_MONOTONIC);
    volatile guint64 sink;

    sink = job->hot ? work_hot(memory->config, base, seed) :
                      work(base, memory->config->pages, seed);
    (void)sink;
    clock_ns = bench_clock_ns(CLOCK_MONOTONIC) - clock_ns;
    cpu_ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
    pair->clock_ns[which] = (guint32)MIN(clock_ns, G_MAXUINT32);
    pair->cpu_ns[which] = (guint32)MIN(cpu_ns, G_MAXUINT32);
}

static void pass_pairs(BenchMemory *memory, gboolean hot)
{
    BenchShared *shared = memory->shared;
    guint64 random = memory->index + 5;
    Job job = { memory, hot };
    gint done = 0;

    while (!bench_threads_stopped(memory) && done < BENCH_MAX_PAIRS) {
        guint64 seed = ksm_test_random(&random);

        work_timed(&job, BENCH_MERGED, seed, &shared->pairs[done]);
        work_timed(&job, BENCH_TWIN, seed, &shared->pairs[done]);
        done++;
        g_atomic_int_set(&shared->pairs_done, done);
    }
}

void bench_chase(BenchMemory *memory)
{
    pass_pairs(memory, FALSE);
}

void bench_hot(BenchMemory *memory)
{
    pass_pairs(memory, TRUE);
}
