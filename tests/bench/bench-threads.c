/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-threads.c: threads of a worker that use its memory while it is merged,
 * as a guest's programs would, and what they notice.
 *
 * The rewriter replaces a share of the pages once a second, spread over the
 * second.  Two more have files of their own: bench-touch.c, bench-chase.c.
 */
#include "bench.h"

#include "page-content.h"

#define REWRITES_PER_SECOND 20u

typedef struct Job {
    BenchMemory *memory;
    void (*run)(BenchMemory *memory);
} Job;

static guint64 now_ns(void)
{
    return bench_clock_ns(CLOCK_MONOTONIC);
}

gboolean bench_threads_stopped(const BenchMemory *memory)
{
    return g_atomic_int_get(&memory->shared->stop) != 0;
}

static void rewrite(BenchMemory *memory)
{
    const BenchConfig *config = memory->config;
    guint64 random = memory->index + 17, number = config->pages, i = 0;
    guint64 count =
        (guint64)((double)config->pages * config->change_percent / 100);
    g_autofree guint64 *chosen = g_new(guint64, count + 1);
    guint64 slice = count / REWRITES_PER_SECOND + 1, k;

    for (k = 0; k < count; k++) {
        chosen[k] = ksm_test_below(&random, config->pages);
    }
    while (count && !bench_threads_stopped(memory)) {
        for (k = 0; k < slice; k++, i++) {
            guint64 page = chosen[i % count];

            memory->ids[page] = bench_content_unique(memory->index, number++);
            bench_content_make(config, memory->ids[page],
                               memory->base + page * KSM_PAGE_BYTES);
            memory->shared->operations++;
        }
        g_usleep(G_USEC_PER_SEC / REWRITES_PER_SECOND);
    }
}

static void compute(BenchMemory *memory)
{
    guint64 random = memory->index;
    guint i;

    while (!bench_threads_stopped(memory)) {
        for (i = 0; i < 100000; i++) {
            ksm_test_random(&random);
        }
    }
}

static gpointer thread_main(gpointer data)
{
    g_autofree Job *job = data;

    job->run(job->memory);
    return NULL;
}

void bench_threads_start(BenchMemory *memory, BenchOrder what)
{
    Job *job = g_new(Job, 1);

    job->memory = memory;
    job->run = what == BENCH_TOUCH   ? bench_touch :
               what == BENCH_CHASE   ? bench_chase :
               what == BENCH_HOT     ? bench_hot :
               what == BENCH_REWRITE ? rewrite :
                                       compute;
    g_atomic_int_set(&memory->shared->stop, 0);
    g_ptr_array_add(memory->threads, g_thread_new("bench", thread_main, job));
}

void bench_threads_stop(BenchMemory *memory)
{
    guint i;

    g_atomic_int_set(&memory->shared->stop, 1);
    for (i = 0; i < memory->threads->len; i++) {
        g_thread_join(g_ptr_array_index(memory->threads, i));
    }
    g_ptr_array_set_size(memory->threads, 0);
}

/*
 * Only a write that is not preceded by a read is a write to a page that this
 * process has not mapped yet; so what to write is known from elsewhere.
 */
void bench_threads_cow(BenchMemory *memory, guint64 count, gboolean read)
{
    guint8 content[KSM_PAGE_BYTES];
    guint64 random = memory->index + 31 + (read ? 1 : 0);
    g_autofree guint8 *done = g_new0(guint8, memory->config->pages);
    guint64 tries;
    volatile guint8 sink = 0;

    for (tries = 0; count && tries < memory->config->pages * 8u; tries++) {
        guint64 page = ksm_test_below(&random, memory->config->pages), start;
        volatile guint8 *at = memory->base + page * KSM_PAGE_BYTES;

        /* Each call has its half of the pages. */
        if (done[page] || (page / 512) % 2 != (read ? 1 : 0) ||
            !bench_content_is_shared(memory->config, memory->ids[page])) {
            continue;
        }
        done[page] = 1;
        count--;
        bench_content_make(memory->config, memory->ids[page], content);
        if (read) {
            sink += *at;
        }
        start = now_ns();
        *at = content[0];
        bench_histogram_add(&memory->shared->histogram, now_ns() - start);
    }
    (void)sink;
}
