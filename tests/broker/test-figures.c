/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-figures.c: whatever a client says of itself is safe to show and add. */
#include "clients/figures.h"

#include <string.h>

#include "stats-table.h"

static void test_lies(void)
{
    KsmFigures figures = { 0 };
    KsmMsgStats stats;
    guint i;

    memset(&stats, 0xff, sizeof(stats));
    ksm_figures_take(&figures, &stats, 1000);
    for (i = 0; i < KSM_STATS_COUNT; i++) {
        const KsmStatsRow *row = &ksm_stats_table[i];
        guint64 taken = G_STRUCT_MEMBER(guint64, &figures.stats, row->offset);

        g_test_message("%s", row->name);
        /* as they are called: those of memory at present */
        g_assert_cmpuint(taken, ==, g_str_has_prefix(row->name, "pages_") ||
                         g_str_has_suffix(row->name, "_pages") ? 1000
                                                               : G_MAXUINT64);
    }
    g_assert_cmpuint(strlen(figures.stats.stand_aside), ==,
                     KSM_ASIDE_BYTES - 1);
    g_assert_cmpuint(strlen(figures.stats.setting_reason), ==,
                     KSM_REASON_BYTES - 1);
    g_assert_cmpint(figures.stats.stand_aside[0], ==, '?');
    strcpy(stats.stand_aside, "a\033[2Jb\n");
    ksm_figures_take(&figures, &stats, 1000);
    g_assert_cmpstr(figures.stats.stand_aside, ==, "a?[2Jb?");
}

/* Takes CPU time that passed since the measurement began so long ago. */
static guint centi_after(KsmFigures *figures, gint64 passed_us,
                         guint64 cpu_ns)
{
    KsmMsgStats stats = { .cpu_ns = figures->stats.cpu_ns + cpu_ns };

    figures->rate_us -= passed_us;
    ksm_figures_take(figures, &stats, 1);
    return figures->cpu_centi;
}

static void test_rate(void)
{
    KsmFigures figures = { 0 };
    KsmMsgStats stats = { .cpu_ns = 500 };

    ksm_figures_take(&figures, &stats, 1);
    g_assert_cmpuint(figures.cpu_centi, ==, 0);
    /* one tenth of two seconds: ten per cent, less what this test takes */
    g_assert_cmpuint(centi_after(&figures, 2000000, 200000000), >=, 980);
    g_assert_cmpuint(figures.cpu_centi, <=, 1000);
    /* two seconds more are not enough for the next figure, ten are */
    g_assert_cmpuint(centi_after(&figures, 2000000, 0), >=, 980);
    g_assert_cmpuint(centi_after(&figures, 8000000, 5000000000), >=, 4900);
    g_assert_cmpuint(figures.cpu_centi, <=, 5000);
    /* it goes backwards; it cannot be true */
    stats.cpu_ns = 1;
    ksm_figures_take(&figures, &stats, 1);
    g_assert_cmpuint(figures.cpu_centi, ==, 0);
    g_assert_cmpuint(centi_after(&figures, 10000000, G_MAXUINT64 / 2), ==,
                     100000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/figures/lies", test_lies);
    g_test_add_func("/figures/rate", test_rate);
    return g_test_run();
}
