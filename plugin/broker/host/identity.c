/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * identity.c: one word that tells a process from all others, ever.
 *
 * The kernel gives a process's number out again.  So beside the number (22
 * bits; Linux allows no more) stands the inode number of its pidfd, which no
 * other process ever has (Linux 6.9).  Where pidfds have none of their own the
 * word says so, and any process with that number is taken for it: what hangs on
 * its end then comes late, not early.  (/proc, which could tell the time of its
 * start, is out of a confined broker's reach.)
 *
 * A word is written and read in one access, so that it is whole whenever a
 * broker ends.
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

/* Whether the word says no more than the number. */
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
        /* EINVAL, ENOENT: the number is that of a mere thread now */
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
