/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process.c: a client's process, identified by more than its pid.
 *
 * What a client maps stays mapped until its process has exited, whatever
 * happens to its socket.  So references belong to the process, and a pidfd
 * reports when it exits.  A pid alone is not enough, because the kernel reuses
 * it; but while our pidfd reports the process as alive, its pid cannot belong
 * to another.  When a pidfd becomes readable, every thread has already dropped
 * its memory.
 *
 * Until it exits, the process is also bound to the name of the first group it
 * named; with that name it may be in the groups of several NUMA nodes.
 */
#include "clients/process.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clients/broker-limits.h"
#include "clients/descent.h"
#include "clients/kin.h"
#include "clients/user.h"
#include "host/identity.h"
#include "host/share.h"
#include "host/fd-watch.h"
#include "error.h"

#ifndef SO_PEERPIDFD /* Linux 6.5 */
#define SO_PEERPIDFD 77
#endif

/* A pidfd for the peer; before Linux 6.5 by pid, with a small race. */
static int peer_pidfd(int fd, pid_t pid)
{
    int pidfd = -1;
    socklen_t length = sizeof(pidfd);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0) {
        return pidfd;
    }
    if (errno != ENOPROTOOPT) {
        return -errno;
    }
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    return pidfd < 0 ? -errno : pidfd;
}

static gboolean process_on_end(gint fd, GIOCondition condition, gpointer data)
{
    (void)fd;
    (void)condition;
    ksm_process_ended(data);
    return G_SOURCE_REMOVE;
}

/* Takes over @pidfd. */
static KsmProcess *process_new(KsmBroker *broker, const struct ucred *cred,
                               int pidfd, GError **errp)
{
    KsmUser *user = ksm_user_ref(broker, cred->uid);
    KsmProcess *process;

    if (!ksm_user_check(user, KSM_QUOTA_PROCESSES, 1, errp)) {
        ksm_user_unref(user);
        close(pidfd);
        return NULL;
    }
    process = g_new0(KsmProcess, 1);
    if (!ksm_fd_watch_set(&process->watch, pidfd, G_IO_IN, process_on_end,
                          process)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT, "watching process %d: %s",
                    cred->pid, g_strerror(errno));
        close(pidfd);
        g_free(process);
        ksm_user_unref(user);
        return NULL;
    }
    ksm_share_take(&user->shares[KSM_QUOTA_PROCESSES], 1);
    process->user = user;
    process->pages = (KsmShare) {
        .limit = ksm_user_is_bound(cred->uid) ?
                     broker->limits.max_process_pages :
                     G_MAXUINT64,
        .all = &user->shares[KSM_QUOTA_PAGES],
    };
    process->broker = broker;
    process->pid = cred->pid;
    process->uid = cred->uid;
    process->pidfd = pidfd;
    process->identity = ksm_identity_of(pidfd, cred->pid);
    g_queue_init(&process->sessions);
    g_hash_table_insert(broker->processes, GINT_TO_POINTER(cred->pid), process);
    return process;
}

KsmProcess *ksm_process_of_peer(KsmBroker *broker, int fd, GError **errp)
{
    struct ucred cred = { 0, 0, 0 };
    socklen_t length = sizeof(cred);
    KsmProcess *known;
    int pidfd;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) != 0 ||
        cred.pid <= 0) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PERMISSION,
                    "the client's process is not visible to the broker (in "
                    "another pid namespace?)");
        return NULL;
    }
    pidfd = peer_pidfd(fd, cred.pid);
    if (pidfd < 0 || ksm_pidfd_is_dead(pidfd)) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_FAILED,
                    "the client's process %d: %s", cred.pid,
                    g_strerror(pidfd < 0 ? -pidfd : ESRCH));
        if (pidfd >= 0) {
            close(pidfd);
        }
        return NULL;
    }
    known = g_hash_table_lookup(broker->processes, GINT_TO_POINTER(cred.pid));
    if (known != NULL && ksm_pidfd_is_dead(known->pidfd)) {
        ksm_process_ended(known);
        known = NULL;
    }
    if (known != NULL && known->uid == cred.uid) {
        close(pidfd);
        return known;
    }
    if (known != NULL) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_PERMISSION,
                    "process %d has changed its user id", cred.pid);
        close(pidfd);
        return NULL;
    }
    return process_new(broker, &cred, pidfd, errp);
}

static void process_free(KsmProcess *process)
{
    ksm_share_give(&process->user->shares[KSM_QUOTA_PROCESSES], 1);
    ksm_user_unref(process->user);
    close(process->pidfd);
    g_clear_pointer(&process->kin, ksm_kin_free);
    g_free(process->group_key);
    g_free(process);
}

/* From now on another process may have its pid. */
static void process_forget(KsmProcess *process)
{
    KsmBroker *broker = process->broker;

    if (ksm_fd_watch_is_set(&process->watch)) {
        g_hash_table_remove(broker->processes, GINT_TO_POINTER(process->pid));
        ksm_fd_watch_clear(&process->watch);
    }
}

void ksm_process_check(KsmProcess *process)
{
    KsmBroker *broker = process->broker;

    if (process->connections == 0 && g_queue_is_empty(&process->sessions) &&
        (process->group_key == NULL || !ksm_fd_watch_is_set(&process->watch))) {
        process_forget(process);
        process_free(process);
        ksm_broker_check_idle(broker);
    }
}

void ksm_process_ended(KsmProcess *process)
{
    ksm_descent_ended(process);
    process_forget(process);
    process->connections++; /* keeps it until the end of this function */
    process->broker->ended(process);
    process->connections--;
    ksm_process_check(process);
}
