/* SPDX-License-Identifier: GPL-2.0-or-later */
/* identity.h: one word that tells a process from all others, ever. */
#ifndef KSM_IDENTITY_H
#define KSM_IDENTITY_H

#include <glib.h>
#include <sys/types.h>

/** 0: none.  Holds until the host's next start, in one pid namespace. */
typedef guint64 KsmIdentity;

/** Of the process that @pidfd stands for, which lives and has number @pid. */
KsmIdentity ksm_identity_of(int pidfd, pid_t pid);

/** Of this process. */
KsmIdentity ksm_identity_self(void);

/**
 * A pidfd for that process, or -ESRCH when it is known to have gone, or
 * another -errno.  In doubt it is another process with the same number.
 */
int ksm_identity_open(KsmIdentity identity);

/** Whether a pidfd's process has gone. */
gboolean ksm_pidfd_is_dead(int pidfd);

#endif /* KSM_IDENTITY_H */
