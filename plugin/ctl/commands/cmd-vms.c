/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-vms.c: `guest-ksmctl vms`: a line for each VM. */
#include <stdio.h>

#include "base/command.h"
#include "domain/domain-target.h"
#include "base/table.h"
#include "base/units.h"
#include "base/vms.h"

static void add_row(KsmTable *table, const KsmVm *vm)
{
    static const char *const fields[] = {
        "pages_total",  "pages_sharing",  "zero_pages",
        "pages_broken", "pages_unshared", "saved_pages",
    };
    guint i;

    ksm_table_add(table, vm->name);
    ksm_table_take(table, ksm_vm_group_title(vm));
    ksm_table_take(table, g_strdup_printf("%" G_GINT64_FORMAT, vm->uid));
    ksm_table_take(table, g_strdup_printf("%" G_GINT64_FORMAT, vm->pid));
    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        ksm_table_take(table,
                       ksm_units_mib_of_pages(ksm_vm_sum(vm, fields[i])));
    }
    ksm_table_take(table,
                   g_strdup_printf("%.2f",
                                   ksm_vm_sum_double(vm, "cpu_percent")));
    ksm_table_add(table, ksm_vm_string(vm, "state"));
}

static const GOptionEntry entries[] = {
    KSM_DOMAIN_TARGET_ENTRIES { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL,
                                NULL },
};

static gboolean run_vms(KsmCtl *ctl, char **args, GError **errp)
{
    static const char *const headings[] = {
        "<VM",    "<GROUP",   "UID",   "PID",  "MEMORY", "SHARING", "ZERO",
        "BROKEN", "UNSHARED", "SAVED", "CPU%", "<STATE", NULL,
    };
    g_autoptr(KsmTable) table = ksm_table_new(headings);
    g_autoptr(GPtrArray) vms = NULL;
    g_autofree char *text = NULL, *target = NULL;
    guint i;

    if (!ksm_domain_target(args[0], &target, errp)) {
        return FALSE;
    }
    if (!ksm_command_vms_of(ctl, target, &vms, errp)) {
        ksm_domain_target_explain(errp);
        return FALSE;
    }
    if (vms == NULL) {
        return TRUE;
    }
    for (i = 0; i < vms->len; i++) {
        add_row(table, g_ptr_array_index(vms, i));
    }
    text = ksm_table_format(table);
    printf("%s", text);
    return TRUE;
}

extern const KsmCommand ksm_command_vms;
const KsmCommand ksm_command_vms = {
    .name = "vms",
    .arguments = "[VM|GROUP]",
    .summary = "A line for each VM, in MiB",
    .details = "SAVED is a VM's part of what its group saves.",
    .most = 1,
    .entries = entries,
    .run = run_vms,
};
