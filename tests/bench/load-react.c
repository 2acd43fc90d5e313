/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load-react.c: how soon a new duplicate is shared.
 *
 * Everything is merged and idle.  Some pages of the last worker get unique
 * content, and enough time to be listed.  Then pages of the first worker get
 * the same content, in events spread over the time of a pass.  Each event is
 * timed until the kernel reports that the pages of both are shared.  Our side
 * has one more event after a long idle time, when scanning has slowed down.
 */
#include "bench.h"

#include "page-content.h"
#include "require.h"

#define EVENTS 12u
#define EVENT_PAGES 16u
#define KNOWN_PASSES 2u
/* After these no page counts as one that is written often. */
#define QUIET_PASSES 12u
#define POLL_US 5000u

typedef struct Event {
    guint64 from_page; /* of the last worker */
    guint64 to_page;   /* of the first */
    guint64 id;
    double due; /* seconds since the start */
    gboolean begun;
    double took_s; /* negative: not yet */
} Event;

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

static void prepare(const BenchConfig *config, Event *events)
{
    g_autofree guint64 *to_ids = bench_content_layout(config, 0);
    g_autofree guint64 *from_ids = NULL;
    guint i;

    from_ids = bench_content_layout(config, config->processes - 1);
    for (i = 0; i <= EVENTS; i++) {
        events[i] = (Event) {
            .from_page = find_place(from_ids, config, i),
            .to_page = find_place(to_ids, config, i),
            .id = bench_content_unique(config->processes,
                                       (guint64)i * EVENT_PAGES),
            .took_s = -1,
        };
    }
}

static BenchWorker *from_worker(Bench *bench)
{
    return &bench->workers[bench->config.processes - 1];
}

static gboolean is_shared(Bench *bench, const Event *event)
{
    return bench_worker_order(&bench->workers[0], BENCH_COUNT_SHARED,
                              event->to_page, EVENT_PAGES, 0) == EVENT_PAGES &&
           bench_worker_order(from_worker(bench), BENCH_COUNT_SHARED,
                              event->from_page, EVENT_PAGES, 0) == EVENT_PAGES;
}

/* Begins events that are due, looks at those that have begun. */
static guint step(Bench *bench, Event *events, guint count, double now)
{
    guint open = 0, i;

    for (i = 0; i < count; i++) {
        Event *event = &events[i];

        if (event->took_s >= 0) {
            continue;
        }
        open++;
        if (!event->begun && now >= event->due) {
            bench_worker_order(&bench->workers[0], BENCH_PUT, event->to_page,
                               EVENT_PAGES, event->id);
            event->due = now;
            event->begun = TRUE;
        } else if (event->begun && is_shared(bench, event)) {
            event->took_s = now - event->due;
        }
    }
    return open;
}

/* Events over `spread_s` seconds; those not over at the limit took that. */
static void run_events(Bench *bench, Event *events, guint count,
                       double spread_s)
{
    guint64 random = bench->config.seed;
    double start = ksm_test_now(), now = 0;
    guint i;

    for (i = 0; i < count; i++) {
        double part = (double)ksm_test_below(&random, 1000) / 1000;

        events[i].due = (i + part) * spread_s / count;
    }
    while (step(bench, events, count, now) &&
           now < bench->config.limit_seconds) {
        g_usleep(POLL_US);
        now = ksm_test_now() - start;
    }
    for (i = 0; i < count; i++) {
        if (events[i].took_s < 0) {
            events[i].took_s = now - events[i].due;
        }
    }
}

static void report(Bench *bench, const Event *events)
{
    double took[EVENTS];
    guint i;

    for (i = 0; i < EVENTS; i++) {
        took[i] = events[i].took_s;
    }
    bench_report(bench, "react_s", bench_median(took, EVENTS));
    bench_report(bench, "react_max_s", took[EVENTS - 1]);
}

void bench_load_react(Bench *bench)
{
    Event events[EVENTS + 1];
    double known_s;
    guint i;

    bench_converge(bench);
    bench_wait_passes(bench, QUIET_PASSES);
    bench_ship(bench);
    prepare(&bench->config, events);
    for (i = 0; i <= EVENTS; i++) {
        bench_worker_order(from_worker(bench), BENCH_PUT, events[i].from_page,
                           EVENT_PAGES, events[i].id);
    }
    bench_wait_passes(bench, 1); /* it may have begun before */
    known_s = bench_wait_passes(bench, KNOWN_PASSES);
    bench_report(bench, "round_s", known_s / KNOWN_PASSES);
    run_events(bench, events, EVENTS, known_s);
    report(bench, events);
    if (bench->config.side == BENCH_OURS) {
        bench_wait_passes(bench, QUIET_PASSES);
        run_events(bench, &events[EVENTS], 1, 0);
        bench_report(bench, "react_after_quiet_s", events[EVENTS].took_s);
    }
    bench_run(bench, FALSE);
}
