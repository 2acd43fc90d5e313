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

static void work_timed(const BenchMemory *memory, BenchTwin which,
                       guint64 seed, BenchPair *pair)
{
    guint64 cpu_ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    guint64 clock_ns = bench_clock_ns(CLOCK_MONOTONIC);
    volatile guint64 sink;

    sink = work(which == BENCH_TWIN ? memory->twin : memory->base,
                memory->config->pages, seed);
    (void)sink;
    clock_ns = bench_clock_ns(CLOCK_MONOTONIC) - clock_ns;
    cpu_ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
    pair->clock_ns[which] = (guint32)MIN(clock_ns, G_MAXUINT32);
    pair->cpu_ns[which] = (guint32)MIN(cpu_ns, G_MAXUINT32);
}

void bench_chase(BenchMemory *memory)
{
    BenchShared *shared = memory->shared;
    guint64 random = memory->index + 5;
    gint done = 0;

    while (!bench_threads_stopped(memory) && done < BENCH_MAX_PAIRS) {
        guint64 seed = ksm_test_random(&random);

        work_timed(memory, BENCH_MERGED, seed, &shared->pairs[done]);
        work_timed(memory, BENCH_TWIN, seed, &shared->pairs[done]);
        done++;
        g_atomic_int_set(&shared->pairs_done, done);
    }
}
