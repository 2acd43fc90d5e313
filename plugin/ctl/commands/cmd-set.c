/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-set.c: `guest-ksmctl set VM KEY=VALUE...`: options of running VMs. */
#include <string.h>

#include "base/command.h"
#include "base/order.h"

/* One KEY=VALUE into the request; keys are those of QEMU's object. */
static gboolean add_option(JsonObject *options, const char *text, GError **errp)
{
    static const struct {
        const char *key;
        const char *member;
    } numbers[] = {
        { "scan-cpu-percent", "scan_cpu_percent" },
        { "scan-interval", "scan_interval_ms" },
        { "max-mappings", "max_mappings" },
        { "keep-huge", "keep_huge" },
    };
    const char *equals = strchr(text, '=');
    g_autofree char *key = NULL;
    guint64 number;
    guint i;

    if (equals == NULL) {
        return ksm_command_usage(errp, "'%s' is not KEY=VALUE", text);
    }
    key = g_strndup(text, (gsize)(equals - text));
    if (strcmp(key, "run") == 0) {
        static const char *const modes[] = { "run", "pause", "unmerge", NULL };

        if (!g_strv_contains(modes, equals + 1)) {
            return ksm_command_usage(errp,
                                     "run=%s: use run, pause or "
                                     "unmerge",
                                     equals + 1);
        }
        json_object_set_string_member(options, "run", equals + 1);
        return TRUE;
    }
    for (i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (strcmp(key, numbers[i].key) != 0) {
            continue;
        }
        if (!g_ascii_string_to_unsigned(equals + 1, 10, 0, G_MAXUINT32, &number,
                                        NULL)) {
            return ksm_command_usage(errp, "%s: '%s' is not a whole number",
                                     key, equals + 1);
        }
        json_object_set_int_member(options, numbers[i].member, (gint64)number);
        return TRUE;
    }
    return ksm_command_usage(errp,
                             "there is no option '%s': "
                             "scan-cpu-percent, scan-interval, max-mappings, "
                             "keep-huge, run",
                             key);
}

static gboolean run_set(KsmCtl *ctl, char **args, GError **errp)
{
    g_autoptr(JsonObject) options = json_object_new();
    char *targets[] = { args[0], NULL };
    guint i;

    for (i = 1; args[i] != NULL; i++) {
        if (!add_option(options, args[i], errp)) {
            return FALSE;
        }
    }
    return ksm_settings_give(ctl, targets, options, errp);
}

extern const KsmCommand ksm_command_set;
const KsmCommand ksm_command_set = {
    .name = "set",
    .arguments = "VM|GROUP KEY=VALUE...",
    .summary = "Change options of running VMs",
    .details = "Keys: scan-cpu-percent (1 to 100), scan-interval (ms), "
               "max-mappings (0: automatic),\nkeep-huge (0 to 512; 0: off), "
               "run (run, pause, unmerge).  All VMs: guest-ksmctl set all\n"
               "KEY=VALUE.",
    .least = 2,
    .most = G_MAXUINT,
    .run = run_set,
};
