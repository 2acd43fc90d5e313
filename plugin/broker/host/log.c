/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.c: one line on stderr per event, rate-limited if clients cause it.
 *
 * stderr stays in blocking mode: it is the journal, a file or a terminal, and a
 * broker whose log is not read may block on it.
 */
#include "host/log.h"

#include <stdio.h>
#include <string.h>

#define BUCKET_BURST 10
#define TOTAL_BURST 100
#define TOTAL_PER_SECOND 10

static KsmLogLevel max_level = KSM_LOG_INFO;

static const char *const level_names[] = {
    [KSM_LOG_ERROR] = "error",
    [KSM_LOG_WARNING] = "warning",
    [KSM_LOG_INFO] = "info",
    [KSM_LOG_DEBUG] = "debug",
};

gboolean ksm_log_set_level(const char *name)
{
    guint i;

    for (i = 0; i < G_N_ELEMENTS(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            max_level = (KsmLogLevel)i;
            return TRUE;
        }
    }
    return FALSE;
}

static void log_line(KsmLogLevel level, const char *format, va_list args)
    G_GNUC_PRINTF(2, 0);

static void log_line(KsmLogLevel level, const char *format, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);
    g_autofree char *line = g_strdup_printf("guest-ksmd: %s: %s\n",
                                            level_names[level], text);
    char *at;

    for (at = line; at[0] != '\0' && at[1] != '\0'; at++) {
        if ((guchar)*at < ' ' || *at == 0x7f) {
            *at = '?'; /* one event, one line, no escapes */
        }
    }
    fputs(line, stderr);
    fflush(stderr);
}

void ksm_log(KsmLogLevel level, const char *format, ...)
{
    va_list args;

    if (level <= max_level) {
        va_start(args, format);
        log_line(level, format, args);
        va_end(args);
    }
}

static gboolean bucket_take(KsmLogBucket *bucket, guint burst, guint rate)
{
    gint64 now = g_get_monotonic_time();
    gint64 earned = (now - bucket->filled_us) * rate / G_USEC_PER_SEC;

    if (bucket->filled_us == 0) {
        bucket->tokens = burst;
        bucket->filled_us = now;
    } else if (earned > 0) {
        bucket->tokens = (guint)MIN(bucket->tokens + earned, (gint64)burst);
        bucket->filled_us = now;
    }
    if (bucket->tokens == 0) {
        bucket->suppressed++;
        return FALSE;
    }
    bucket->tokens--;
    return TRUE;
}

void ksm_log_limited(KsmLogBucket *bucket, KsmLogLevel level,
                     const char *format, ...)
{
    static KsmLogBucket total;
    va_list args;

    if (level > max_level || !bucket_take(bucket, BUCKET_BURST, 1) ||
        !bucket_take(&total, TOTAL_BURST, TOTAL_PER_SECOND)) {
        return;
    }
    if (bucket->suppressed > 0 || total.suppressed > 0) {
        ksm_log(KSM_LOG_WARNING, "%u log lines suppressed by the rate limit",
                bucket->suppressed + total.suppressed);
        bucket->suppressed = 0;
        total.suppressed = 0;
    }
    va_start(args, format);
    log_line(level, format, args);
    va_end(args);
}
