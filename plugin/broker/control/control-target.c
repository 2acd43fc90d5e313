/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control-target.c: finds the sessions that a request names.
 *
 * A VM is a process.  QEMU names the session of a memory backend "VM/BACKEND"
 * after its -name, so a VM's name stands for all of its backends.  A request
 * must never reach the wrong VM: a name that two processes have, or a group
 * name that two users have, is refused.
 */
#include "control/control-target.h"

#include <string.h>

#include "clients/names.h"
#include "clients/totals.h"
#include "error.h"

typedef enum Kind { BY_VM, BY_GROUP, BY_PID } Kind;

typedef struct Search {
    Kind kind;
    const char *name;
    gint64 pid;
    GPtrArray *found; /* KsmSession */
} Search;

static gboolean matches(const KsmSession *session, const Search *search)
{
    const char *family = session->shard->family;
    g_autofree char *vm = NULL;

    switch (search->kind) {
    case BY_PID:
        return session->process->pid == search->pid;
    case BY_GROUP:
        return strcmp(family, search->name) == 0 ||
               strcmp(ksm_names_group(family), search->name) == 0;
    case BY_VM:
    default:
        vm = ksm_names_vm(session);
        return strcmp(vm, search->name) == 0 ||
               strcmp(session->name, search->name) == 0;
    }
}

static void visit(KsmSession *session, gpointer opaque)
{
    Search *search = opaque;

    if (!session->abandoned &&
        (search->name == NULL || matches(session, search))) {
        g_ptr_array_add(search->found, session);
    }
}

static gint by_name(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const KsmSession *const *)a)->name,
                  (*(const KsmSession *const *)b)->name);
}

static GPtrArray *find(KsmBroker *broker, Kind kind, const char *name)
{
    Search search = {
        .kind = kind,
        .name = name,
        .found = g_ptr_array_new(),
    };

    if (kind == BY_PID) {
        search.pid = g_ascii_strtoll(name, NULL, 10);
    }
    ksm_totals_visit(broker, visit, &search);
    g_ptr_array_sort(search.found, by_name);
    return search.found;
}

/* Whether all are of one process, or of one user's group, on any nodes. */
static gboolean is_one(const GPtrArray *found, Kind kind)
{
    const KsmSession *first = g_ptr_array_index(found, 0);
    guint i;

    for (i = 1; i < found->len; i++) {
        const KsmSession *session = g_ptr_array_index(found, i);

        if (kind == BY_GROUP ?
                strcmp(session->shard->family, first->shard->family) != 0 :
                session->process != first->process) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean refuse(const char **code, const char *why, GError **errp,
                       const char *format, ...) G_GNUC_PRINTF(4, 5);

static gboolean refuse(const char **code, const char *why, GError **errp,
                       const char *format, ...)
{
    va_list args;

    *code = why;
    va_start(args, format);
    g_propagate_error(errp, g_error_new_valist(KSM_ERROR, KSM_ERROR_INVALID,
                                               format, args));
    va_end(args);
    return FALSE;
}

/* Lists the first few of the sessions for an error message. */
static char *list_some(const GPtrArray *found)
{
    GString *text = g_string_new(NULL);
    guint i;

    for (i = 0; i < MIN(found->len, 4); i++) {
        const KsmSession *session = g_ptr_array_index(found, i);

        g_string_append_printf(text, "%s%s in group %s, pid:%d",
                               i > 0 ? "; " : "", session->name,
                               session->shard->key, (int)session->process->pid);
    }
    if (found->len > i) {
        g_string_append_printf(text, "; and %u more", found->len - i);
    }
    return g_string_free(text, FALSE);
}

static gboolean check(const GPtrArray *found, Kind kind, const char *name,
                      const char **code, GError **errp)
{
    static const char *const nouns[] = {
        [BY_VM] = "VM",
        [BY_GROUP] = "group",
        [BY_PID] = "VM with process",
    };
    g_autofree char *some = NULL;

    if (found->len == 0) {
        return refuse(code, kind == BY_GROUP ? "no-such-group" : "no-such-vm",
                      errp, "there is no %s '%s'", nouns[kind], name);
    }
    if (!is_one(found, kind)) {
        some = list_some(found);
        return refuse(code, "ambiguous", errp,
                      "'%s' is the name of more than "
                      "one %s: %s",
                      name, nouns[kind], some);
    }
    return TRUE;
}

/* Looks up a plain name, of a VM or a group, but not of both. */
static GPtrArray *find_plain(KsmBroker *broker, const char *name, Kind *kind,
                             const char **code, GError **errp)
{
    g_autoptr(GPtrArray) vms = find(broker, BY_VM, name);
    g_autoptr(GPtrArray) groups = find(broker, BY_GROUP, name);

    if (vms->len > 0 && groups->len > 0) {
        refuse(code, "ambiguous", errp,
               "'%s' is a VM and a group: say vm:%s "
               "or group:%s",
               name, name, name);
        return NULL;
    }
    if (vms->len == 0 && groups->len == 0) {
        refuse(code, "no-such-vm", errp, "there is no VM or group '%s'", name);
        return NULL;
    }
    *kind = vms->len > 0 ? BY_VM : BY_GROUP;
    return vms->len > 0 ? g_steal_pointer(&vms) : g_steal_pointer(&groups);
}

GPtrArray *ksm_control_target(KsmBroker *broker, const char *target,
                              const char **code, GError **errp)
{
    static const char *const prefixes[] = {
        [BY_VM] = "vm:",
        [BY_GROUP] = "group:",
        [BY_PID] = "pid:",
    };
    g_autoptr(GPtrArray) found = NULL;
    Kind kind;

    if (target == NULL || strcmp(target, "all") == 0) {
        return find(broker, BY_VM, NULL);
    }
    for (kind = BY_VM; kind <= BY_PID; kind++) {
        if (g_str_has_prefix(target, prefixes[kind])) {
            target += strlen(prefixes[kind]);
            found = find(broker, kind, target);
            break;
        }
    }
    if (found == NULL) {
        found = find_plain(broker, target, &kind, code, errp);
    }
    if (found == NULL || !check(found, kind, target, code, errp)) {
        return NULL;
    }
    return g_steal_pointer(&found);
}
