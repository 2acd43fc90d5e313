/* SPDX-License-Identifier: GPL-2.0-or-later */
/* units.c: numbers with units, for people to read. */
#include "base/units.h"

#define PAGES_PER_MIB 256.0

char *ksm_units_mib_of_pages(gint64 pages)
{
    return g_strdup_printf("%.1f", (double)pages / PAGES_PER_MIB);
}

char *ksm_units_mib_of_bytes(gint64 bytes)
{
    return g_strdup_printf("%.1f", (double)bytes / (1 << 20));
}

char *ksm_units_time_of_ns(gint64 ns)
{
    static const char *const units[] = { "ns", "us", "ms", "s" };
    double value = (double)ns;
    guint i;

    for (i = 0; i < G_N_ELEMENTS(units) - 1 && value >= 1000; i++) {
        value /= 1000;
    }
    return i == 0 ? g_strdup_printf("%" G_GINT64_FORMAT " ns", ns) :
                    g_strdup_printf("%.1f %s", value, units[i]);
}

char *ksm_units_age_of_ms(gint64 ms)
{
    gint64 s = ms / 1000;

    if (s >= 86400) {
        return g_strdup_printf("%" G_GINT64_FORMAT " d %" G_GINT64_FORMAT " h",
                               s / 86400, s % 86400 / 3600);
    }
    if (s >= 3600) {
        return g_strdup_printf("%" G_GINT64_FORMAT " h %" G_GINT64_FORMAT
                               " min",
                               s / 3600, s % 3600 / 60);
    }
    if (s >= 60) {
        return g_strdup_printf("%" G_GINT64_FORMAT " min %" G_GINT64_FORMAT
                               " s",
                               s / 60, s % 60);
    }
    return g_strdup_printf("%" G_GINT64_FORMAT ".%" G_GINT64_FORMAT " s", s,
                           ms % 1000 / 100);
}
