/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log.h: one line on stderr for each event; at a limited rate if provoked. */
#ifndef KSM_LOG_H
#define KSM_LOG_H

#include <glib.h>

typedef enum KsmLogLevel {
    KSM_LOG_ERROR, KSM_LOG_WARNING, KSM_LOG_INFO, KSM_LOG_DEBUG,
} KsmLogLevel;

/** FALSE when @name is none of error, warning, info, debug. */
gboolean ksm_log_set_level(const char *name);

void ksm_log(KsmLogLevel level, const char *format, ...) G_GNUC_PRINTF(2, 3);

/** How much may still be written; start with all zero. */
typedef struct KsmLogBucket {
    gint64 filled_us;           /* g_get_monotonic_time() */
    guint tokens;
    guint suppressed;
} KsmLogBucket;

/**
 * For what a client can provoke: at most ten lines at once and one a second
 * for each bucket, and a hundred at once and ten a second in all.
 */
void ksm_log_limited(KsmLogBucket *bucket, KsmLogLevel level,
                     const char *format, ...) G_GNUC_PRINTF(3, 4);

#endif /* KSM_LOG_H */
