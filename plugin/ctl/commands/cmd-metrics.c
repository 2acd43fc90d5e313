/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-metrics.c: `guest-ksmctl metrics`: statistics for Prometheus. */
#include <stdio.h>

#include "base/command.h"
#include "metrics/metrics.h"

static char *listen_on;

static const GOptionEntry entries[] = {
    { "listen", 'l', 0, G_OPTION_ARG_STRING, &listen_on,
      "Serve them over HTTP as /metrics, on the loopback address unless "
      "another is given; port 0: any",
      "[ADDRESS:]PORT" },
    { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
};

static gboolean print_metrics(KsmCtl *ctl, GError **errp)
{
    g_autofree char *text = ksm_metrics_ask(ctl->client, errp);

    if (text == NULL) {
        return FALSE;
    }
    fputs(text, stdout);
    return TRUE;
}

static gboolean run_metrics(KsmCtl *ctl, char **args, GError **errp)
{
    gboolean ok;

    (void)args;
    if (ctl->json) {
        ok = ksm_command_usage(errp, "metrics: they are OpenMetrics text; "
                                     "for JSON use status and vms");
    } else {
        ok = listen_on != NULL ?
                 ksm_metrics_serve(ctl->client, listen_on, errp) :
                 print_metrics(ctl, errp);
    }
    g_free(listen_on);
    return ok;
}

extern const KsmCommand ksm_command_metrics;
const KsmCommand ksm_command_metrics = {
    .name = "metrics",
    .arguments = "",
    .summary = "All statistics as OpenMetrics text, or over HTTP",
    .details = "With --listen it runs until it is stopped, and serves "
               "guest_ksm_up 0 while no broker answers.",
    .entries = entries,
    .run = run_metrics,
};
