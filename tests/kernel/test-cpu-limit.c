/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-cpu-limit.c: the broker's limit on the CPU time of all scanners: some
 * guests that are merged at the same time, without the limit and with it.
 */
#include "broker-proc.h"
#include "remote-engine.h"
#include "require.h"

#define GUESTS 4u
#define PAGES 65536u
#define LIMIT 20u /* percent of a processor */
#define SEED 4711u
#define SETTLE_SECONDS 120.0
#define POLL_US 10000u

typedef struct Fixture {
    KsmTestBroker *broker;
    KsmRemote *guests[GUESTS];
} Fixture;

/* What a scanner has used, in percent of a processor, until all is shared. */
typedef struct Usage {
    double each[GUESTS], all, seconds;
} Usage;

/* Two and two of the guests have the same. */
static guint64 seed_of(guint guest)
{
    return SEED + (guint64)(guest / 2) * PAGES;
}

static void fixture_open(Fixture *f, const char *options)
{
    KsmRemoteSpec spec = { .pages = PAGES, .tells_held = TRUE };
    guint i;

    f->broker = ksm_test_broker_new(options);
    spec.socket = f->broker->socket;
    ksm_remotes_new(f->guests, GUESTS, &spec);
    for (i = 0; i < GUESTS; i++) {
        ksm_remote_fill(f->guests[i], 0, PAGES, KSM_TEST_SEEDED, seed_of(i),
                        TRUE);
    }
}

static void fixture_run(Fixture *f)
{
    guint i;

    for (i = 0; i < GUESTS; i++) {
        ksm_remote_set_run(f->guests[i], KSM_RUN_RUN);
    }
}

static void fixture_close(Fixture *f)
{
    guint i;

    for (i = 0; i < GUESTS; i++) {
        g_assert_cmpuint(ksm_remote_check(f->guests[i], 0, PAGES,
                                          KSM_TEST_SEEDED, seed_of(i), TRUE),
                         ==, 0);
        ksm_remote_free(f->guests[i]);
    }
    ksm_test_broker_free(f->broker);
}

/* While the first of them is not done yet: none wants less than it may have. */
static void measure(Fixture *f, Usage *usage)
{
    double start = ksm_test_now();
    gboolean done = FALSE;
    guint i;

    memset(usage, 0, sizeof(*usage));
    fixture_run(f);
    while (!done) {
        g_usleep(POLL_US);
        g_assert_cmpfloat(ksm_test_now() - start, <, SETTLE_SECONDS);
        usage->all = 0;
        for (i = 0; i < GUESTS; i++) {
            KsmRemoteState state;

            ksm_remote_state(f->guests[i], &state);
            usage->seconds = ksm_test_now() - start;
            usage->each[i] = (double)state.stats.cpu_ns / 1e7 / usage->seconds;
            usage->all += usage->each[i];
            done = done || state.stats.pages_sharing >= PAGES * 99 / 100;
        }
    }
    g_test_message("%.1f %% of a CPU for %.1f s: %.1f %.1f %.1f %.1f",
                   usage->all, usage->seconds, usage->each[0], usage->each[1],
                   usage->each[2], usage->each[3]);
}

static void test_kept(void)
{
    g_autofree char *options = g_strdup_printf("--max-cpu-percent=%u", LIMIT);
    Usage usage;
    Fixture f;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    fixture_open(&f, NULL);
    measure(&f, &usage);
    fixture_close(&f);
    g_assert_cmpfloat(usage.all, >, 2.0 * LIMIT);
    fixture_open(&f, options);
    measure(&f, &usage);
    g_assert_cmpfloat(usage.all, <=, 1.1 * LIMIT);
    g_assert_cmpfloat(usage.all, >=, 0.7 * LIMIT);
    for (i = 0; i < GUESTS; i++) {
        g_assert_cmpfloat(usage.each[i], >=, usage.all / GUESTS / 4);
    }
    g_assert_cmpuint(ksm_remotes_settle(f.guests, GUESTS, GUESTS * PAGES,
                                        SETTLE_SECONDS),
                     ==, GUESTS * PAGES);
    fixture_close(&f);
}

/* With next to no CPU time, a guest still answers, and ends at once. */
static void test_little(void)
{
    double start;
    Fixture f;
    guint i;

    if (!ksm_test_need_uffd()) {
        return;
    }
    fixture_open(&f, "--max-cpu-percent=1");
    fixture_run(&f);
    g_usleep(2 * G_USEC_PER_SEC);
    for (i = 0; i < GUESTS; i++) {
        start = ksm_test_now();
        ksm_remote_set_run(f.guests[i], KSM_RUN_PAUSE);
        ksm_remote_discard(f.guests[i], 0, 1);
        ksm_remote_fill(f.guests[i], 0, 1, KSM_TEST_SEEDED, seed_of(i), TRUE);
        g_assert_cmpfloat(ksm_test_now() - start, <, 1.0);
    }
    start = ksm_test_now();
    fixture_close(&f);
    g_assert_cmpfloat(ksm_test_now() - start, <, 5.0);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-limit/kept", test_kept);
    g_test_add_func("/cpu-limit/little", test_little);
    return g_test_run();
}
