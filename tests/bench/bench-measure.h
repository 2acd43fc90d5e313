/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bench-measure.h: what a measurement reads of its own process. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <glib.h>
#include <time.h>

guint64 bench_clock_ns(clockid_t clock);

/** Memory of this process that is resident. */
guint64 bench_resident_bytes(void);

#endif /* BENCH_MEASURE_H */
