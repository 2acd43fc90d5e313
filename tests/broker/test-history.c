/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-history.c: the ring of samples keeps the latest, in order, and ends. */
#include "broker.h"
#include "clients/history.h"
#include "clients/totals.h"

/* Sample number i, as it is put in. */
static KsmTotals totals_of(guint i)
{
    KsmTotals totals = {
        .pages_shared = i,
        .pages_sharing = 3 * (guint64)i,
        .zero_pages = 2 * (guint64)i,
        .pages_broken = i / 2,
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

/* A group's nodes are added up; one of them came later. */
static void test_family(void)
{
    KsmBroker broker = { .groups = g_hash_table_new(g_str_hash, g_str_equal) };
    KsmShard homes[] = {
        { .key = (char *)"0:a", .family = (char *)"0:a" },
        { .key = (char *)"0:a@0", .family = (char *)"0:a" },
        { .key = (char *)"0:ab", .family = (char *)"0:ab" },
    };
    KsmHistory sum;
    guint i, k;

    for (i = 0; i < G_N_ELEMENTS(homes); i++) {
        g_hash_table_insert(broker.groups, homes[i].key, &homes[i]);
        for (k = 3 * i; k < 10 + i; k++) {
            KsmTotals totals = totals_of(k);

            ksm_history_add(&homes[i].history, &totals, 1000 + k);
        }
    }
    ksm_history_of_family(&broker, "0:a", &sum);
    g_assert_cmpuint(sum.count, ==, 11);
    for (k = 0; k < sum.count; k++) {
        const KsmSample *sample = ksm_history_get(&sum, k);
        guint times = k < 3 || k == 10 ? 1 : 2;

        g_assert_cmpint(sample->time_s, ==, 1000 + k);
        g_assert_cmpuint(sample->pages_shared, ==, times * k);
        g_assert_cmpint(sample->saved_pages, ==, times * 4 * k);
    }
    ksm_history_clear(&sum);
    for (i = 0; i < G_N_ELEMENTS(homes); i++) {
        ksm_history_clear(&homes[i].history);
    }
    g_hash_table_unref(broker.groups);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/history/ring", test_ring);
    g_test_add_func("/history/bounds", test_bounds);
    g_test_add_func("/history/family", test_family);
    return g_test_run();
}
