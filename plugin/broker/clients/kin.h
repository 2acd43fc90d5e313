/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kin.h: whether a process may come from another, by whatever children. */
#ifndef KSM_KIN_H
#define KSM_KIN_H

#include <glib.h>
#include <sys/types.h>

/** A process among the ancestors of another. */
typedef struct KsmAncestor {
    pid_t pid;
    guint64 born;               /* clock ticks since the host's start */
    gboolean reaper;            /* it gets children whose parent has ended, */
    gboolean init;              /* of a whole pid namespace, or of one that
                                   cannot be looked at */
} KsmAncestor;

/** What /proc tells of a process at one time. */
typedef struct KsmKin {
    KsmAncestor self;
    GArray *ancestors;          /* KsmAncestor, its parent first */
    char *cgroup;               /* the unit that it runs in */
} KsmKin;

typedef enum KsmKinship {
    KSM_KIN_NONE,               /* it cannot be */
    KSM_KIN_DESCENDANT,
    KSM_KIN_MAYBE,              /* who started it has ended; it may be */
} KsmKinship;

/**
 * Of a process that a pidfd holds on to; NULL with @errp set when it cannot be
 * told.  @proc: "/proc", or where a test has another.
 */
KsmKin *ksm_kin_read(const char *proc, pid_t pid, GError **errp);
void ksm_kin_free(KsmKin *kin);

/** The unit that a process runs in now, NULL when it cannot be told. */
char *ksm_kin_read_cgroup(const char *proc, pid_t pid);

/**
 * What @kin is to @other; @other_cgroup: where that runs now, or NULL.
 * @siblings: whether a child of the other's parent may be its own.
 */
KsmKinship ksm_kin_to(const KsmKin *kin, const KsmKin *other,
                      const char *other_cgroup, gboolean siblings);

/**
 * Whether who started @kin, or an ancestor of it, may have ended: an ancestor is
 * the child of a reaper, or of one of @parents (KsmAncestor).  Its birth goes to
 * @born.
 */
gboolean ksm_kin_is_orphan(const KsmKin *kin, const GArray *parents,
                           guint64 *born);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmKin, ksm_kin_free)

#endif /* KSM_KIN_H */
