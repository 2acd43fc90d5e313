/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-notice.c: what KsmOptions.notify reports, in which thread and order,
 * and that it agrees with the statistics.
 */
#include <string.h>
#include <sys/mman.h>

#include <guest-ksm.h>

#include "broker-proc.h"
#include "page-content.h"
#include "require.h"

#define PAGES 2048
#define BYTES (PAGES * KSM_PAGE_BYTES)
#define SECONDS 30.0

/* What was told last, and how often. */
typedef struct Told {
    GMutex lock;
    KsmStats state; /* with the last KSM_NOTICE_STATE */
    KsmStats degraded;
    guint64 states, degradations, rounds;
    KsmStats last; /* with the last KSM_NOTICE_PROGRESS */
    gboolean wrong_order;
    GThread *thread;
    gboolean other_thread;
    /* what is waited for */
    KsmState want_state;
    KsmBrokerState want_broker;
    KsmDegraded want_degraded;
} Told;

typedef struct Fixture {
    KsmTestBroker *broker;
    KsmEngine *engine;
    unsigned char *memory;
    Told told;
} Fixture;

static void notify(KsmNotice notice, const KsmStats *stats, void *opaque)
{
    Told *told = opaque;

    g_mutex_lock(&told->lock);
    told->other_thread |= told->thread && told->thread != g_thread_self();
    told->thread = g_thread_self();
    switch (notice) {
    case KSM_NOTICE_STATE:
        told->states++;
        told->state = *stats;
        break;
    case KSM_NOTICE_DEGRADED:
        told->degradations++;
        told->degraded = *stats;
        break;
    case KSM_NOTICE_PROGRESS:
        told->rounds += stats->full_scans != told->last.full_scans;
        told->wrong_order |= stats->full_scans < told->last.full_scans ||
                             stats->full_scans > told->last.full_scans + 1 ||
                             stats->merges < told->last.merges;
        told->last = *stats;
        break;
    }
    g_mutex_unlock(&told->lock);
}

/* `repeated` contents on every second page, the others each their own. */
static void fill(unsigned char *memory, guint repeated)
{
    guint i;

    for (i = 0; i < PAGES; i++) {
        ksm_test_page_make(memory + i * KSM_PAGE_BYTES, KSM_TEST_SEEDED,
                           i % 2 ? 100000 + i : i / 2 % repeated);
    }
}

static void open_fixture(Fixture *f, const char *broker_options,
                         guint max_mappings, guint repeated)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;

    memset(f, 0, sizeof(*f));
    g_mutex_init(&f->told.lock);
    f->broker = ksm_test_broker_new(broker_options);
    f->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(f->memory != MAP_FAILED);
    ksm_options_init(&options);
    options.group = "notice";
    options.broker = f->broker->socket;
    options.start_broker = FALSE;
    options.scan_interval_ms = 10;
    options.scan_cpu_percent = 100;
    options.max_mappings = max_mappings;
    options.notify = notify;
    options.opaque = &f->told;
    f->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    ksm_region_add(f->engine, "ram", f->memory, BYTES, KSM_REGION_FRESH,
                   &error);
    g_assert_no_error(error);
    fill(f->memory, repeated);
    ksm_engine_start(f->engine, &error);
    g_assert_no_error(error);
}

static void close_fixture(Fixture *f)
{
    guint64 told;

    ksm_engine_free(f->engine);
    told = f->told.states + f->told.degradations + f->told.rounds;
    g_assert_false(f->told.other_thread);
    g_assert_true(f->told.thread != g_thread_self());
    g_assert_false(f->told.wrong_order);
    munmap(f->memory, BYTES);
    ksm_test_broker_free(f->broker);
    /* Nobody is left to tell anything. */
    g_assert_cmpuint(f->told.states + f->told.degradations + f->told.rounds, ==,
                     told);
    g_mutex_clear(&f->told.lock);
}

static gboolean state_is_told(gpointer opaque)
{
    Told *told = opaque;
    gboolean is;

    g_mutex_lock(&told->lock);
    is = told->state.state == told->want_state &&
         told->state.broker == told->want_broker;
    g_mutex_unlock(&told->lock);
    return is;
}

/* Waits for a state to be told; the figures must say the same. */
static void expect(Fixture *f, KsmState state, KsmBrokerState broker,
                   const char *stand_aside)
{
    KsmStats stats;

    f->told.want_state = state;
    f->told.want_broker = broker;
    if (ksm_test_wait(state_is_told, &f->told, SECONDS) < 0) {
        g_error("state %d, broker %d: not told", (int)state, (int)broker);
    }
    g_assert_cmpstr(f->told.state.stand_aside, ==, stand_aside);
    ksm_engine_get_stats(f->engine, &stats);
    g_assert_cmpint(stats.state, ==, state);
    g_assert_cmpint(stats.broker, ==, broker);
    g_assert_cmpstr(stats.stand_aside, ==, stand_aside);
}

static void test_states(void)
{
    Fixture f;
    guint64 states;

    if (!ksm_test_need_uffd()) {
        return;
    }
    open_fixture(&f, NULL, 0, 256);
    expect(&f, KSM_STATE_RUNNING, KSM_BROKER_CONNECTED, NULL);
    ksm_engine_set_run(f.engine, KSM_RUN_PAUSE);
    expect(&f, KSM_STATE_PAUSED, KSM_BROKER_CONNECTED, NULL);
    ksm_engine_set_run(f.engine, KSM_RUN_UNMERGE);
    expect(&f, KSM_STATE_UNMERGED, KSM_BROKER_CONNECTED, NULL);
    ksm_engine_set_run(f.engine, KSM_RUN_RUN);
    expect(&f, KSM_STATE_RUNNING, KSM_BROKER_CONNECTED, NULL);
    ksm_engine_suspend(f.engine, "a test");
    expect(&f, KSM_STATE_STOOD_ASIDE, KSM_BROKER_CONNECTED, "a test");
    ksm_engine_resume(f.engine);
    expect(&f, KSM_STATE_RUNNING, KSM_BROKER_CONNECTED, NULL);
    ksm_test_broker_kill(f.broker);
    expect(&f, KSM_STATE_NO_BROKER, KSM_BROKER_LOST, NULL);
    ksm_test_broker_start(f.broker);
    expect(&f, KSM_STATE_RUNNING, KSM_BROKER_CONNECTED, NULL);
    /* Told once each, not with every turn. */
    states = f.told.states;
    ksm_engine_run_round(f.engine);
    ksm_engine_run_round(f.engine);
    g_assert_cmpuint(states, ==, 8);
    g_assert_cmpuint(f.told.states, ==, states);
    g_assert_cmpuint(f.told.rounds, >=, 2);
    g_assert_cmpuint(f.told.degradations, ==, 0);
    close_fixture(&f);
}

static gboolean degraded_is_told(gpointer opaque)
{
    Told *told = opaque;
    gboolean is;

    g_mutex_lock(&told->lock);
    is = told->degradations && told->degraded.degraded == told->want_degraded;
    g_mutex_unlock(&told->lock);
    return is;
}

static void expect_degraded(Fixture *f, KsmDegraded degraded)
{
    f->told.want_degraded = degraded;
    if (ksm_test_wait(degraded_is_told, &f->told, SECONDS) < 0) {
        g_error("degraded %d: not told", (int)degraded);
    }
}

/* Duplicates that stand alone, two mappings each: twenty hold few of them. */
static void test_mappings(void)
{
    g_autoptr(GError) error = NULL;
    KsmStats stats;
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    open_fixture(&f, NULL, 20, 256);
    expect_degraded(&f, KSM_DEGRADED_MAPPINGS);
    g_assert_cmpuint(f.told.degraded.refused_budget, >, 0);
    g_assert_cmpuint(f.told.degraded.mappings, <=, 20);
    /* Until there is room, and all of them have been tried again. */
    ksm_engine_set_max_mappings(f.engine, 0, &error);
    g_assert_no_error(error);
    expect_degraded(&f, KSM_DEGRADED_NOT);
    ksm_engine_get_stats(f.engine, &stats);
    g_assert_cmpuint(stats.pages_sharing, ==, PAGES / 2);
    g_assert_cmpuint(stats.pages_excluded, ==, 0);
    g_assert_cmpuint(f.told.degradations, ==, 2);
    close_fixture(&f);
}

/* Two hundred and fifty-six slots, and more contents than that. */
static void test_store_full(void)
{
    KsmStats stats;
    Fixture f;

    if (!ksm_test_need_uffd()) {
        return;
    }
    open_fixture(&f, "--max-store-mib 1", 0, 400);
    expect_degraded(&f, KSM_DEGRADED_BROKER);
    ksm_engine_get_stats(f.engine, &stats);
    g_assert_cmpuint(stats.refused_broker, >, 0);
    g_assert_cmpuint(stats.refused_budget, ==, 0);
    g_assert_cmpuint(stats.refused_torn, ==, 0);
    close_fixture(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* The engine's warnings are what is asked for here. */
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
    g_test_add_func("/notice/states", test_states);
    g_test_add_func("/notice/mappings", test_mappings);
    g_test_add_func("/notice/store-full", test_store_full);
    return g_test_run();
}
