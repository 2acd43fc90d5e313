/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vms.c: the VMs that the broker's sessions make up. */
#include "base/vms.h"

#include <string.h>

static void vm_free(gpointer data)
{
    KsmVm *vm = data;

    g_ptr_array_unref(vm->sessions);
    g_free(vm->name);
    g_free(vm->group);
    g_free(vm);
}

static KsmVm *find_vm(GPtrArray *vms, JsonObject *session)
{
    const char *name = ksm_reply_string(session, "vm");
    gint64 pid = ksm_reply_int(session, "pid");
    KsmVm *vm;
    guint i;

    for (i = 0; i < vms->len; i++) {
        vm = g_ptr_array_index(vms, i);
        if (vm->pid == pid && g_strcmp0(vm->name, name) == 0) {
            return vm;
        }
    }
    vm = g_new0(KsmVm, 1);
    vm->name = g_strdup(name != NULL ? name : "?");
    vm->group = g_strdup(ksm_reply_string(session, "group"));
    vm->uid = ksm_reply_int(session, "uid");
    vm->pid = pid;
    vm->sessions =
        g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
    g_ptr_array_add(vms, vm);
    return vm;
}

static gint compare_vms(gconstpointer a, gconstpointer b)
{
    const KsmVm *one = *(KsmVm *const *)a, *other = *(KsmVm *const *)b;
    gint order = g_strcmp0(one->group, other->group);

    if (order == 0) {
        order = g_strcmp0(one->name, other->name);
    }
    return order != 0 ? order :
                        (one->pid > other->pid) - (one->pid < other->pid);
}

static gint compare_sessions(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(ksm_reply_string(*(JsonObject *const *)a, "name"),
                     ksm_reply_string(*(JsonObject *const *)b, "name"));
}

GPtrArray *ksm_vms_of_reply(JsonObject *reply)
{
    g_autoptr(GPtrArray) sessions = ksm_reply_objects(reply, "sessions");
    GPtrArray *vms = g_ptr_array_new_with_free_func(vm_free);
    guint i;

    for (i = 0; i < sessions->len; i++) {
        JsonObject *session = g_ptr_array_index(sessions, i);

        g_ptr_array_add(find_vm(vms, session)->sessions,
                        json_object_ref(session));
    }
    g_ptr_array_sort(vms, compare_vms);
    for (i = 0; i < vms->len; i++) {
        g_ptr_array_sort(((KsmVm *)g_ptr_array_index(vms, i))->sessions,
                         compare_sessions);
    }
    return vms;
}

char *ksm_vm_target(const char *name)
{
    return strchr(name, ':') != NULL ? g_strdup(name) :
                                       g_strconcat("vm:", name, NULL);
}

GPtrArray *ksm_vms_ask(KsmClient *client, const char *target, GError **errp)
{
    g_autoptr(JsonObject) reply = ksm_client_ask(client, errp, "sessions",
                                                 "target", G_TYPE_STRING,
                                                 target, NULL);

    return reply != NULL ? ksm_vms_of_reply(reply) : NULL;
}

char *ksm_vm_group_title(const KsmVm *vm)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    GString *title = g_string_new(vm->group);
    gboolean any = FALSE;
    guint i;

    for (i = 0; i < vm->sessions->len; i++) {
        gint64 node = -1;

        if (!ksm_reply_node(g_ptr_array_index(vm->sessions, i), &node)) {
            any = TRUE;
        } else if (g_hash_table_add(seen, GINT_TO_POINTER((gint)node))) {
            g_string_append_printf(title, "%c%" G_GINT64_FORMAT,
                                   g_hash_table_size(seen) > 1 ? ',' : '@',
                                   node);
        }
    }
    if (any && g_hash_table_size(seen) > 0) {
        g_string_append(title, ",any");
    }
    return g_string_free(title, FALSE);
}

gint64 ksm_vm_sum(const KsmVm *vm, const char *field)
{
    gint64 sum = 0;
    guint i;

    for (i = 0; i < vm->sessions->len; i++) {
        sum += ksm_reply_int(g_ptr_array_index(vm->sessions, i), field);
    }
    return sum;
}

double ksm_vm_sum_double(const KsmVm *vm, const char *field)
{
    double sum = 0;
    guint i;

    for (i = 0; i < vm->sessions->len; i++) {
        sum += ksm_reply_double(g_ptr_array_index(vm->sessions, i), field);
    }
    return sum;
}

const char *ksm_vm_string(const KsmVm *vm, const char *field)
{
    const char *first = ksm_reply_string(g_ptr_array_index(vm->sessions, 0),
                                         field);
    guint i;

    for (i = 1; i < vm->sessions->len; i++) {
        if (g_strcmp0(first,
                      ksm_reply_string(g_ptr_array_index(vm->sessions, i),
                                       field)) != 0) {
            return "mixed";
        }
    }
    return first;
}
