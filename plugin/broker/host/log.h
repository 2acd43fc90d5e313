/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log.h: one line on stderr per event, rate-limited if clients cause it. */
#ifndef KSM_LOG_H
#define KSM_LOG_H

#include <glib.h>

typedef enum KsmLogLevel {
    KSM_LOG_ERROR,
    KSM_LOG_WARNING,
    KSM_LOG_INFO,
    KSM_LOG_DEBUG,
} KsmLogLevel;

/** FALSE if @name is none of error, warning, info, debug. */
gboolean ksm_log_set_level(const char *name);

void ksm_log(KsmLogLevel level, const char *format, ...) G_GNUC_PRINTF(2, 3);

/** A token bucket that limits log lines; start with all zero. */
typedef struct KsmLogBucket {
    gint64 filled_us; /* g_get_monotonic_time() */
    guint tokens;
    guint suppressed;
} KsmLogBucket;

/**
 * For events that a client can cause.  Each bucket allows a burst of ten lines
 * and one line a second; all buckets together a burst of a hundred lines and
 * ten lines a second.
 */
void ksm_log_limited(KsmLogBucket *bucket, KsmLogLevel level,
                     const char *format, ...) G_GNUC_PRINTF(3, 4);

#endif /* KSM_LOG_H */
