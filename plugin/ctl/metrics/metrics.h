/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metrics.h: the broker's statistics as metrics, for Prometheus. */
#ifndef KSM_CTL_METRICS_H
#define KSM_CTL_METRICS_H

#include "base/client.h"
#include "metrics/metric-writer.h"

#define KSM_METRICS_TYPE \
    "application/openmetrics-text; version=1.0.0; charset=utf-8"

/** Asks the broker; the whole text, or NULL.  Free with g_free(). */
char *ksm_metrics_ask(KsmClient *client, GError **errp);

/** What there is to say without a broker: guest_ksm_up 0. */
char *ksm_metrics_without_broker(void);

/** Adds samples of memory by state, of a group or a session. */
void ksm_metrics_add_memory(KsmMetrics *metrics, JsonObject *object,
                            const char *labels);

/** Adds the families of the VMs' backends (sessions). */
void ksm_metrics_add_sessions(KsmMetrics *metrics, JsonObject *reply);

/** Serves them over HTTP until SIGINT or SIGTERM; @where: [ADDRESS:]PORT. */
gboolean ksm_metrics_serve(KsmClient *client, const char *where, GError **errp);

#endif /* KSM_CTL_METRICS_H */
