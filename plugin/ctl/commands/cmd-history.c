/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-history.c: `guest-ksmctl history`: savings over the last hours. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/client.h"
#include "base/command.h"
#include "base/terminal.h"
#include "history/series.h"

static char *svg_path, *last;

static const GOptionEntry entries[] = {
    { "last", 'l', 0, G_OPTION_ARG_STRING, &last,
      "Only so much of it: seconds, or as in 90m or 2h (all: six hours)",
      "TIME" },
    { "svg", 'o', 0, G_OPTION_ARG_FILENAME, &svg_path,
      "Write the plot there, instead of to the terminal", "FILE" },
    { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
};

/* A number and its unit; 0: not given. */
static gboolean parse_last(gint64 *seconds, GError **errp)
{
    static const struct {
        char unit;
        gint64 seconds;
    } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    g_autofree char *digits = g_strdup(last != NULL ? last : "");
    gsize bytes = strlen(digits);
    gint64 factor = 1;
    guint64 number = 0;
    guint i;

    *seconds = 0;
    if (last == NULL) {
        return TRUE;
    }
    for (i = 0; i < G_N_ELEMENTS(units) && bytes > 0; i++) {
        if (digits[bytes - 1] == units[i].unit) {
            factor = units[i].seconds;
            digits[--bytes] = '\0';
            break;
        }
    }
    if (!g_ascii_string_to_unsigned(digits, 10, 1, G_MAXUINT32, &number,
                                    NULL)) {
        return ksm_command_usage(errp,
                                 "--last %s: use a time such as 90m, "
                                 "2h or 600",
                                 last);
    }
    *seconds = (gint64)number * factor;
    return TRUE;
}

static JsonObject *ask(KsmClient *client, const char *group, gint64 seconds,
                       GError **errp)
{
    g_autoptr(JsonObject) request = json_object_new();

    json_object_set_string_member(request, "request", "history");
    if (group != NULL) {
        json_object_set_string_member(request, "group", group);
    }
    if (seconds > 0) {
        json_object_set_int_member(request, "seconds", seconds);
    }
    return ksm_client_ask_object(client, request, errp);
}

static gboolean write_svg(const KsmSeries *series, GError **errp)
{
    g_autofree char *svg = ksm_series_svg(series);
    FILE *file = fopen(svg_path, "we");
    gboolean ok = file != NULL && fputs(svg, file) >= 0;

    if ((file != NULL && fclose(file) != 0) || !ok) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "could not write the picture %s: %s", svg_path,
                    g_strerror(errno));
        return FALSE;
    }
    return TRUE;
}

static gboolean show(KsmCtl *ctl, const char *group, GError **errp)
{
    g_autoptr(JsonObject) reply = NULL;
    g_autoptr(KsmSeries) series = NULL;
    g_autofree char *text = NULL;
    gint64 seconds;

    if (!parse_last(&seconds, errp)) {
        return FALSE;
    }
    reply = ask(ctl->client, group, seconds, errp);
    series = reply != NULL ? ksm_series_of_reply(reply, group, errp) : NULL;
    if (series == NULL || (svg_path != NULL && !write_svg(series, errp))) {
        return FALSE;
    }
    if (ctl->json) {
        ksm_command_print_json(reply);
    } else if (svg_path == NULL) {
        text = ksm_series_plot(series, ksm_terminal_columns(),
                               ksm_terminal_is_utf8());
        fputs(text, stdout);
    }
    return TRUE;
}

static gboolean run_history(KsmCtl *ctl, char **args, GError **errp)
{
    gboolean ok = show(ctl, args[0], errp);

    g_free(svg_path);
    g_free(last);
    return ok;
}

extern const KsmCommand ksm_command_history;
const KsmCommand ksm_command_history = {
    .name = "history",
    .arguments = "[GROUP]",
    .summary = "Savings over the last hours, as a plot",
    .details = "The broker takes a sample every ten seconds and keeps six "
               "hours of them, for\neach group and in all.",
    .most = 1,
    .entries = entries,
    .run = run_history,
};
