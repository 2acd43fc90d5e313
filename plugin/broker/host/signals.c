/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signals.c: signals as main loop events, without an extra thread.
 *
 * GLib's own signal watch starts a thread, which would have to be allowed and
 * confined as well.
 */
#include "host/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "error.h"
#include "host/fd-watch.h"

static struct {
    KsmFdWatch watch;
    void (*handle)(int signal, gpointer opaque);
    gpointer opaque;
} signals;

static gboolean signals_on_event(gint fd, GIOCondition condition, gpointer data)
{
    struct signalfd_siginfo info;

    (void)condition;
    (void)data;
    while (read(fd, &info, sizeof(info)) == sizeof(info)) {
        signals.handle((int)info.ssi_signo, signals.opaque);
    }
    return G_SOURCE_CONTINUE;
}

static void signals_make_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR1);
}

void ksm_signals_hold(void)
{
    sigset_t set;

    signals_make_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

gboolean ksm_signals_watch(void (*handle)(int signal, gpointer opaque),
                           gpointer opaque, GError **errp)
{
    sigset_t set;
    int fd = -1;

    signals_make_set(&set);
    signals.handle = handle;
    signals.opaque = opaque;
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0 || !ksm_fd_watch_set(&signals.watch, fd, G_IO_IN,
                                    signals_on_event, NULL)) {
        return ksm_error_set_failed(errp, "watching for signals");
    }
    return TRUE;
}
