/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-history.c: the ring of samples keeps the latest, in order, and ends. */
#include "history.h"
#include "totals.h"

/* Sample number i, as it is put in. */
static KsmTotals totals_of(guint i)
{
    KsmTotals totals = {
        .pages_shared = i, .pages_sharing = 3 * (guint64)i,
        .zero_pages = 2 * (guint64)i, .pages_broken = i / 2,
        .cpu_centi = i % 100,
    };

    return totals;
}

static void assert_sample(const KsmSample *sample, guint i)
{
    g_assert_cmpint(sample->time_s, ==, 1000 + i);
    g_assert_cmpuint(sample->pages_shared, ==, i);
    g_assert_cmpuint(sample->pages_sharing, ==, 3 * i);
    g_assert_cmpuint(sample->zero_pages, ==, 2 * i);
    g_assert_cmpuint(sample->pages_broken, ==, i / 2);
    g_assert_cmpint(sample->saved_pages, ==, 4 * (gint)i);
    g_assert_cmpuint(sample->cpu_centi, ==, i % 100);
}

static void test_ring(void)
{
    KsmHistory history = { 0 };
    const guint all = 3 * KSM_HISTORY_SAMPLES + 7;
    guint i, k;

    for (i = 0; i < all; i++) {
        KsmTotals totals = totals_of(i);
        guint oldest, count = MIN(i + 1, KSM_HISTORY_SAMPLES);

        ksm_history_add(&history, &totals, 1000 + i);
        g_assert_cmpuint(history.count, ==, count);
        g_assert_cmpuint(history.room, <=, KSM_HISTORY_SAMPLES);
        oldest = i + 1 - count;
        /* all of it now and then, both ends always */
        for (k = 0; k < count; k += i % 97 == 0 ? 1 : MAX(count - 1, 1)) {
            assert_sample(ksm_history_get(&history, k), oldest + k);
        }
    }
    ksm_history_clear(&history);
    g_assert_cmpuint(history.count, ==, 0);
    g_assert_null(history.samples);
}

static void test_bounds(void)
{
    KsmHistory history = { 0 };
    KsmTotals big = { .pages_shared = G_MAXUINT64 / 2,
                      .cpu_centi = G_MAXUINT64 };
    const KsmSample *sample;

    ksm_history_add(&history, &big, 1);
    sample = ksm_history_get(&history, 0);
    g_assert_cmpuint(sample->pages_shared, ==, G_MAXUINT32);
    g_assert_cmpuint(sample->cpu_centi, ==, G_MAXUINT32);
    g_assert_cmpint(sample->saved_pages, ==, G_MININT32);
    ksm_history_clear(&history);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/history/ring", test_ring);
    g_test_add_func("/history/bounds", test_bounds);
    return g_test_run();
}
