/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * descent.c: children of a group's processes stay in that group.
 *
 * A process belongs to the first group that it named (process.c), so that a
 * process that its guest has taken over cannot learn about other groups.  That
 * would be useless if it could fork: a child has a pid of its own.  So before a
 * process may name its first group, it is checked whether it may be a
 * descendant (kin.c) of any process of the same user that belongs to another
 * group:
 *   - A process with such an ancestor is a descendant: refused.
 *   - A process that has lost a parent, and runs in the same service or scope,
 *     may be one: refused as well, unless --no-orphan-check is given.  The
 *     price is that two VMs that both went into the background by themselves
 *     (-daemonize) in one service or scope cannot be in two groups.  libvirt
 *     gives each VM a scope of its own.
 *   - A process with the same parent, in the same service or scope, may be one,
 *     because a child may be given its parent's parent (CLONE_PARENT): refused
 *     in the same way, except for the broker's own user.
 * A process of another user cannot name the same groups anyway.
 *
 * VMs that have exited may have left children.  So for each service and scope
 * the broker remembers, as long as it runs, the group of the VMs there that
 * have exited.  A process there that has lost a parent, and is not older, may
 * name that group only; if there were two groups, it may name none.  There is
 * no way to know when the last child has exited: the children run as the same
 * user, and can hide from a scan of all processes.
 *
 * What is not covered: a user that may move processes between scopes, or have
 * them started by a service manager (as any user may by its own), can evade
 * this; and a broker knows nothing about processes that exited before its
 * start.
 *
 * Races.  The process may fork, and its parents may exit, at any time: kin.c.
 * It belongs to its group from this iteration of the main loop on, so its own
 * children will be checked against it.  Existing children that have already
 * named another group stay there: their parent had not named one then.
 */
#include "clients/descent.h"

#include <string.h>
#include <unistd.h>

#include "clients/kin.h"
#include "clients/names.h"
#include "host/identity.h"
#include "error.h"

#define PROC "/proc"
#define MAX_PLACES 16384u
#define MAX_PARENTS 64u

/* A service or scope in which VMs have exited. */
typedef struct Place {
    char *name;      /* "UID CGROUP" */
    char *group_key; /* NULL: several */
    char *vm;        /* one of them */
    guint64 born;    /* start time of the oldest of them */
    GArray *parents; /* KsmAncestors whose children count as well */
    GList link;      /* in descent->order */
} Place;

struct KsmDescent {
    gboolean orphans;
    GHashTable *places; /* name -> Place */
    GQueue order;       /* the oldest first */
};

static void place_free(gpointer data)
{
    Place *place = data;

    g_free(place->name);
    g_free(place->group_key);
    g_free(place->vm);
    g_array_unref(place->parents);
    g_free(place);
}

KsmDescent *ksm_descent_new(gboolean orphans)
{
    KsmDescent *self = g_new0(KsmDescent, 1);

    self->orphans = orphans;
    self->places = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                         place_free);
    g_queue_init(&self->order);
    return self;
}

static char *vm_of(const KsmProcess *process)
{
    const KsmSession *session = g_queue_peek_head((GQueue *)&process->sessions);

    return session != NULL ? ksm_names_vm(session) :
                             g_strdup_printf("%d", (int)process->pid);
}

static gboolean refuse(GError **errp, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/* Logs the full text; the client gets the first KSM_REASON_BYTES of it. */
static gboolean refuse(GError **errp, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_propagate_error(errp, g_error_new_valist(KSM_ERROR, KSM_ERROR_GROUP,
                                               format, args));
    va_end(args);
    return FALSE;
}

#define ADVICE "start this VM in another scope (systemd-run --scope): "

/*
 * Whether a process with the same parent as a VM counts as its possible child.
 * Not for the broker's own user: that user can write to all stores anyway, and
 * the price, that one shell cannot start VMs of two groups, would buy nothing.
 */
static gboolean siblings_count(const KsmProcess *process)
{
    return process->uid != geteuid();
}

static gboolean check_one(const KsmProcess *process, const KsmProcess *member,
                          GError **errp)
{
    const KsmDescent *descent = process->broker->descent;
    g_autofree char *cgroup = NULL, *vm = NULL;
    /* As if it ran in the same unit: that already rules out most. */
    gboolean siblings = siblings_count(process);
    KsmKinship kinship = ksm_kin_to(process->kin, member->kin,
                                    process->kin->cgroup, siblings);

    if (kinship == KSM_KIN_MAYBE) {
        cgroup = ksm_kin_read_cgroup(PROC, member->pid);
        kinship = ksm_kin_to(process->kin, member->kin, cgroup, siblings);
    }
    if (kinship == KSM_KIN_NONE ||
        (kinship == KSM_KIN_MAYBE && !descent->orphans)) {
        return TRUE;
    }
    vm = vm_of(member);
    if (kinship == KSM_KIN_DESCENDANT) {
        return refuse(errp,
                      "this process is a child of VM '%s' of group %s, "
                      "and cannot join another group",
                      vm, ksm_names_group(member->group_key));
    }
    return refuse(errp,
                  ADVICE "as it is, it may be a child of VM '%s' of "
                         "group %s; or see --no-orphan-check in guest-ksmd(8)",
                  vm, ksm_names_group(member->group_key));
}

/* Checks against VMs that have exited in the unit where the process runs. */
static gboolean check_place(KsmProcess *process, const char *key, GError **errp)
{
    const KsmDescent *descent = process->broker->descent;
    g_autofree char *name = g_strdup_printf("%u %s", process->uid,
                                            process->kin->cgroup);
    const Place *place = g_hash_table_lookup(descent->places, name);
    guint64 born;

    if (!descent->orphans || place == NULL ||
        g_strcmp0(place->group_key, key) == 0 ||
        !ksm_kin_is_orphan(process->kin, place->parents, &born) ||
        born < place->born) {
        return TRUE;
    }
    return refuse(errp,
                  ADVICE
                  "as it is, it may be a child of VM '%s' of "
                  "another group, which has ended; or see --no-orphan-check in "
                  "guest-ksmd(8)",
                  place->vm);
}

/* Whether @process could be a child of @other, so that a check is needed. */
static gboolean matters(const KsmProcess *process, const KsmProcess *other,
                        const char *key)
{
    return other != process && other->uid == process->uid &&
           other->group_key != NULL && strcmp(other->group_key, key) != 0;
}

gboolean ksm_descent_check(KsmProcess *process, const char *key, GError **errp)
{
    const KsmDescent *descent = process->broker->descent;
    g_autoptr(GError) unknown = NULL;
    GHashTableIter iter;
    gpointer other;

    g_clear_pointer(&process->kin, ksm_kin_free);
    process->kin = ksm_kin_read(PROC, process->pid, &unknown);
    /* What was read is about this process only if it still has its pid. */
    if (ksm_pidfd_is_dead(process->pidfd)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_GROUP, "the process has ended");
        return FALSE;
    }
    g_hash_table_iter_init(&iter, process->broker->processes);
    while (g_hash_table_iter_next(&iter, NULL, &other)) {
        const KsmProcess *member = other;

        if (!matters(process, member, key)) {
            continue;
        }
        if (process->kin != NULL && member->kin != NULL) {
            if (!check_one(process, member, errp)) {
                return FALSE;
            }
        } else if (descent->orphans) {
            return refuse(errp,
                          "cannot check whether it is a child of another "
                          "group's VM: %s; see --no-orphan-check in "
                          "guest-ksmd(8)",
                          unknown != NULL ? unknown->message :
                                            "that VM could not be checked");
        }
    }
    return process->kin == NULL || check_place(process, key, errp);
}

static Place *place_new(KsmDescent *descent, char *name, guint64 born)
{
    Place *place = g_new0(Place, 1);

    place->name = name;
    place->born = born;
    place->parents = g_array_new(FALSE, FALSE, sizeof(KsmAncestor));
    place->link.data = place;
    g_hash_table_insert(descent->places, name, place);
    g_queue_push_tail_link(&descent->order, &place->link);
    if (descent->order.length > MAX_PLACES) {
        Place *oldest = g_queue_peek_head(&descent->order);

        g_queue_unlink(&descent->order, &oldest->link);
        g_hash_table_remove(descent->places, oldest->name);
    }
    return place;
}

static void add_parent(Place *place, const KsmProcess *process)
{
    const GArray *ancestors = process->kin->ancestors;

    if (ancestors->len == 0 || !siblings_count(process)) {
        return;
    }
    if (place->parents->len >= MAX_PARENTS) {
        g_array_remove_index(place->parents, 0);
    }
    g_array_append_vals(place->parents, ancestors->data, 1);
}

void ksm_descent_ended(KsmProcess *process)
{
    KsmDescent *descent = process->broker->descent;
    Place *place;
    char *name;

    if (process->group_key == NULL || process->kin == NULL) {
        return;
    }
    name = g_strdup_printf("%u %s", process->uid, process->kin->cgroup);
    place = g_hash_table_lookup(descent->places, name);
    if (place == NULL) {
        place = place_new(descent, name, process->kin->self.born);
        place->group_key = g_strdup(process->group_key);
        place->vm = vm_of(process);
        add_parent(place, process);
        return;
    }
    g_free(name);
    add_parent(place, process);
    place->born = MIN(place->born, process->kin->self.born);
    if (g_strcmp0(place->group_key, process->group_key) != 0) {
        g_clear_pointer(&place->group_key, g_free);
    }
}
