/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-touch.c: a thread that keeps touching its memory and times each access,
 * by the clock: mostly reads, now and then a write, so that pages go both ways.
 *
 * On a busy machine the longest times are those in which the thread had no
 * processor, with or without anybody merging.  So a second histogram holds what
 * is left when the time spent waiting for a processor (run_delay of schedstat)
 * is taken out: the time that the access itself was held up.
 */
#include "bench.h"

#include <fcntl.h>
#include <unistd.h>

#include "page-content.h"

#define WRITE_EVERY_NS 2000000u
/* Looking the delay up takes longer than most accesses do. */
#define LONG_NS 20000u

typedef struct Toucher {
    BenchShared *shared;
    int schedstat;
    guint64 delay_ns;           /* when looked up last */
    guint64 ended_ns;           /* the access before */
} Toucher;

/* How much longer the thread has waited for a processor since the last call. */
static guint64 waited_ns(Toucher *toucher)
{
    guint64 before = toucher->delay_ns;
    char text[64] = "", *at = text;

    if (pread(toucher->schedstat, text, sizeof(text) - 1, 0) > 0) {
        g_ascii_strtoull(text, &at, 10);
        toucher->delay_ns = g_ascii_strtoull(at, NULL, 10);
    }
    return toucher->delay_ns - before;
}

/* Enters an access that took so long. */
static void note(Toucher *toucher, guint64 ns)
{
    guint64 waited = ns > LONG_NS ? waited_ns(toucher) : 0;
    guint64 held_ns = ns - MIN(ns, waited);

    bench_histogram_add(&toucher->shared->histogram, ns);
    bench_histogram_add(&toucher->shared->held, held_ns);
}

void bench_touch(BenchMemory *memory)
{
    Toucher toucher = {
        .shared = memory->shared,
        .schedstat = open("/proc/thread-self/schedstat",
                          O_RDONLY | O_CLOEXEC),
    };
    guint64 random = memory->index + 99;
    guint64 written_ns = bench_clock_ns(CLOCK_MONOTONIC);
    volatile guint64 sink = 0;

    g_assert_cmpint(toucher.schedstat, >=, 0);
    while (!bench_threads_stopped(memory)) {
        guint64 page = ksm_test_below(&random, memory->config->pages);
        volatile guint64 *at = (volatile guint64 *)(gpointer)
            (memory->base + page * KSM_PAGE_BYTES);
        gint watched = g_atomic_int_get(&memory->shared->watch);
        guint64 start_ns = bench_clock_ns(CLOCK_MONOTONIC);

        if (start_ns - toucher.ended_ns > LONG_NS) {
            waited_ns(&toucher);    /* it was between two accesses */
            start_ns = bench_clock_ns(CLOCK_MONOTONIC);
        }
        if (start_ns - written_ns > WRITE_EVERY_NS) {
            *at = *at;          /* same content, but a write to the kernel */
            written_ns = start_ns;
        } else {
            sink += *at;
        }
        toucher.ended_ns = bench_clock_ns(CLOCK_MONOTONIC);
        if (watched) {
            note(&toucher, toucher.ended_ns - start_ns);
        }
        g_atomic_int_set(&memory->shared->watched, watched);
    }
    (void)sink;
    close(toucher.schedstat);
}
