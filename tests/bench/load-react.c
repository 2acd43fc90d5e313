/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load-react.c: how soon a new duplicate is shared.
 *
 * Everything is merged and calm.  Some pages of the last worker get contents
 * that nobody has, and time to become known; then pages of the first worker
 * get the same contents, and the clock runs until both are merged.  The last
 * event comes after a long quiet, when scanning has slowed down.
 */
#include "bench.h"

#include "require.h"

#define EVENTS 4u
#define EVENT_PAGES 16u
#define QUIET_PASSES 2u
#define LONG_QUIET_PASSES 12u

typedef struct Waiter {
    Bench *bench;
    guint64 merged;             /* wanted; or */
    guint64 passes;
} Waiter;

static gboolean is_merged(gpointer opaque)
{
    Waiter *waiter = opaque;

    return bench_merged(waiter->bench) >= waiter->merged;
}

static gboolean is_quiet(gpointer opaque)
{
    Waiter *waiter = opaque;

    g_usleep(20000);
    return bench_passes(waiter->bench) >= waiter->passes;
}

/* The first of EVENT_PAGES pages of a worker that nobody else has. */
static guint64 find_place(const guint64 *ids, const BenchConfig *config,
                          guint number)
{
    guint64 page, own = 0;

    for (page = 0; page < config->pages; page++) {
        own = bench_content_is_shared(config, ids[page]) ? 0 : own + 1;
        if (own == EVENT_PAGES) {
            own = 0;
            if (number-- == 0) {
                return page + 1 - EVENT_PAGES;
            }
        }
    }
    g_error("no place for %u pages: --mean-run is too small", EVENT_PAGES);
}

/* Seconds until both workers' pages are shared; negative: not in time. */
static double event(Bench *bench, guint number, const guint64 *from_ids,
                    const guint64 *to_ids, guint64 passes)
{
    const BenchConfig *config = &bench->config;
    BenchWorker *from = &bench->workers[config->processes - 1];
    BenchWorker *to = &bench->workers[0];
    guint64 id = bench_content_unique(config->processes,
                                      (guint64)number * EVENT_PAGES);
    Waiter waiter = { .bench = bench };

    bench_worker_order(from, BENCH_PUT,
                       find_place(from_ids, config, number), EVENT_PAGES, id);
    waiter.passes = bench_passes(bench) + passes;
    ksm_test_wait(is_quiet, &waiter, config->limit_seconds);
    waiter.merged = bench_merged(bench) + 2 * EVENT_PAGES;
    bench_worker_order(to, BENCH_PUT, find_place(to_ids, config, number),
                       EVENT_PAGES, id);
    return ksm_test_wait(is_merged, &waiter, config->limit_seconds);
}

void bench_load_react(Bench *bench)
{
    g_autofree guint64 *to_ids = bench_content_layout(&bench->config, 0);
    g_autofree guint64 *from_ids = NULL;
    double sum = 0, worst = 0, quiet;
    guint i;

    from_ids = bench_content_layout(&bench->config,
                                    bench->config.processes - 1);
    bench_converge(bench);
    bench_ship(bench);
    for (i = 0; i < EVENTS; i++) {
        double s = event(bench, i, from_ids, to_ids, QUIET_PASSES);

        if (s < 0) {
            s = bench->config.limit_seconds;
        }
        sum += s;
        worst = MAX(worst, s);
    }
    bench_report(bench, "react_s", sum / EVENTS);
    bench_report(bench, "react_max_s", worst);
    if (bench->config.side == BENCH_OURS) {
        quiet = event(bench, i, from_ids, to_ids, LONG_QUIET_PASSES);
        bench_report(bench, "react_after_quiet_s", quiet);
    }
    bench_run(bench, FALSE);
}
