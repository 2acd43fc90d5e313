/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-order.c: `guest-ksmctl pause | run | unmerge`. */
#include <stdio.h>

#include "base/client.h"
#include "base/command.h"
#include "base/order.h"

static gboolean all_vms;

static const GOptionEntry setting_entries[] = {
    { "all", 'a', 0, G_OPTION_ARG_NONE, &all_vms, "Every VM of this broker",
      NULL },
    { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
};

/* The outcome of a request, over all of its targets. */
typedef struct Outcome {
    guint done, failed, pending;
    char *error; /* of the first that failed */
} Outcome;

static void note(JsonObject *result, gboolean quiet, Outcome *outcome)
{
    const char *what = ksm_reply_string(result, "result");
    const char *error = ksm_reply_string(result, "error");
    const char *name = ksm_reply_string(result, "name");

    if (g_strcmp0(what, "done") == 0) {
        outcome->done++;
    } else if (g_strcmp0(what, "pending") == 0) {
        outcome->pending++;
    } else {
        outcome->failed++;
        if (outcome->error == NULL) {
            outcome->error = g_strdup_printf("%s: %s", name, error);
        }
    }
    if (!quiet) {
        printf("%s (group %s, process %" G_GINT64_FORMAT "): %s%s%s\n", name,
               ksm_reply_string(result, "group"), ksm_reply_int(result, "pid"),
               what, error != NULL ? ": " : "", error != NULL ? error : "");
    }
}

static gboolean give_one(KsmCtl *ctl, const char *target, JsonObject *options,
                         Outcome *outcome, GError **errp)
{
    g_autoptr(JsonObject) reply = NULL;
    g_autoptr(GPtrArray) results = NULL;
    guint i;

    json_object_set_string_member(options, "request", "set");
    json_object_set_string_member(options, "target", target);
    reply = ksm_client_ask_object(ctl->client, options, errp);
    if (reply == NULL) {
        return FALSE;
    }
    results = ksm_reply_objects(reply, "results");
    for (i = 0; i < results->len; i++) {
        note(g_ptr_array_index(results, i), ctl->json, outcome);
    }
    if (ctl->json) {
        ksm_command_print_json(reply);
    }
    return TRUE;
}

static gboolean judge(KsmCtl *ctl, const Outcome *outcome, GError **errp)
{
    if (outcome->failed > 0) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "%s: %u of %u refused; %s", ksm_client_path(ctl->client),
                    outcome->failed,
                    outcome->done + outcome->failed + outcome->pending,
                    outcome->error);
        return FALSE;
    }
    if (outcome->pending > 0) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_PENDING,
                    "%s: %u of %u did not confirm in time; they will carry the "
                    "change out with their next report",
                    ksm_client_path(ctl->client), outcome->pending,
                    outcome->done + outcome->pending);
        return FALSE;
    }
    return TRUE;
}

gboolean ksm_settings_give(KsmCtl *ctl, char **targets, JsonObject *options,
                           GError **errp)
{
    Outcome outcome = { 0 };
    gboolean ok = TRUE;
    guint i;

    for (i = 0; ok && targets[i] != NULL; i++) {
        ok = give_one(ctl, targets[i], options, &outcome, errp);
    }
    ok = ok && judge(ctl, &outcome, errp);
    g_free(outcome.error);
    return ok;
}

static gboolean setting_run(KsmCtl *ctl, char **args, const char *mode,
                            GError **errp)
{
    static char all[] = "all";
    char *everything[] = { all, NULL };
    g_autoptr(JsonObject) options = json_object_new();

    if (all_vms == (args[0] != NULL)) {
        return ksm_command_usage(errp,
                                 "usage: guest-ksmctl %s "
                                 "VM|GROUP...|--all",
                                 mode);
    }
    json_object_set_string_member(options, "run", mode);
    return ksm_settings_give(ctl, all_vms ? everything : args, options, errp);
}

static gboolean run_pause(KsmCtl *ctl, char **args, GError **errp)
{
    return setting_run(ctl, args, "pause", errp);
}

static gboolean run_run(KsmCtl *ctl, char **args, GError **errp)
{
    return setting_run(ctl, args, "run", errp);
}

static gboolean run_unmerge(KsmCtl *ctl, char **args, GError **errp)
{
    return setting_run(ctl, args, "unmerge", errp);
}

#define ORDER(mode, text) \
    extern const KsmCommand ksm_command_##mode; \
    const KsmCommand ksm_command_##mode = { \
        .name = #mode, \
        .arguments = "VM|GROUP...|--all", \
        .summary = text, \
        .details = "A name that is a VM's and a group's: vm:NAME or " \
                   "group:NAME.  A name that two VMs have: pid:NUMBER.", \
        .most = G_MAXUINT, \
        .entries = setting_entries, \
        .run = run_##mode, \
    }

ORDER(pause, "Keep shared pages shared, and stop scanning");
ORDER(run, "Scan and share");
ORDER(unmerge, "Make every shared page private again, and pause");
