/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kin.c: whether a process may be a descendant of another.
 *
 * Theory of operation.  The kernel keeps the parent of each process.  When the
 * parent exits, the process gets another: the nearest living ancestor that has
 * asked for this (PR_SET_CHILD_SUBREAPER, a "reaper"), or else the init of its
 * pid namespace.  So
 *   - every process in the chain of parents is an ancestor;
 *   - every ancestor that is still alive is in the chain;
 *   - there may have been others between a child and its parent in the chain,
 *     but only if that parent is a reaper, or by CLONE_PARENT, see below.
 * Let P be the process to check, and M another process.  If M is in P's chain,
 * P is its descendant.  Otherwise let X be the nearest common ancestor, and T
 * its child on P's side.  P can only be a descendant of M if T got X as its
 * parent when T's previous parent exited (that parent had M above it, and M
 * has X above it): so X is a reaper, and T is not older than M.  Such a T also
 * is in the control group that M is or was in: control groups are inherited,
 * and only changed by users that may write to the files of both groups.
 *
 * A process can also give its own parent to its child (CLONE_PARENT): so X may
 * be M's parent without being a reaper.  Then T may be a child of M, or X may
 * have started T like M itself: these cannot be distinguished.
 *
 * A process that was put into a pid namespace from outside (nsenter) has no
 * ancestor in it, but its orphaned descendants get the init of that namespace
 * as well.  So an init counts as a common ancestor wherever it is in the tree.
 *
 * Which processes are reapers: the init of a pid namespace is.  The kernel does
 * not show which processes have asked to be one.  systemd's user manager has;
 * it is recognised by its name.  Others, such as those of container managers,
 * are not recognised.
 *
 * Control groups are compared by service or scope: libvirt and others create
 * groups inside, and move a VM's threads there one by one; a child starts in
 * the group of the thread that created it.
 *
 * Races.  Parents exit while the chain is read.  So after an ancestor is read,
 * its child is read again.  If the child still has that parent, it had that
 * parent all the time: a pid that was freed cannot come back as the parent of
 * the same process, because a process is only reparented to an older process,
 * which already has its pid.  So what was read is about the true parent.
 * Otherwise everything is read again, a limited number of times.  Each link of
 * the chain was thus true when it was read, not all at the same time.  That is
 * enough: what a process had above it when its link was read was its ancestor,
 * or it has a reaper there now.  If the chain keeps changing, the check fails,
 * and the process is refused.
 *
 * All of this is readable for every user, unless /proc is mounted with hidepid=
 * or subset=.  If an ancestor cannot be read, such as one of another user then,
 * the chain ends there, and that ancestor is taken for an init.
 */
#include "clients/kin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

#define TRIES 8u
#define MAX_ANCESTORS 512u
#define TEXT_BYTES 4096u

/* Reads the start of the file, NUL-terminated; FALSE: it cannot be read. */
static gboolean read_file(const char *proc, pid_t pid, const char *name,
                          char text[TEXT_BYTES])
{
    g_autofree char *path = g_strdup_printf("%s/%d/%s", proc, (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    gssize bytes;

    if (fd < 0) {
        return FALSE;
    }
    bytes = read(fd, text, TEXT_BYTES - 1);
    text[MAX(bytes, 0)] = '\0';
    close(fd);
    return bytes > 0;
}

/*
 * "PID (NAME) STATE PPID ... BORN": fields 4 and 22.  A name may have any
 * characters, but there is no parenthesis after it.
 */
static gboolean read_stat(const char *proc, pid_t pid, pid_t *parent,
                          guint64 *born, char name[32])
{
    char text[TEXT_BYTES];
    const char *start, *end;
    g_auto(GStrv) fields = NULL;

    if (!read_file(proc, pid, "stat", text)) {
        return FALSE;
    }
    start = strchr(text, '(');
    end = strrchr(text, ')');
    if (start == NULL || end == NULL || end < start || end[1] != ' ') {
        return FALSE;
    }
    fields = g_strsplit(end + 2, " ", 22);
    if (g_strv_length(fields) < 20) {
        return FALSE;
    }
    *parent = (pid_t)g_ascii_strtoll(fields[1], NULL, 10);
    *born = g_ascii_strtoull(fields[19], NULL, 10);
    g_strlcpy(name, start + 1, MIN(32, (gsize)(end - start)));
    return TRUE;
}

/* The init of a pid namespace has pid 1 there: "NSpid:\t4711\t1". */
static gboolean is_init(const char *proc, pid_t pid)
{
    char text[TEXT_BYTES];
    const char *line, *end;

    if (pid == 1) {
        return TRUE;
    }
    if (!read_file(proc, pid, "status", text)) {
        return TRUE; /* if unknown, assume it is */
    }
    line = strstr(text, "\nNSpid:");
    end = line != NULL ? strchr(line + 1, '\n') : NULL;
    return end == NULL || (end[-1] == '1' && end[-2] == '\t');
}

static gboolean read_one(const char *proc, pid_t pid, KsmAncestor *one,
                         pid_t *parent)
{
    char name[32];

    *one = (KsmAncestor) { .pid = pid };
    if (!read_stat(proc, pid, parent, &one->born, name)) {
        return FALSE;
    }
    one->init = *parent == 0 || is_init(proc, pid);
    one->reaper = one->init || strcmp(name, "systemd") == 0;
    return TRUE;
}

static gboolean still_has(const char *proc, pid_t pid, pid_t wanted)
{
    pid_t parent;
    guint64 born;
    char name[32];

    return read_stat(proc, pid, &parent, &born, name) && parent == wanted;
}

/* FALSE: the chain changed; *hidden: a living process cannot be read. */
static gboolean read_chain(const char *proc, KsmKin *kin, gboolean *hidden)
{
    pid_t pid = kin->self.pid, parent;

    g_array_set_size(kin->ancestors, 0);
    *hidden = !read_one(proc, pid, &kin->self, &parent);
    while (!*hidden && parent > 0) {
        KsmAncestor one;
        pid_t next = 0;

        if (!read_one(proc, parent, &one, &next)) {
            one.reaper = one.init = TRUE;
        }

        if (!still_has(proc, pid, parent) ||
            kin->ancestors->len >= MAX_ANCESTORS) {
            return FALSE;
        }
        g_array_append_val(kin->ancestors, one);
        pid = parent;
        parent = next;
    }
    return !*hidden;
}

/* Whether a path component was created for threads of a VM. */
static gboolean is_inner(const char *part)
{
    return strcmp(part, "libvirt") == 0 || strcmp(part, "emulator") == 0 ||
           g_str_has_prefix(part, "vcpu") || g_str_has_prefix(part, "iothread");
}

static gboolean is_unit(const char *part)
{
    return g_str_has_suffix(part, ".service") ||
           g_str_has_suffix(part, ".scope");
}

/* The path up to the innermost service or scope; or without thread groups. */
static char *unit_of(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    guint count = g_strv_length(parts), keep = 0, i;

    for (i = 0; i < count; i++) {
        keep = is_unit(parts[i]) ? i + 1 : keep;
    }
    for (i = count; keep == 0 && i > 0; i--) {
        keep = is_inner(parts[i - 1]) ? 0 : i;
    }
    g_clear_pointer(&parts[keep], g_free);
    for (i = keep + 1; i < count; i++) {
        g_clear_pointer(&parts[i], g_free);
    }
    return g_strjoinv("/", parts);
}

/* Lines "ID:CONTROLLERS:PATH"; systemd's own version 1 hierarchy is preferred
 * to an unused version 2. */
char *ksm_kin_read_cgroup(const char *proc, pid_t pid)
{
    char text[TEXT_BYTES];
    g_auto(GStrv) lines = NULL;
    const char *path = NULL;
    guint i;

    if (!read_file(proc, pid, "cgroup", text)) {
        return NULL;
    }
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i] != NULL; i++) {
        const char *named = strstr(lines[i], ":name=systemd:/");

        if (named != NULL) {
            path = strrchr(named + 1, ':') + 1;
            break;
        }
        if (path == NULL && g_str_has_prefix(lines[i], "0::")) {
            path = lines[i] + strlen("0::");
        }
    }
    return path != NULL ? unit_of(path) : NULL;
}

void ksm_kin_free(KsmKin *kin)
{
    g_array_unref(kin->ancestors);
    g_free(kin->cgroup);
    g_free(kin);
}

KsmKin *ksm_kin_read(const char *proc, pid_t pid, GError **errp)
{
    g_autoptr(KsmKin) kin = g_new0(KsmKin, 1);
    gboolean hidden = FALSE, ok = FALSE;
    guint i;

    kin->self.pid = pid;
    kin->ancestors = g_array_new(FALSE, FALSE, sizeof(KsmAncestor));
    for (i = 0; i < TRIES && !ok && !hidden; i++) {
        ok = read_chain(proc, kin, &hidden);
    }
    if (ok) {
        kin->cgroup = ksm_kin_read_cgroup(proc, pid);
    }
    if (hidden) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_GROUP,
                    "/proc is hidden from the broker (hidepid=, ProtectProc=)");
    } else if (!ok) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_GROUP,
                    "its chain of parents keeps changing or is too long");
    } else if (kin->cgroup == NULL) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_GROUP,
                    "its control group cannot be read");
        ok = FALSE;
    }
    return ok ? g_steal_pointer(&kin) : NULL;
}

static gboolean is_same(const KsmAncestor *one, const KsmAncestor *other)
{
    return one->pid == other->pid && one->born == other->born;
}

static gboolean is_among(const GArray *all, const KsmAncestor *one)
{
    guint i;

    for (i = 0; i < all->len; i++) {
        if (is_same(&g_array_index(all, KsmAncestor, i), one)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean has_ancestor(const KsmKin *kin, const KsmAncestor *one)
{
    return is_among(kin->ancestors, one);
}

static gboolean is_parent(const KsmKin *kin, const KsmAncestor *one)
{
    return kin->ancestors->len > 0 &&
           is_same(&g_array_index(kin->ancestors, KsmAncestor, 0), one);
}

KsmKinship ksm_kin_to(const KsmKin *kin, const KsmKin *other,
                      const char *other_cgroup, gboolean siblings)
{
    gboolean near = g_strcmp0(kin->cgroup, other->cgroup) == 0 ||
                    g_strcmp0(kin->cgroup, other_cgroup) == 0;
    const KsmAncestor *child = &kin->self;
    guint i;

    if (has_ancestor(kin, &other->self)) {
        return KSM_KIN_DESCENDANT;
    }
    if (has_ancestor(other, &kin->self)) {
        return KSM_KIN_NONE; /* it is an ancestor of @other */
    }
    for (i = 0; i < kin->ancestors->len; i++) {
        const KsmAncestor *one = &g_array_index(kin->ancestors, KsmAncestor, i);

        if (near && child->born >= other->self.born &&
            ((siblings && is_parent(other, one)) || one->init ||
             (one->reaper && has_ancestor(other, one)))) {
            return KSM_KIN_MAYBE;
        }
        if (has_ancestor(other, one)) {
            return KSM_KIN_NONE;
        }
        child = one;
    }
    return KSM_KIN_NONE;
}

gboolean ksm_kin_is_orphan(const KsmKin *kin, const GArray *parents,
                           guint64 *born)
{
    const KsmAncestor *child = &kin->self;
    guint i;

    for (i = 0; i < kin->ancestors->len; i++) {
        const KsmAncestor *one = &g_array_index(kin->ancestors, KsmAncestor, i);

        if (one->reaper || is_among(parents, one)) {
            *born = child->born;
            return TRUE;
        }
        child = one;
    }
    return FALSE;
}
