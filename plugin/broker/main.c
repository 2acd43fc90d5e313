/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c: guest-ksmd, the broker: startup, signals, exit. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/confine.h"
#include "control/control.h"
#include "host/headroom.h"
#include "host/listener.h"
#include "host/log.h"
#include "host/signals.h"
#include "host/fd-reaper.h"
#include "broker.h"
#include "error.h"
#include "hwpoison.h"
#include "options.h"

/* For its own sockets and a few sessions. */
#define MIN_DESCRIPTORS 32u

/* Static, so that a leak checker sees that it is still in use at exit. */
static KsmBroker *broker;

/*
 * Blocks of this size get mappings of their own, so their memory is released to
 * the host when they are freed, wherever they are: result rings are often
 * freed.  By default the C library raises this threshold to the largest block
 * freed.  Also prevents arenas (64 MiB of address space each) for threads that
 * allocate nothing.
 */
static void tune_malloc(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
#endif
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}

/* Closes descriptors that the parent left open. */
static void close_inherited(guint first)
{
    syscall(SYS_close_range, first, G_MAXUINT, 0);
}

/* A socket for each connection, a pidfd for each process, a store for each
 * group: 2, 4 and 1 for each possible session (broker.c), and some spare ones
 * while connections open and close. */
static gboolean raise_descriptor_limit(guint max_sessions, GError **errp)
{
    struct rlimit limit;
    rlim_t wanted = 8 * (rlim_t)max_sessions + 64;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return TRUE;
    }
    limit.rlim_max = MAX(limit.rlim_max, wanted);
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
        return TRUE;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < MIN_DESCRIPTORS) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "%llu open files are allowed (RLIMIT_NOFILE), the minimum "
                    "is %u",
                    (unsigned long long)limit.rlim_cur, MIN_DESCRIPTORS);
        return FALSE;
    }
    ksm_log(KSM_LOG_WARNING, "only %llu of %llu open files allowed",
            (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
    return TRUE;
}

static void on_idle(gpointer loop)
{
    g_main_loop_quit(loop);
}

static void on_signal(int signal, gpointer loop)
{
    if (signal == SIGUSR1) {
        ksm_broker_log_status(broker);
        return;
    }
    ksm_log(KSM_LOG_INFO, "exiting on a signal");
    g_main_loop_quit(loop);
}

/* The control socket's path; by default beside the session socket. */
static char *control_path(const KsmDaemonOptions *options,
                          const KsmListener *listener)
{
    g_autofree char *dir = NULL;

    if (options->control != NULL) {
        return g_strcmp0(options->control, "none") == 0 ?
                   NULL :
                   g_strdup(options->control);
    }
    if (listener->path == NULL) {
        return NULL;
    }
    dir = g_path_get_dirname(listener->path);
    return g_build_filename(dir, "control.sock", NULL);
}

/*
 * Opens the control socket.  A broker works without one, so a failure is only
 * an error if the socket was given with --control.
 */
static gboolean open_control(const KsmDaemonOptions *options,
                             const KsmListener *listener, KsmListener *control,
                             GError **errp)
{
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    gboolean grouped = options->control_group != (gid_t)-1;
    KsmListenResult result;

    if (control->fd >= 0) {
        return TRUE; /* passed by the service manager */
    }
    path = control_path(options, listener);
    if (path == NULL) {
        return TRUE;
    }
    result = ksm_listener_open(control, path, SOCK_STREAM,
                               grouped ? 0660 : 0600, options->control_group,
                               &error);
    if (result == KSM_LISTEN_OK) {
        return TRUE;
    }
    if (result == KSM_LISTEN_BUSY) {
        g_set_error(&error, KSM_ERROR, KSM_ERROR_FAILED,
                    "another broker listens on %s", path);
    }
    ksm_listener_close(control);
    if (options->control != NULL) {
        g_propagate_error(errp, g_steal_pointer(&error));
        return FALSE;
    }
    ksm_log(KSM_LOG_WARNING, "no control socket: %s", error->message);
    return TRUE;
}

/* The last step before the first client is served. */
static gboolean confine(const KsmDaemonOptions *options,
                        const KsmListener *listener, const KsmListener *control,
                        GError **errp)
{
    const KsmConfinement confinement = {
        .switch_user = options->switch_user,
        .uid = options->uid,
        .gid = options->gid,
        .sockets = { listener->path, control->path },
        .start_threads = ksm_fd_reaper_start,
    };

    return ksm_confine(&confinement, errp);
}

static gboolean serve(const KsmDaemonOptions *options, KsmListener *listener,
                      KsmListener *control, GError **errp)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    gboolean ok;

    if (!ksm_headroom_check("the start", errp)) {
        return FALSE;
    }
    broker = ksm_broker_new(&options->limits, listener->fd, listener->lock_fd,
                            options->idle_exit_seconds, on_idle, loop);
    if (control->fd >= 0) {
        ksm_control_start(broker, control->fd, options->control_group);
    }
    ok = ksm_signals_watch(on_signal, loop, errp) &&
         ksm_hwpoison_watch(broker, errp) &&
         confine(options, listener, control, errp);
    if (ok) {
        ksm_log(KSM_LOG_INFO, "listening on %s",
                listener->path != NULL ? listener->path : "the socket passed");
        g_main_loop_run(loop);
    }
    ksm_listener_unlink(control);
    ksm_listener_unlink(listener);
    return ok;
}

/* Opens both sockets, or takes those that were passed. */
static KsmListenResult listen_on(KsmDaemonOptions *options, gboolean activated,
                                 KsmListener *listener, KsmListener *control,
                                 GError **errp)
{
    KsmListenResult result;

    if (activated) {
        result = ksm_listener_take(listener, control, errp);
    } else {
        if (options->listen == NULL) {
            options->listen = ksm_listener_default_path(errp);
        }
        result = options->listen == NULL ?
                     KSM_LISTEN_FAILED :
                     ksm_listener_open(listener, options->listen,
                                       SOCK_SEQPACKET, options->socket_mode,
                                       options->socket_group, errp);
    }
    if (result == KSM_LISTEN_OK &&
        !open_control(options, listener, control, errp)) {
        ksm_listener_unlink(listener);
        return KSM_LISTEN_FAILED;
    }
    return result;
}

int main(int argc, char **argv)
{
    guint passed = ksm_listener_passed();
    g_autoptr(GError) error = NULL;
    KsmDaemonOptions options;
    KsmListener listener = { -1, -1, NULL }, control = { -1, -1, NULL };
    KsmListenResult result = KSM_LISTEN_FAILED;

    tune_malloc();
    close_inherited(3 + passed);
    if (!ksm_options_parse(&options, &argc, &argv, &error)) {
        fprintf(stderr, "guest-ksmd: error: %s\n", error->message);
        return 2;
    }
    if (options.show_version) {
        printf("guest-ksmd " KSM_VERSION "\n");
        return 0;
    }
    if (raise_descriptor_limit(options.limits.max_sessions, &error)) {
        /* From the moment a socket exists, a signal must remove it again. */
        ksm_signals_hold();
        result = listen_on(&options, passed > 0, &listener, &control, &error);
    }
    if (result == KSM_LISTEN_BUSY) {
        ksm_log(KSM_LOG_INFO, "another broker listens on %s: nothing to do",
                listener.path);
    } else if (result == KSM_LISTEN_OK &&
               !serve(&options, &listener, &control, &error)) {
        result = KSM_LISTEN_FAILED;
    }
    if (result == KSM_LISTEN_FAILED) {
        ksm_log(KSM_LOG_ERROR, "%s", error->message);
    }
    g_free(options.listen);
    g_free(options.control);
    g_free(listener.path);
    g_free(control.path);
    return result == KSM_LISTEN_FAILED ? 1 : 0;
}
