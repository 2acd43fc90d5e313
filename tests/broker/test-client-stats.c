/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-client-stats.c: any statistics of a client are safe to show and add. */
#include "clients/client-stats.h"

#include <string.h>

#include "stats-table.h"

static void test_lies(void)
{
    KsmClientStats client = { 0 };
    KsmMsgStats stats;
    guint i;

    memset(&stats, 0xff, sizeof(stats));
    ksm_client_stats_take(&client, &stats, 1000);
    for (i = 0; i < KSM_STATS_COUNT; i++) {
        const KsmStatsRow *row = &ksm_stats_table[i];
        guint64 taken = G_STRUCT_MEMBER(guint64, &client.stats, row->offset);

        g_test_message("%s", row->name);
        /* as they are called: those of memory at present */
        g_assert_cmpuint(taken, ==,
                         g_str_has_prefix(row->name, "pages_") ||
                                 g_str_has_suffix(row->name, "_pages") ?
                             1000 :
                             G_MAXUINT64);
    }
    g_assert_cmpuint(strlen(client.stats.stand_aside), ==, KSM_ASIDE_BYTES - 1);
    g_assert_cmpuint(strlen(client.stats.setting_reason), ==,
                     KSM_REASON_BYTES - 1);
    g_assert_cmpint(client.stats.stand_aside[0], ==, '?');
    strcpy(stats.stand_aside, "a\033[2Jb\n");
    ksm_client_stats_take(&client, &stats, 1000);
    g_assert_cmpstr(client.stats.stand_aside, ==, "a?[2Jb?");
}

/* Takes CPU time that passed since the measurement began so long ago. */
static guint centi_after(KsmClientStats *client, gint64 passed_us,
                         guint64 cpu_ns)
{
    KsmMsgStats stats = { .cpu_ns = client->stats.cpu_ns + cpu_ns };

    client->rate_us -= passed_us;
    ksm_client_stats_take(client, &stats, 1);
    return client->cpu_centi;
}

static void test_rate(void)
{
    KsmClientStats client = { 0 };
    KsmMsgStats stats = { .cpu_ns = 500 };

    ksm_client_stats_take(&client, &stats, 1);
    g_assert_cmpuint(client.cpu_centi, ==, 0);
    /* one tenth of two seconds: ten per cent, less what this test takes */
    g_assert_cmpuint(centi_after(&client, 2000000, 200000000), >=, 980);
    g_assert_cmpuint(client.cpu_centi, <=, 1000);
    /* two seconds more are not enough for the next figure, ten are */
    g_assert_cmpuint(centi_after(&client, 2000000, 0), >=, 980);
    g_assert_cmpuint(centi_after(&client, 8000000, 5000000000), >=, 4900);
    g_assert_cmpuint(client.cpu_centi, <=, 5000);
    /* it goes backwards; it cannot be true */
    stats.cpu_ns = 1;
    ksm_client_stats_take(&client, &stats, 1);
    g_assert_cmpuint(client.cpu_centi, ==, 0);
    g_assert_cmpuint(centi_after(&client, 10000000, G_MAXUINT64 / 2), ==,
                     100000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/lies", test_lies);
    g_test_add_func("/client/rate", test_rate);
    return g_test_run();
}
