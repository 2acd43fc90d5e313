/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kin.h: whether a process may be a descendant of another. */
#ifndef KSM_KIN_H
#define KSM_KIN_H

#include <glib.h>
#include <sys/types.h>

/** A process among the ancestors of another. */
typedef struct KsmAncestor {
    pid_t pid;
    guint64 born;    /* clock ticks since the host's start */
    gboolean reaper; /* children whose parent exits go to it */
    gboolean init;   /* init of a pid namespace; or it cannot be
                                   read, and is taken for one */
} KsmAncestor;

/** What /proc reports about a process at one time. */
typedef struct KsmKin {
    KsmAncestor self;
    GArray *ancestors; /* KsmAncestor, its parent first */
    char *cgroup;      /* the unit that it runs in */
} KsmKin;

typedef enum KsmKinship {
    KSM_KIN_NONE, /* it cannot be a descendant */
    KSM_KIN_DESCENDANT,
    KSM_KIN_MAYBE, /* its parent has exited: it may be one */
} KsmKinship;

/**
 * Reads the ancestors of process @pid, for which the caller has a pidfd.  NULL
 * with @errp set if they cannot be determined.  @proc: "/proc", or another path
 * in tests.
 */
KsmKin *ksm_kin_read(const char *proc, pid_t pid, GError **errp);
void ksm_kin_free(KsmKin *kin);

/** The unit that a process runs in now; NULL if unknown. */
char *ksm_kin_read_cgroup(const char *proc, pid_t pid);

/**
 * Whether @kin is a descendant of @other.  @other_cgroup: the unit that @other
 * runs in now, or NULL.  @siblings: whether a child of @other's parent may be
 * @other's own child (CLONE_PARENT).
 */
KsmKinship ksm_kin_to(const KsmKin *kin, const KsmKin *other,
                      const char *other_cgroup, gboolean siblings);

/**
 * Whether the original parent of @kin, or of one of its ancestors, may have
 * exited: that process is now the child of a reaper, or of one of @parents
 * (KsmAncestor).  Stores the start time of that process in @born.
 */
gboolean ksm_kin_is_orphan(const KsmKin *kin, const GArray *parents,
                           guint64 *born);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmKin, ksm_kin_free)

#endif /* KSM_KIN_H */
