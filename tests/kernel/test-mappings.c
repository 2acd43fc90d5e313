/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-mappings.c: the engines of a process together leave it the mappings that
 * it needs, whatever the limit is and whatever uses them.
 *
 * The engines are given a limit lower than the kernel's, and the mappings are
 * counted, so a limit can be lowered here without harm to the host.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker-proc.h"
#include "core/budget.h"
#include "core/engine-private.h"
#include "page-content.h"
#include "proc-info.h"
#include "require.h"
#include "sys.h"

#define ENGINES 3
#define PAGES 6000u
#define LIMIT 12000u
#define SECONDS 60.0

typedef struct Fixture {
    KsmTestBroker *broker;
    KsmEngine *engines[ENGINES];
    guint8 *memory[ENGINES];
    guint count;
    guint64 most;    /* mappings of the process at any time */
    guint64 allowed; /* for fixture_shrunk() */
    gboolean tells_held;
} Fixture;

static guint limit; /* atomic */

static unsigned told_limit(void)
{
    return g_atomic_int_get(&limit);
}

static gint held; /* atomic: a device may write anywhere */

static gboolean is_held(const void *addr, gsize bytes, void *opaque)
{
    (void)addr;
    (void)bytes;
    (void)opaque;
    return g_atomic_int_get(&held);
}

static void add_engine(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    KsmEngine *engine;
    guint8 *memory;
    guint i;

    ksm_options_init(&options);
    options.group = "mappings";
    options.broker = fixture->broker->socket;
    options.start_broker = FALSE;
    options.required = TRUE;
    options.scan_interval_ms = 20;
    options.scan_cpu_percent = 100;
    options.dma_in_flight = fixture->tells_held ? is_held : NULL;
    engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    memory = mmap(NULL, PAGES * KSM_PAGE_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(memory != MAP_FAILED);
    ksm_region_add(engine, "ram", memory, PAGES * KSM_PAGE_BYTES,
                   KSM_REGION_FRESH, &error);
    g_assert_no_error(error);
    /* Each second page is every engine's, the others are its own. */
    for (i = 0; i < PAGES; i++) {
        ksm_test_page_make(memory + i * KSM_PAGE_BYTES, KSM_TEST_SEEDED,
                           i % 2 ? (fixture->count + 1) * 1000000 + i : i);
    }
    g_assert_true(ksm_engine_start(engine, &error));
    g_assert_no_error(error);
    fixture->memory[fixture->count] = memory;
    fixture->engines[fixture->count++] = engine;
}

static gboolean fixture_open(Fixture *fixture, guint engines)
{
    static KsmSys table;

    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    g_atomic_int_set(&limit, LIMIT);
    table = ksm_sys_linux;
    table.max_map_count = told_limit;
    ksm_sys = &table;
    fixture->broker = ksm_test_broker_new(NULL);
    while (engines--) {
        add_engine(fixture);
    }
    return TRUE;
}

static void fixture_close(Fixture *fixture)
{
    guint i, page;

    for (i = 0; i < fixture->count; i++) {
        for (page = 0; page < PAGES; page++) {
            g_assert_true(
                ksm_test_page_is(fixture->memory[i] + page * KSM_PAGE_BYTES,
                                 KSM_TEST_SEEDED,
                                 page % 2 ? (i + 1) * 1000000 + page : page));
        }
        ksm_engine_free(fixture->engines[i]);
        munmap(fixture->memory[i], PAGES * KSM_PAGE_BYTES);
    }
    ksm_test_broker_free(fixture->broker);
    ksm_sys = &ksm_sys_linux;
}

/* What the engines use; nothing may have failed meanwhile. */
static guint64 used_by_engines(Fixture *fixture, guint64 *refused)
{
    guint64 used = 0;
    KsmStats stats;
    guint i;

    *refused = 0;
    for (i = 0; i < fixture->count; i++) {
        ksm_engine_get_stats(fixture->engines[i], &stats);
        g_assert_cmpuint(stats.refused_error, ==, 0);
        used += stats.mappings;
        *refused += stats.refused_budget > 0;
    }
    fixture->most = MAX(fixture->most, ksm_test_count_mappings());
    return used;
}

/* All of them have come to the end of what there is. */
static gboolean is_full(gpointer opaque)
{
    Fixture *fixture = opaque;
    guint64 refused;

    return used_by_engines(fixture, &refused) >= LIMIT / 2 &&
           refused == fixture->count;
}

static void fill_up(Fixture *fixture)
{
    guint64 refused, used;
    guint i, j;

    g_assert_cmpfloat(ksm_test_wait(is_full, fixture, SECONDS), >=, 0);
    /* Whoever goes on does so now. */
    for (i = 0; i < 10; i++) {
        for (j = 0; j < fixture->count; j++) {
            ksm_engine_run_round(fixture->engines[j]);
        }
        used_by_engines(fixture, &refused);
    }
    used = used_by_engines(fixture, &refused);
    g_test_message("engines use %" G_GUINT64_FORMAT " of %u mappings, the "
                   "process at most %" G_GUINT64_FORMAT,
                   used, LIMIT, fixture->most);
    /* Windows that are not settled yet have two mappings more each. */
    g_assert_cmpuint(fixture->most, <=, LIMIT - KSM_BUDGET_SPARE / 2);
}

/* Together they use what each would have alone. */
static void test_together(void)
{
    Fixture fixture = { 0 };

    if (!fixture_open(&fixture, ENGINES)) {
        return;
    }
    fill_up(&fixture);
    fixture_close(&fixture);
}

static gboolean has_shrunk(gpointer opaque)
{
    Fixture *fixture = opaque;
    guint64 refused;

    used_by_engines(fixture, &refused);
    return ksm_test_count_mappings() <= fixture->allowed;
}

static void wait_shrunk(Fixture *fixture, guint64 allowed)
{
    guint64 refused, used;
    double took;

    fixture->allowed = allowed;
    took = ksm_test_wait(has_shrunk, fixture, SECONDS);
    used = used_by_engines(fixture, &refused);
    g_test_message("%" G_GUINT64_FORMAT
                   " mappings after %.1f s, %" G_GUINT64_FORMAT
                   " of the engines",
                   ksm_test_count_mappings(), took, used);
    g_assert_cmpfloat(took, >=, 0);
    g_assert_cmpuint(used, >, allowed / 4);
}

/* A limit that is lowered holds for what is there already. */
static void test_lowered(void)
{
    Fixture fixture = { 0 };

    if (!fixture_open(&fixture, ENGINES)) {
        return;
    }
    fill_up(&fixture);
    g_atomic_int_set(&limit, LIMIT / 2);
    wait_shrunk(&fixture, LIMIT / 2 - KSM_BUDGET_SPARE);
    fixture_close(&fixture);
}

/* What the program maps later goes off what the engine may have. */
static void test_program(void)
{
    Fixture fixture = { 0 };
    guint8 *mapped;
    guint i;

    if (!fixture_open(&fixture, ENGINES)) {
        return;
    }
    fill_up(&fixture);
    mapped = mmap(NULL, LIMIT / 2 * KSM_PAGE_BYTES, PROT_READ,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(mapped != MAP_FAILED);
    for (i = 0; i < LIMIT / 2; i += 2) {
        g_assert_cmpint(mprotect(mapped + i * KSM_PAGE_BYTES, KSM_PAGE_BYTES,
                                 PROT_NONE),
                        ==, 0);
    }
    wait_shrunk(&fixture, LIMIT - KSM_BUDGET_SPARE / 2);
    munmap(mapped, LIMIT / 2 * KSM_PAGE_BYTES);
    fixture_close(&fixture);
}

static gboolean shares_nothing(gpointer opaque)
{
    Fixture *fixture = opaque;
    KsmStats stats;

    ksm_engine_get_stats(fixture->engines[0], &stats);
    return stats.pages_sharing == 0;
}

static gboolean is_whole(gpointer opaque)
{
    Fixture *fixture = opaque;
    KsmStats stats;

    ksm_engine_get_stats(fixture->engines[0], &stats);
    return stats.pages_broken == 0 && stats.mappings == 1;
}

/* Writes again what stands in every fourth page: that breaks it. */
static void rewrite(const Fixture *fixture)
{
    guint page;

    for (page = 0; page < PAGES; page += 4) {
        volatile guint8 *byte = fixture->memory[0] + page * KSM_PAGE_BYTES;

        *byte = *byte;
    }
}

/*
 * Unmerging needs mappings where none are left, and waits for devices.  What
 * it had to leave comes back without being asked to once more.
 */
static void test_unmerged(void)
{
    Fixture fixture = { .tells_held = TRUE };
    KsmStats stats;

    if (!fixture_open(&fixture, ENGINES)) {
        return;
    }
    fill_up(&fixture);
    ksm_engine_set_run(fixture.engines[0], KSM_RUN_PAUSE);
    g_atomic_int_set(&limit, LIMIT / 4);
    g_atomic_int_set(&held, TRUE);
    rewrite(&fixture);
    ksm_engine_set_run(fixture.engines[0], KSM_RUN_UNMERGE);
    g_assert_cmpfloat(ksm_test_wait(shares_nothing, &fixture, SECONDS), >=, 0);
    ksm_engine_get_stats(fixture.engines[0], &stats);
    g_test_message("%" G_GUINT64_FORMAT " pages broken, %" G_GUINT64_FORMAT
                   " mappings",
                   stats.pages_broken, stats.mappings);
    g_assert_cmpuint(stats.pages_broken, >, 0);
    g_atomic_int_set(&held, FALSE);
    g_assert_cmpfloat(ksm_test_wait(is_whole, &fixture, SECONDS), >=, 0);
    fixture_close(&fixture);
}

static guint64 budget_of_new_engine(void)
{
    g_autoptr(KsmEngine) engine = NULL;
    g_autoptr(GError) error = NULL;
    KsmOptions options;

    ksm_options_init(&options);
    options.group = "mappings";
    engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    return ksm_budget_compute(engine);
}

/* A child has none of the regions, and what they use is not its. */
static void test_fork(void)
{
    Fixture fixture = { 0 };
    guint64 budget;
    pid_t pid;

    if (!fixture_open(&fixture, ENGINES)) {
        return;
    }
    fill_up(&fixture);
    budget = budget_of_new_engine();
    g_test_message("a fourth engine may use %" G_GUINT64_FORMAT, budget);
    g_assert_cmpuint(budget, <, LIMIT / 2);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        _exit(budget_of_new_engine() >= LIMIT * 3 / 4 ? 0 : 1);
    }
    g_assert_cmpint(ksm_test_reap(pid, 30), ==, 0);
    fixture_close(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* The engine warns of a budget that is used up. */
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
    g_test_add_func("/mappings/together", test_together);
    g_test_add_func("/mappings/limit-lowered", test_lowered);
    g_test_add_func("/mappings/program-maps-more", test_program);
    g_test_add_func("/mappings/unmerged", test_unmerged);
    g_test_add_func("/mappings/fork", test_fork);
    return g_test_run();
}
