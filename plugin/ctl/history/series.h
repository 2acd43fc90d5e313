/* SPDX-License-Identifier: GPL-2.0-or-later */
/* series.h: what the broker remembers of the last hours, and its plots. */
#ifndef KSM_CTL_SERIES_H
#define KSM_CTL_SERIES_H

#include "base/client.h"

typedef enum KsmSeriesField {
    KSM_SERIES_SHARED, /* slots in use: the store */
    KSM_SERIES_SHARING,
    KSM_SERIES_ZERO,
    KSM_SERIES_BROKEN,
    KSM_SERIES_SAVED,
    KSM_SERIES_CPU, /* per cent of one CPU; the others: pages */
    KSM_SERIES_FIELDS,
} KsmSeriesField;

typedef struct KsmSample {
    gint64 time_s; /* of the real-time clock */
    double values[KSM_SERIES_FIELDS];
} KsmSample;

/** Samples in the order of time. */
typedef struct KsmSeries {
    char *title;       /* "group web", or "all groups" */
    gint64 interval_s; /* between two samples; more is a gap */
    GArray *samples;   /* KsmSample */
} KsmSeries;

/** @reply: to `history`.  Samples that make no sense are an error. */
KsmSeries *ksm_series_of_reply(JsonObject *reply, const char *group,
                               GError **errp);
void ksm_series_free(KsmSeries *series);

const KsmSample *ksm_series_get(const KsmSeries *series, guint index);

/** Whether nothing was sampled between this one and the one before. */
gboolean ksm_series_is_gap(const KsmSeries *series, guint index);

/** Lines of @columns characters; savings over time. */
char *ksm_series_plot(const KsmSeries *series, guint columns, gboolean blocks);

/** The whole of an SVG file. */
char *ksm_series_svg(const KsmSeries *series);

/** A round step, so that about @count of them make up @span. */
double ksm_series_step(double span, guint count);

/** "13:05", or with its day where the series spans more than one. */
char *ksm_series_clock(const KsmSeries *series, gint64 time_s);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmSeries, ksm_series_free)

#endif /* KSM_CTL_SERIES_H */
