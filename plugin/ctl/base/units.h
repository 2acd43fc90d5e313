/* SPDX-License-Identifier: GPL-2.0-or-later */
/* units.h: numbers with units, for people to read. */
#ifndef KSM_CTL_UNITS_H
#define KSM_CTL_UNITS_H

#include <glib.h>

/** "12.3": pages or bytes in MiB; free with g_free(). */
char *ksm_units_mib_of_pages(gint64 pages);
char *ksm_units_mib_of_bytes(gint64 bytes);

/** "2.5 ms", "340 ns", "1.2 s". */
char *ksm_units_time_of_ns(gint64 ns);

/** "3 d 4 h", "12 min 5 s". */
char *ksm_units_age_of_ms(gint64 ms);

#endif /* KSM_CTL_UNITS_H */
