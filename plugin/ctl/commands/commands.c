/* SPDX-License-Identifier: GPL-2.0-or-later */
/* commands.c: the list of subcommands, and what they share. */
#include "base/command.h"

#include <stdio.h>
#include <string.h>

#include "base/client.h"
#include "base/vms.h"

extern const KsmCommand ksm_command_status, ksm_command_vms, ksm_command_vm,
    ksm_command_pause, ksm_command_run, ksm_command_unmerge, ksm_command_set,
    ksm_command_top, ksm_command_map, ksm_command_history, ksm_command_metrics,
    ksm_command_check, ksm_command_domain_xml;

const KsmCommand *const ksm_commands[] = {
    &ksm_command_status,
    &ksm_command_vms,
    &ksm_command_vm,
    &ksm_command_pause,
    &ksm_command_run,
    &ksm_command_unmerge,
    &ksm_command_set,
    &ksm_command_top,
    &ksm_command_map,
    &ksm_command_history,
    &ksm_command_metrics,
    &ksm_command_check,
#ifdef KSM_CTL_LIBVIRT
    &ksm_command_domain_xml,
#endif
    NULL,
};

const KsmCommand *ksm_command_find(const char *name)
{
    guint i;

    for (i = 0; ksm_commands[i] != NULL; i++) {
        if (strcmp(ksm_commands[i]->name, name) == 0) {
            return ksm_commands[i];
        }
    }
    return NULL;
}

void ksm_command_print_json(JsonObject *reply)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    json_object_remove_member(reply, "ok");
    json_node_set_object(node, reply);
    text = json_to_string(node, TRUE);
    printf("%s\n", text);
}

gboolean ksm_command_vms_of(KsmCtl *ctl, const char *target, GPtrArray **vms,
                            GError **errp)
{
    g_autoptr(JsonObject) reply = ksm_client_ask(ctl->client, errp, "sessions",
                                                 "target", G_TYPE_STRING,
                                                 target, NULL);

    *vms = NULL;
    if (reply == NULL) {
        return FALSE;
    }
    if (ctl->json) {
        ksm_command_print_json(reply);
    } else {
        *vms = ksm_vms_of_reply(reply);
    }
    return TRUE;
}

gboolean ksm_command_usage(GError **errp, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_propagate_error(errp, g_error_new_valist(KSM_CTL_ERROR, KSM_CTL_USAGE,
                                               format, args));
    va_end(args);
    return FALSE;
}
