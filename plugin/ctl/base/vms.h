/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vms.h: the VMs that the broker's sessions make up. */
#ifndef KSM_CTL_VMS_H
#define KSM_CTL_VMS_H

#include "base/client.h"

/** A session is a memory backend; a VM is the process that has some. */
typedef struct KsmVm {
    char *name; /* QEMU's -name */
    char *group;
    gint64 uid, pid;
    GPtrArray *sessions; /* JsonObject, in the order of their names */
} KsmVm;

/** The VMs in reply->"sessions", by group and name; of KsmVm, owned. */
GPtrArray *ksm_vms_of_reply(JsonObject *reply);

/** The target for a name that can only be a VM's; free with g_free(). */
char *ksm_vm_target(const char *name);

/** The VMs that @target names (NULL: all), asked for now. */
GPtrArray *ksm_vms_ask(KsmClient *client, const char *target, GError **errp);

/**
 * Its group; with the NUMA nodes that its backends are kept to, if any are, as
 * in "web@0,1".  Free with g_free().
 */
char *ksm_vm_group_title(const KsmVm *vm);

/** A field's sum over a VM's backends. */
gint64 ksm_vm_sum(const KsmVm *vm, const char *field);
double ksm_vm_sum_double(const KsmVm *vm, const char *field);

/** A field that its backends share, or "mixed" when they do not. */
const char *ksm_vm_string(const KsmVm *vm, const char *field);

#endif /* KSM_CTL_VMS_H */
