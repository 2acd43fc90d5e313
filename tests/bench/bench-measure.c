/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bench-measure.c: what a measurement reads of its own process. */
#include "bench-measure.h"

#include <string.h>
#include <unistd.h>

guint64 bench_clock_ns(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (guint64)time.tv_sec * 1000000000u + (guint64)time.tv_nsec;
}

guint64 bench_resident_bytes(void)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents("/proc/self/statm", &text, NULL, NULL)) {
        return 0;
    }
    return g_ascii_strtoull(strchr(text, ' '), NULL, 10) *
           (guint64)sysconf(_SC_PAGESIZE);
}
