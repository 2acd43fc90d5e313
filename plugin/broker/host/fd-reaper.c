/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fd-reaper.c: closes descriptors that clients sent, without blocking.
 *
 * close(2) may call the file's file system, and that may be a client's own
 * (FUSE) and never answer.  So all descriptors but memfds, which cannot block,
 * are closed by a thread that may block.  While it does, no more descriptors
 * are received from that user; if all threads block, none from any user.  The
 * kernel drops those descriptors, which never blocks us.
 *
 * Threads: only the main loop's thread receives descriptors, and it hands them
 * over in the same iteration; the closer threads close them.  `lock` guards the
 * closers' fields.
 */
#include "host/fd-reaper.h"

#include <fcntl.h>
#include <unistd.h>

typedef struct Closer {
    gboolean started;
    int fd; /* to be closed; -1: idle */
    uid_t uid;
} Closer;

static GMutex lock;
static GCond changed;
static Closer closers[KSM_STRAY_THREADS];

static gpointer closer_run(gpointer data)
{
    Closer *closer = data;

    g_mutex_lock(&lock);
    closer->started = TRUE;
    closer->fd = -1;
    g_cond_broadcast(&changed);
    for (;;) {
        while (closer->fd < 0) {
            g_cond_wait(&changed, &lock);
        }
        g_mutex_unlock(&lock);
        close(closer->fd);
        g_mutex_lock(&lock);
        closer->fd = -1;
    }
    return NULL;
}

gboolean ksm_fd_reaper_start(GError **errp)
{
    guint i;

    for (i = 0; i < KSM_STRAY_THREADS; i++) {
        Closer *closer = &closers[i];
        GThread *thread = g_thread_try_new("stray", closer_run, closer, errp);

        if (thread == NULL) {
            g_prefix_error(errp, "(RLIMIT_AS, RLIMIT_NPROC or a cgroup's "
                                 "pids.max?) ");
            return FALSE;
        }
        g_thread_unref(thread);
        /* On start it makes system calls that are not allowed later. */
        g_mutex_lock(&lock);
        while (!closer->started) {
            g_cond_wait(&changed, &lock);
        }
        g_mutex_unlock(&lock);
    }
    return TRUE;
}

/* An idle thread; NULL: none, or one is closing a descriptor of that user. */
static Closer *free_closer(uid_t uid)
{
    Closer *found = NULL;
    guint i;

    for (i = 0; i < KSM_STRAY_THREADS; i++) {
        Closer *closer = &closers[i];

        if (closer->started && closer->fd >= 0 && closer->uid == uid) {
            return NULL;
        }
        if (closer->started && closer->fd < 0) {
            found = closer;
        }
    }
    return found;
}

gboolean ksm_fd_reaper_may_take(uid_t uid)
{
    gboolean may;

    g_mutex_lock(&lock);
    may = free_closer(uid) != NULL;
    g_mutex_unlock(&lock);
    return may;
}

void ksm_fd_reaper_close(int fd, uid_t uid)
{
    Closer *closer;

    if (fcntl(fd, F_GET_SEALS) >= 0) {
        close(fd);
        return;
    }
    g_mutex_lock(&lock);
    closer = free_closer(uid);
    g_assert(closer != NULL); /* ksm_fd_reaper_may_take() */
    closer->uid = uid;
    closer->fd = fd;
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
}
