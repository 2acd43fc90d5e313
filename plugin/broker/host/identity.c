/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * identity.c: a 64-bit identity that is unique to a process.
 *
 * The kernel reuses pids.  So the identity has the pid (22 bits; Linux allows
 * no more) and the inode number of the process's pidfd, which no other process
 * ever has (Linux 6.9).  On older kernels, where pidfds have no inode of their
 * own, the identity says so, and any process with that pid is taken for it:
 * actions that wait for its exit are then late, never early.  (A confined
 * broker cannot read the start time of processes in /proc.)
 *
 * An identity is written and read in one access, so it is complete whenever a
 * broker exits.
 */
#include "host/identity.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PIDFS_MAGIC 0x50494446

#define PID_BITS 22

static pid_t pid_of(KsmIdentity identity)
{
    return (pid_t)(identity & ((1u << PID_BITS) - 1));
}

/* Whether the identity has no more than the pid. */
static gboolean is_vague(KsmIdentity identity)
{
    return identity >> PID_BITS == 0;
}

KsmIdentity ksm_identity_of(int pidfd, pid_t pid)
{
    struct statfs fs;
    struct stat status;
    guint64 birth = 0;

    if (fstatfs(pidfd, &fs) == 0 && (guint64)fs.f_type == PIDFS_MAGIC &&
        fstat(pidfd, &status) == 0) {
        birth = (guint64)status.st_ino;
    }
    return birth << PID_BITS | (guint64)pid;
}

KsmIdentity ksm_identity_self(void)
{
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    KsmIdentity identity = ksm_identity_of(pidfd, getpid());

    if (pidfd >= 0) {
        close(pidfd);
    }
    return identity;
}

gboolean ksm_pidfd_is_dead(int pidfd)
{
    struct pollfd entry = { .fd = pidfd, .events = POLLIN };

    return poll(&entry, 1, 0) == 1;
}

int ksm_identity_open(KsmIdentity identity)
{
    pid_t pid = pid_of(identity);
    KsmIdentity now;
    int pidfd;

    if (pid == 0) {
        return -ESRCH;
    }
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        /* EINVAL, ENOENT: the pid is now that of a thread */
        return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno;
    }
    now = ksm_identity_of(pidfd, pid);
    if ((now != identity && !is_vague(now) && !is_vague(identity)) ||
        ksm_pidfd_is_dead(pidfd)) {
        close(pidfd);
        return -ESRCH;
    }
    return pidfd;
}
