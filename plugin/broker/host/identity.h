/* SPDX-License-Identifier: GPL-2.0-or-later */
/* identity.h: a 64-bit identity that is unique to a process. */
#ifndef KSM_IDENTITY_H
#define KSM_IDENTITY_H

#include <glib.h>
#include <sys/types.h>

/** 0: none.  Valid until the host's next boot, in one pid namespace. */
typedef guint64 KsmIdentity;

/** The identity of the living process of @pidfd, whose pid is @pid. */
KsmIdentity ksm_identity_of(int pidfd, pid_t pid);

/** The identity of this process. */
KsmIdentity ksm_identity_self(void);

/**
 * A pidfd for that process, owned by the caller; -ESRCH if it is known to have
 * exited; or another -errno.  If the identity has no more than the pid, the
 * pidfd may be of another process with the same pid.
 */
int ksm_identity_open(KsmIdentity identity);

/** Whether the process of a pidfd has exited. */
gboolean ksm_pidfd_is_dead(int pidfd);

#endif /* KSM_IDENTITY_H */
