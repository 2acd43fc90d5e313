/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-content.c: which content is in which page of which worker.
 *
 * Content has a number.  Numbers below BENCH_UNIQUE are in every worker once,
 * in runs that are the same in all workers, but in a different order.  Between
 * them are runs of content that no other worker has.  Lengths of runs are
 * geometrically distributed, as pieces of files in page caches roughly are.
 */
#include "bench.h"

#include <math.h>
#include <string.h>

#include "page-content.h"

#define BENCH_UNIQUE (G_GUINT64_CONSTANT(1) << 56)
#define TAIL_AT (KSM_PAGE_BYTES / sizeof(guint64) - 1)

typedef struct Run {
    guint64 first;
    guint64 pages;
} Run;

guint64 bench_content_unique(guint index, guint64 number)
{
    return BENCH_UNIQUE | (guint64)index << 40 | number;
}

gboolean bench_content_is_shared(const BenchConfig *config, guint64 id)
{
    return config->layout == BENCH_FILL || config->layout == BENCH_ZERO ||
           id < BENCH_UNIQUE;
}

static guint64 run_length(guint64 *random, guint mean)
{
    double u = (double)(ksm_test_random(random) >> 11) / 9007199254740992.0;

    if (mean <= 1) {
        return 1;
    }
    return 1 + (guint64)(log(1.0 - u) / log(1.0 - 1.0 / mean));
}

/* Cuts [0, pages) into runs. */
static GArray *cut(guint64 pages, guint mean, guint64 seed)
{
    GArray *runs = g_array_new(FALSE, FALSE, sizeof(Run));
    Run run = { 0 };

    while (run.first < pages) {
        guint64 length = run_length(&seed, mean);

        run.pages = MIN(length, pages - run.first);
        g_array_append_val(runs, run);
        run.first += run.pages;
    }
    return runs;
}

static void shuffle(GArray *runs, guint64 seed)
{
    guint i;

    for (i = runs->len; i > 1; i--) {
        guint j = (guint)ksm_test_below(&seed, i);
        Run *a = &g_array_index(runs, Run, i - 1);
        Run *b = &g_array_index(runs, Run, j);
        Run saved = *a;

        *a = *b;
        *b = saved;
    }
}

/* Lays the shared runs out among others that are the worker's own. */
static void lay_out(const BenchConfig *config, guint index, guint64 *ids)
{
    guint64 shared = (guint64)config->pages * config->duplicate_percent / 100;
    guint64 own = config->pages - shared, at = 0, own_used = 0;
    g_autoptr(GArray) runs = cut(shared, config->mean_run, config->seed);
    g_autoptr(GArray) gaps = NULL;
    guint i, gap = 0;
    guint64 k;

    gaps = cut(own, config->mean_run, ksm_test_mix(config->seed, index + 7));
    shuffle(runs, ksm_test_mix(config->seed, index + 1000));
    for (i = 0; i < runs->len || gap < gaps->len; i++) {
        if (i < runs->len) {
            const Run *run = &g_array_index(runs, Run, i);

            for (k = 0; k < run->pages; k++) {
                ids[at++] = run->first + k;
            }
        }
        /* As many gaps as runs are through, so that they mix to the end. */
        while (gap < gaps->len &&
               (i >= runs->len ||
                (guint64)gap * runs->len < (guint64)(i + 1) * gaps->len)) {
            for (k = 0; k < g_array_index(gaps, Run, gap).pages; k++) {
                ids[at++] = bench_content_unique(index, own_used++);
            }
            gap++;
        }
    }
    g_assert_cmpuint(at, ==, config->pages);
}

guint64 *bench_content_layout(const BenchConfig *config, guint index)
{
    guint64 *ids = g_new0(guint64, config->pages);

    if (config->layout == BENCH_RUNS || config->layout == BENCH_TAILS) {
        lay_out(config, index, ids);
    }
    return ids;
}

guint64 bench_content_mergeable(const BenchConfig *config, const guint64 *ids,
                                guint64 pages)
{
    guint64 count = 0, i;

    for (i = 0; i < pages; i++) {
        count += bench_content_is_shared(config, ids[i]) ? 1 : 0;
    }
    return count;
}

void bench_content_make(const BenchConfig *config, guint64 id, void *page)
{
    switch (config->layout) {
    case BENCH_RUNS:
        ksm_test_page_make(page, KSM_TEST_SEEDED,
                           ksm_test_mix(config->seed, id));
        break;
    case BENCH_TAILS:
        ksm_test_page_make(page, KSM_TEST_SEEDED, config->seed);
        ((guint64 *)page)[TAIL_AT] = ksm_test_mix(config->seed, id);
        break;
    case BENCH_FILL:
        ksm_test_page_make(page, KSM_TEST_BYTE, 0xcc);
        break;
    case BENCH_ZERO:
        ksm_test_page_make(page, KSM_TEST_ZERO, 0);
        break;
    }
}

gboolean bench_content_is(const BenchConfig *config, guint64 id,
                          const void *page)
{
    guint64 wanted[KSM_PAGE_BYTES / sizeof(guint64)];

    bench_content_make(config, id, wanted);
    return memcmp(page, wanted, KSM_PAGE_BYTES) == 0;
}
