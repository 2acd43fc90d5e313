/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.h: limits of control groups on the broker's memory. */
#ifndef KSM_CGROUP_H
#define KSM_CGROUP_H

#include <glib.h>

typedef struct KsmCgroup KsmCgroup;

/**
 * The control group that this process is in, and all above it that it can see;
 * never NULL.  @root comes before the names of all files: "" but in tests.
 */
KsmCgroup *ksm_cgroup_new(const char *root);
void ksm_cgroup_free(KsmCgroup *cgroup);

/** The same for "", made when it is first asked for, which must be before the
 * process confines itself. */
const KsmCgroup *ksm_cgroup_own(void);

/** The smallest limit as it is now, in bytes; G_MAXUINT64: there is none. */
guint64 ksm_cgroup_limit_bytes(const KsmCgroup *cgroup);

/**
 * What may be taken now before the kernel kills or slows down somebody; page
 * cache that it would drop instead counts as free.  G_MAXUINT64: no limit.  2 us
 * for each control group that has a limit.
 */
guint64 ksm_cgroup_room_bytes(const KsmCgroup *cgroup);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmCgroup, ksm_cgroup_free)

#endif /* KSM_CGROUP_H */
