/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-due.c: which rounds scan, sweep, or do nothing, by the faults counted.
 */
#include <string.h>

#include "core/due.h"
#include "core/options.h"
#include "memory/ram.h"
#include "pages/waits.h"
#include "sys.h"

#define COSTLY_NS 2000000u /* a scan that is worth 100 pages */

static guint64 faults;

static guint64 fake_faults(void)
{
    return faults;
}

typedef struct Fixture {
    KsmEngine engine;
    KsmSys sys;
} Fixture;

/* A whole round that scans, found `hot` pages written, and none that waits. */
static void scan(Fixture *f, guint32 hot, void (*meanwhile)(KsmEngine *engine))
{
    ksm_due_begin_round(&f->engine);
    ksm_due_begin_scan(&f->engine);
    ksm_due_note_written(&f->engine, hot);
    if (meanwhile) {
        meanwhile(&f->engine);
    }
    ksm_due_begin_sweep(&f->engine);
    ksm_due_end(&f->engine, TRUE, TRUE);
}

/* Such a round has ended. */
static void set_up(Fixture *f, guint interval_ms, guint32 hot)
{
    memset(f, 0, sizeof(*f));
    f->sys = ksm_sys_linux;
    f->sys.faults_of_others = fake_faults;
    ksm_sys = &f->sys;
    f->engine.ram.regions = g_ptr_array_new();
    f->engine.tunables.scan_interval_ms = interval_ms;
    f->engine.turn.track_ns = COSTLY_NS;
    faults = 1000;
    scan(f, hot, NULL);
}

static void tear_down(Fixture *f)
{
    g_ptr_array_unref(f->engine.ram.regions);
    ksm_sys = &ksm_sys_linux;
}

/* A sweep that found a page whose wait is over in so many rounds. */
static void sweep(Fixture *f, guint8 rounds)
{
    ksm_due_begin_sweep(&f->engine);
    ksm_due_note_waiting(&f->engine, rounds);
    ksm_due_end(&f->engine, FALSE, TRUE);
}

/* The last scan ended so long ago. */
static void pass(Fixture *f, guint64 ms)
{
    f->engine.due.scan_ns -= ms * 1000000;
}

static void test_nothing(void)
{
    Fixture f;
    guint i;

    set_up(&f, KSM_SCAN_INTERVAL_MS, 0);
    for (i = 0; i < 1000; i++) {
        g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_NOTHING);
    }
    tear_down(&f);
}

/* A wait goes on while nothing is written, and no scan is needed for it. */
static void test_waits(void)
{
    Fixture f;
    guint i;

    set_up(&f, KSM_SCAN_INTERVAL_MS, 0);
    sweep(&f, 5);
    for (i = 0; i < 4; i++) {
        g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_NOTHING);
    }
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SWEEP);
    g_assert_cmpuint(f.engine.due.rounds, ==, 5);
    /* With something written, the sweep must know what. */
    faults++;
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
    tear_down(&f);
}

/* The wait of a page, counted by several rounds at once, ends as one by one. */
static void test_waits_add_up(void)
{
    guint8 wait, step;

    for (wait = 0; wait < 70; wait++) {
        for (step = 1; step < 80; step++) {
            guint8 state = KSM_PAGE_PRIVATE, one = wait, many = wait;
            KsmRegion a = { .state = &state, .wait = &one };
            KsmRegion b = { .state = &state, .wait = &many };
            gboolean over = FALSE;
            guint8 i;

            for (i = 0; i < step && !over; i++) {
                over = ksm_ram_wait_over(&a, 0, 1);
            }
            g_assert_cmpint(ksm_ram_wait_over(&b, 0, step), ==, over);
            g_assert_cmpuint(over ? 0 : one, ==, over ? 0 : many);
        }
    }
}

/* Outside of rounds, too: unmerging ends the waits, and goes on by that. */
static void test_waits_outside(void)
{
    guint8 state = KSM_PAGE_BROKEN, wait = 1;
    KsmRegion region = { .state = &state, .wait = &wait };
    Fixture f;

    set_up(&f, KSM_SCAN_INTERVAL_MS, 0);
    g_assert_cmpuint(f.engine.due.rounds, ==, 0);
    g_assert_true(ksm_waits_over(&f.engine, &region, 0));
    wait = 3;
    g_assert_false(ksm_waits_over(&f.engine, &region, 0));
    g_assert_cmpuint(wait, ==, 2);
    tear_down(&f);
}

/* What is written all the time is no reason; what comes on top of it is. */
static void test_hot(void)
{
    Fixture f;

    set_up(&f, KSM_SCAN_INTERVAL_MS, 300);
    faults += 399;
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_LATER);
    faults++;
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
    tear_down(&f);

    set_up(&f, KSM_SCAN_INTERVAL_MS, 300);
    faults++;
    sweep(&f, 2);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_LATER);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
    tear_down(&f);
}

/* An interval that was set is obeyed: every write is looked for in time. */
static void test_set(void)
{
    Fixture f;

    set_up(&f, KSM_SCAN_INTERVAL_MS / 2, 300);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_NOTHING);
    faults++;
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
    tear_down(&f);
}

/* Writes that are nobody's fault here are found, later and later. */
static void test_uncounted(void)
{
    static const guint64 patience_ms[] = { 2000,  4000,  8000, 16000,
                                           32000, 64000, 64000 };
    Fixture f;
    guint i;

    set_up(&f, KSM_SCAN_INTERVAL_MS, 1);
    for (i = 0; i < G_N_ELEMENTS(patience_ms); i++) {
        pass(&f, patience_ms[i] - 500);
        g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_NOTHING);
        pass(&f, 500);
        g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
        ksm_due_begin_scan(&f.engine);
        ksm_due_begin_sweep(&f.engine);
        ksm_due_end(&f.engine, TRUE, TRUE);
    }
    tear_down(&f);

    set_up(&f, KSM_SCAN_INTERVAL_MS / 2, 1);
    f.engine.due.vain = 10;
    pass(&f, 2000);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
    tear_down(&f);

    /* However little was written, it is not left for long. */
    set_up(&f, KSM_SCAN_INTERVAL_MS, 300);
    f.engine.due.vain = 10;
    faults++;
    pass(&f, 19000);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_LATER);
    pass(&f, 1000);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
    tear_down(&f);
}

static void connect_anew(KsmEngine *engine)
{
    engine->link.connected_ns++;
}

static void add_memory(KsmEngine *engine)
{
    engine->ram.session_pages += 512;
}

static void set_mappings(KsmEngine *engine)
{
    engine->tunables.max_mappings = 100;
}

static void keep_huge(KsmEngine *engine)
{
    engine->tunables.keep_huge = 64;
}

static void set_interval(KsmEngine *engine)
{
    engine->tunables.scan_interval_ms = 10;
}

static void lose_store(KsmEngine *engine)
{
    engine->lost = TRUE;
}

static void forget(KsmEngine *engine)
{
    ksm_due_forget(engine);
}

static void be_interrupted(KsmEngine *engine)
{
    ksm_due_end(engine, TRUE, FALSE);
}

/* Whatever else a round looks at is a reason for one. */
static void test_others(void)
{
    static void (*const change[])(KsmEngine * engine) = {
        connect_anew, add_memory, set_mappings,   keep_huge,
        set_interval, lose_store, be_interrupted, forget,
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(change); i++) {
        Fixture f;

        set_up(&f, KSM_SCAN_INTERVAL_MS, 0);
        g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_NOTHING);
        change[i](&f.engine);
        g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
        tear_down(&f);
    }
}

/* After a round that did anything the next one is a round as well. */
static void test_work(void)
{
    Fixture f;

    set_up(&f, KSM_SCAN_INTERVAL_MS, 0);
    f.engine.stats.counters.merges++;
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SWEEP);
    ksm_due_begin_sweep(&f.engine);
    ksm_due_end(&f.engine, FALSE, TRUE);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SWEEP);
    ksm_due_begin_sweep(&f.engine);
    ksm_due_end(&f.engine, FALSE, TRUE);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_NOTHING);
    tear_down(&f);
}

static void roll_back(KsmEngine *engine)
{
    engine->stats.counters.rollbacks++;
}

/* Pages that were moved back are not armed: a scan has to see them first. */
static void test_unarmed(void)
{
    Fixture f;

    set_up(&f, KSM_SCAN_INTERVAL_MS, 0);
    f.engine.stats.counters.given_back++;
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
    scan(&f, 0, roll_back);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
    scan(&f, 0, NULL);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_NOTHING);
    tear_down(&f);
}

/* What is set in the middle of a round is for the next one to see. */
static void test_set_meanwhile(void)
{
    Fixture f;

    set_up(&f, KSM_SCAN_INTERVAL_MS, 0);
    scan(&f, 0, set_mappings);
    g_assert_cmpint(ksm_due_judge(&f.engine), ==, KSM_DUE_SCAN);
    tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/due/nothing", test_nothing);
    g_test_add_func("/due/waits", test_waits);
    g_test_add_func("/due/waits-add-up", test_waits_add_up);
    g_test_add_func("/due/waits-outside", test_waits_outside);
    g_test_add_func("/due/hot", test_hot);
    g_test_add_func("/due/set", test_set);
    g_test_add_func("/due/uncounted", test_uncounted);
    g_test_add_func("/due/others", test_others);
    g_test_add_func("/due/work", test_work);
    g_test_add_func("/due/unarmed", test_unarmed);
    g_test_add_func("/due/set-meanwhile", test_set_meanwhile);
    return g_test_run();
}
