/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client-stats.c: statistics from a client, made safe to display and to add.
 *
 * A client may report anything.  It must not distort the sums over its group by
 * more than its own pages, nor send control characters to a terminal.
 */
#include "clients/client-stats.h"

#include "stats-table.h"

#define FIRST_RATE_US G_USEC_PER_SEC
#define RATE_US (5 * G_USEC_PER_SEC)
#define MAX_CENTI 100000u /* ten CPUs; a scanner is one thread */

static void make_printable(char *text, gsize bytes)
{
    gsize i;

    text[bytes - 1] = '\0';
    for (i = 0; text[i] != '\0'; i++) {
        if (!g_ascii_isprint(text[i])) {
            text[i] = '?';
        }
    }
}

static void bound_pages(KsmMsgStats *stats, guint64 pages)
{
    guint i;

    for (i = 0; i < KSM_STATS_COUNT; i++) {
        if (ksm_stats_table[i].unit == KSM_STAT_PAGES) {
            guint64 *count = G_STRUCT_MEMBER_P(stats,
                                               ksm_stats_table[i].offset);

            *count = MIN(*count, pages);
        }
    }
}

/* Measures CPU time over some seconds; the first value comes sooner. */
static void measure_rate(KsmClientStats *self, gint64 now_us)
{
    guint64 cpu_ns = self->stats.cpu_ns;
    gint64 passed_us = now_us - self->rate_us;

    if (self->rate_us == 0 || cpu_ns < self->rate_cpu_ns) {
        self->cpu_centi = 0;
        self->rate_known = FALSE;
    } else if (passed_us < (self->rate_known ? RATE_US : FIRST_RATE_US)) {
        return;
    } else {
        /* 1 us of CPU in 1 us is 10000 hundredths of a per cent */
        double centi = (double)(cpu_ns - self->rate_cpu_ns) * 10.0 /
                       (double)passed_us;

        self->cpu_centi = (guint)MIN(centi, (double)MAX_CENTI);
        self->rate_known = TRUE;
    }
    self->rate_us = now_us;
    self->rate_cpu_ns = cpu_ns;
}

void ksm_client_stats_take(KsmClientStats *self, const KsmMsgStats *stats,
                           guint64 pages)
{
    self->stats = *stats;
    make_printable(self->stats.setting_reason,
                   sizeof(self->stats.setting_reason));
    make_printable(self->stats.stand_aside, sizeof(self->stats.stand_aside));
    bound_pages(&self->stats, pages);
    self->last_seen_us = g_get_monotonic_time();
    measure_rate(self, self->last_seen_us);
}
