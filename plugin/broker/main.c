/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c: guest-ksmd, the broker: start, signals, end. */
#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker.h"
#include "listener.h"
#include "options.h"

/* Static, so that a leak checker sees that it is still in use at the end. */
static KsmBroker *broker;

/* What the parent left open is none of our business. */
static void close_inherited(guint first)
{
    syscall(SYS_close_range, first, G_MAXUINT, 0);
}

/* A socket for each session, a pidfd for each process, a store for each
 * group, and as many again while they come and go. */
static void raise_descriptor_limit(guint max_sessions)
{
    struct rlimit limit;
    rlim_t wanted = 4 * (rlim_t)max_sessions + 64;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return;
    }
    limit.rlim_max = MAX(limit.rlim_max, wanted);
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
        return;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    ksm_log(KSM_LOG_WARNING, "only %llu of %llu open files allowed",
            (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

static void on_idle(gpointer loop)
{
    g_main_loop_quit(loop);
}

static gboolean on_terminate(gpointer loop)
{
    ksm_log(KSM_LOG_INFO, "ends on a signal");
    g_main_loop_quit(loop);
    return G_SOURCE_CONTINUE;
}

static gboolean on_status(gpointer unused)
{
    (void)unused;
    ksm_broker_log_status(broker);
    return G_SOURCE_CONTINUE;
}

static void serve(const KsmDaemonOptions *options, KsmListener *listener)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);

    g_unix_signal_add(SIGTERM, on_terminate, loop);
    g_unix_signal_add(SIGINT, on_terminate, loop);
    g_unix_signal_add(SIGUSR1, on_status, NULL);
    broker = ksm_broker_new(&options->limits, listener->fd,
                            options->idle_exit_seconds, on_idle, loop);
    ksm_log(KSM_LOG_INFO, "listens on %s",
            listener->path != NULL ? listener->path : "the socket passed");
    g_main_loop_run(loop);
    ksm_listener_unlink(listener);
}

int main(int argc, char **argv)
{
    gboolean activated = ksm_listener_was_activated();
    g_autoptr(GError) error = NULL;
    KsmDaemonOptions options;
    KsmListener listener;
    KsmListenResult result;

    close_inherited(activated ? 4 : 3);
    if (!ksm_options_parse(&options, &argc, &argv, &error)) {
        fprintf(stderr, "guest-ksmd: error: %s\n", error->message);
        return 2;
    }
    if (options.show_version) {
        printf("guest-ksmd " KSM_VERSION "\n");
        return 0;
    }
    raise_descriptor_limit(options.limits.max_sessions);
    result = activated
        ? ksm_listener_take(&listener, &error)
        : ksm_listener_open(&listener, options.listen, options.socket_mode,
                            options.socket_group, &error);
    if (result == KSM_LISTEN_BUSY) {
        ksm_log(KSM_LOG_INFO, "another broker listens on %s: nothing to do",
                listener.path);
    } else if (result == KSM_LISTEN_FAILED) {
        ksm_log(KSM_LOG_ERROR, "%s", error->message);
    } else {
        serve(&options, &listener);
    }
    g_free(options.listen);
    g_free(listener.path);
    return result == KSM_LISTEN_FAILED ? 1 : 0;
}
