/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metric-writer.h: writes OpenMetrics text, version 1.0.0. */
#ifndef KSM_CTL_METRIC_WRITER_H
#define KSM_CTL_METRIC_WRITER_H

#include <glib.h>

/**
 * All samples of a family follow its header.  Names have their unit last, as
 * the format wants; "_total" and the like are put behind by these functions.
 */
typedef struct KsmMetrics {
    GString *text;
    const char *family; /* the one under way */
} KsmMetrics;

/** @unit: "bytes", "seconds", ...; NULL for counts.  Literals, all of them. */
void ksm_metrics_family(KsmMetrics *metrics, const char *name, const char *type,
                        const char *unit, const char *help);

/**
 * A sample of the family, its name ended by @suffix ("" for a gauge, "_total"
 * for a counter).  @labels: from ksm_metrics_add_label(), or NULL.
 */
void ksm_metrics_sample(KsmMetrics *metrics, const char *suffix,
                        const char *labels, double value);

/** Appends a label and its value, quoted as needed; a comma between them. */
void ksm_metrics_add_label(GString *labels, const char *name,
                           const char *value);

/** The same for a number. */
void ksm_metrics_add_number(GString *labels, const char *name, gint64 value);

/** Closes the text. */
void ksm_metrics_end(KsmMetrics *metrics);

#endif /* KSM_CTL_METRIC_WRITER_H */
