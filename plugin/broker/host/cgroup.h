/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.h: the control group limits on the broker's memory. */
#ifndef KSM_CGROUP_H
#define KSM_CGROUP_H

#include <glib.h>

typedef struct KsmCgroup KsmCgroup;

/**
 * The control group of this process, and all its visible ancestors; never NULL.
 * @root is a prefix of all file names: "" except in tests.
 */
KsmCgroup *ksm_cgroup_new(const char *root);
void ksm_cgroup_free(KsmCgroup *cgroup);

/**
 * The same for the root "".  Created by the first call, which must be made
 * before the process confines itself.
 */
const KsmCgroup *ksm_cgroup_own(void);

/** The smallest current limit in bytes; G_MAXUINT64: no limit. */
guint64 ksm_cgroup_limit_bytes(const KsmCgroup *cgroup);

/**
 * Bytes that can be allocated now before the kernel kills or throttles a
 * process in the group.  Page cache that it would drop first counts as free.
 * G_MAXUINT64: no limit.  Takes 2 us for each control group with a limit.
 */
guint64 ksm_cgroup_room_bytes(const KsmCgroup *cgroup);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmCgroup, ksm_cgroup_free)

#endif /* KSM_CGROUP_H */
