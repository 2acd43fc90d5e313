/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-statistics.c: every statistic of an engine gets its place on the wire.
 *
 * From there on test-control.c (the broker's replies), test-metrics.py (what
 * guest-ksmctl says) and test-docs.py (QEMU's patches) go on.
 */
#include <guest-ksm.h>
#include <string.h>

#include "session/report.h"
#include "stats-table.h"

/* Of versions 4 to 6 of the protocol: VMs that run speak them. */
static const struct {
    const char *name;
    gsize offset;
} wire[] = {
    { "pages_total", 16 },
    { "pages_untouched", 24 },
    { "pages_volatile", 32 },
    { "pages_unshared", 40 },
    { "pages_sharing", 48 },
    { "zero_pages", 56 },
    { "pages_broken", 64 },
    { "pages_excluded", 72 },
    { "full_scans", 80 },
    { "merges", 88 },
    { "zero_merges", 96 },
    { "breaks", 104 },
    { "rollbacks", 112 },
    { "refused_pinned", 120 },
    { "refused_budget", 128 },
    { "refused_torn", 136 },
    { "refused_broker", 144 },
    { "refused_error", 152 },
    { "fingerprints", 160 },
    { "lookups", 168 },
    { "publishes", 176 },
    { "deferred_results", 184 },
    { "broker_requests", 192 },
    { "broker_losses", 200 },
    { "cpu_ns", 208 },
    { "windows", 216 },
    { "window_ns_total", 224 },
    { "window_ns_max", 232 },
    { "runs", 368 },
    { "mappings", 376 },
    { "max_mappings", 384 },
    { "metadata_bytes", 392 },
    { "round_ns", 400 },
    { "given_back", 648 },
    { "refused_dma", 656 },
    { "collapses", 664 },
    { "pages_hwpoison", 672 },
    { "pages_kept_huge", 680 },
    { "pages_parked", 688 },
};

/* In the order of the table. */
/* clang-format off */
static const gsize here[] = {
#define HERE(name, kind, unit) offsetof(KsmStats, name),
    KSM_STATS_FIELDS(HERE)
};
/* clang-format on */

static void test_wire(void)
{
    guint i;

    g_assert_cmpuint(KSM_STATS_COUNT, >=, G_N_ELEMENTS(wire));
    for (i = 0; i < G_N_ELEMENTS(wire); i++) {
        g_assert_cmpstr(ksm_stats_table[i].name, ==, wire[i].name);
        g_assert_cmpuint(ksm_stats_table[i].offset, ==, wire[i].offset);
    }
}

/* Each alone, so that what arrives elsewhere is seen. */
static void test_filled(void)
{
    guint i;

    for (i = 0; i < KSM_STATS_COUNT; i++) {
        KsmStats stats = { 0 };
        KsmMsgStats filled = { 0 }, wanted = { 0 };

        G_STRUCT_MEMBER(guint64, &stats, here[i]) = G_MAXUINT64 - i;
        G_STRUCT_MEMBER(guint64, &wanted,
                        ksm_stats_table[i].offset) = G_MAXUINT64 - i;
        ksm_report_fill(&filled, &stats);
        g_test_message("%s", ksm_stats_table[i].name);
        g_assert_cmpmem(&filled, sizeof(filled), &wanted, sizeof(wanted));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/statistics/wire", test_wire);
    g_test_add_func("/statistics/filled", test_filled);
    return g_test_run();
}
