/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-touch.c: a thread that keeps touching its memory and times each access,
 * by the clock: mostly reads, now and then a write, so that pages go both ways.
 *
 * On a busy machine the longest times are those in which the thread had no
 * processor, with or without merging: another thread had it, or the hypervisor.
 * So a second histogram has the time for which the access itself was delayed.
 * It counts only if the thread slept in the kernel, as it does when it meets a
 * window or a lock, and without the time that it waited for a processor after
 * it was woken (run_delay of schedstat).  An access without sleep is recorded
 * with LONG_NS at most.
 */
#include "bench.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "page-content.h"

#define WRITE_EVERY_NS 2000000u
/* Looking the delay up takes longer than most accesses do. */
#define LONG_NS 5000u

typedef struct Scheduled {
    guint64 delay_ns; /* ready, but without a processor */
    glong sleeps;
} Scheduled;

typedef struct Toucher {
    BenchShared *shared;
    int schedstat;
    Scheduled last;   /* when looked up last */
    guint64 ended_ns; /* the access before */
} Toucher;

/* What has come to the thread's account since the last call. */
static Scheduled look_up(Toucher *toucher)
{
    Scheduled before = toucher->last, *now = &toucher->last;
    char text[64] = "", *at = text;
    struct rusage usage;

    if (pread(toucher->schedstat, text, sizeof(text) - 1, 0) > 0) {
        g_ascii_strtoull(text, &at, 10);
        now->delay_ns = g_ascii_strtoull(at, NULL, 10);
    }
    getrusage(RUSAGE_THREAD, &usage);
    now->sleeps = usage.ru_nvcsw;
    return (Scheduled) {
        now->delay_ns - before.delay_ns,
        now->sleeps - before.sleeps,
    };
}

static guint64 held_ns(Toucher *toucher, guint64 ns)
{
    Scheduled since;

    if (ns <= LONG_NS) {
        return ns;
    }
    since = look_up(toucher);
    return since.sleeps ? ns - MIN(ns, since.delay_ns) : LONG_NS;
}

/* Enters an access that took so long. */
static void note(Toucher *toucher, guint64 ns)
{
    bench_histogram_add(&toucher->shared->histogram, ns);
    bench_histogram_add(&toucher->shared->held, held_ns(toucher, ns));
}

void bench_touch(BenchMemory *memory)
{
    Toucher toucher = {
        .shared = memory->shared,
        .schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC),
    };
    guint64 random = memory->index + 99;
    guint64 written_ns = bench_clock_ns(CLOCK_MONOTONIC);
    volatile guint64 sink = 0;

    g_assert_cmpint(toucher.schedstat, >=, 0);
    while (!bench_threads_stopped(memory)) {
        guint64 page = ksm_test_below(&random, memory->config->pages);
        volatile guint64 *at =
            (volatile guint64 *)(gpointer)(memory->base +
                                           page * KSM_PAGE_BYTES);
        gint watched = g_atomic_int_get(&memory->shared->watch);
        guint64 start_ns = bench_clock_ns(CLOCK_MONOTONIC);

        if (start_ns - toucher.ended_ns > LONG_NS) {
            look_up(&toucher); /* it was between two accesses */
            start_ns = bench_clock_ns(CLOCK_MONOTONIC);
        }
        if (start_ns - written_ns > WRITE_EVERY_NS) {
            *at = *at; /* same content, but a write to the kernel */
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
