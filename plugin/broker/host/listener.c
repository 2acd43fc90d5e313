/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listener.c: the broker's listening sockets, and the lock file beside them.
 *
 * The process that holds the lock on SOCKET.lock owns the path SOCKET: only
 * then is an existing socket known to be stale, and replaced.  So of two
 * brokers started at the same moment one serves and the other exits.  The lock
 * file stays when the broker exits, because removing it would open a race; the
 * kernel drops the lock with the process.  grace.c keeps its mark in that
 * file.  With a socket from the service manager, which owns the path, the file
 * is in the service's own directory in /run instead, if it has one.
 */
#include "host/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"

#define ACTIVATION_FD 3
#define BACKLOG 128

static KsmListenResult fail(GError **errp, const char *what, const char *path)
{
    g_set_error(errp, KSM_ERROR, KSM_ERROR_FAILED, "%s %s: %s", what, path,
                g_strerror(errno));
    return KSM_LISTEN_FAILED;
}

guint ksm_listener_passed(void)
{
    const char *pid = g_getenv("LISTEN_PID");
    const char *fds = g_getenv("LISTEN_FDS");

    if (pid == NULL || fds == NULL ||
        g_ascii_strtoll(pid, NULL, 10) != getpid()) {
        return 0;
    }
    return (guint)CLAMP(g_ascii_strtoll(fds, NULL, 10), 0, 1000);
}

static gboolean option_is(int fd, int option, int wanted)
{
    int value = -1;
    socklen_t length = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 &&
           value == wanted;
}

static gboolean is_listening(int fd, int type)
{
    return option_is(fd, SO_DOMAIN, AF_UNIX) && option_is(fd, SO_TYPE, type) &&
           option_is(fd, SO_ACCEPTCONN, 1);
}

/* RuntimeDirectory= of the unit; -1: none. */
static int open_mark(void)
{
    const char *dir = g_getenv("RUNTIME_DIRECTORY");
    g_autofree char *path = NULL;

    if (dir == NULL || dir[0] != '/') {
        return -1;
    }
    path = g_build_filename(dir, "sessions.lock", NULL);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

KsmListenResult ksm_listener_take(KsmListener *listener, KsmListener *control,
                                  GError **errp)
{
    int end = ACTIVATION_FD + (int)ksm_listener_passed(), fd;

    *listener = *control = (KsmListener) { -1, -1, NULL };
    for (fd = ACTIVATION_FD; fd < end; fd++) {
        KsmListener *one = is_listening(fd, SOCK_SEQPACKET) ? listener :
                           is_listening(fd, SOCK_STREAM)    ? control :
                                                              NULL;

        if (one == NULL || one->fd >= 0) {
            g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                        "descriptor %d from the service manager is not a "
                        "listening UNIX socket, or the second of its type: "
                        "pass one for sessions (ListenSequentialPacket=) and "
                        "at most one for control (ListenStream=)",
                        fd);
            return KSM_LISTEN_FAILED;
        }
        one->fd = fd;
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
            fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
            return fail(errp, "setting up", "a socket passed");
        }
    }
    if (listener->fd < 0) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "the service manager passed no socket for sessions "
                    "(ListenSequentialPacket=)");
        return KSM_LISTEN_FAILED;
    }
    listener->lock_fd = open_mark();
    g_unsetenv("LISTEN_PID");
    g_unsetenv("LISTEN_FDS");
    return KSM_LISTEN_OK;
}

char *ksm_listener_default_path(GError **errp)
{
    const char *runtime = geteuid() == 0 ? "/run" : g_getenv("XDG_RUNTIME_DIR");
    g_autofree char *dir = NULL;

    if (runtime == NULL || runtime[0] != '/') {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_INVALID,
                    "XDG_RUNTIME_DIR is not set: give a path with --listen");
        return NULL;
    }
    dir = g_build_filename(runtime, "guest-ksm", NULL);
    if (g_mkdir_with_parents(dir, geteuid() == 0 ? 0755 : 0700) != 0) {
        fail(errp, "making directory", dir);
        return NULL;
    }
    return g_build_filename(dir, "broker.sock", NULL);
}

static KsmListenResult take_lock(KsmListener *listener, GError **errp)
{
    g_autofree char *path = g_strconcat(listener->path, ".lock", NULL);

    listener->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                             0600);
    if (listener->lock_fd < 0) {
        return fail(errp, "opening", path);
    }
    if (flock(listener->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        return KSM_LISTEN_OK;
    }
    return errno == EWOULDBLOCK ? KSM_LISTEN_BUSY : fail(errp, "locking", path);
}

/* Removes the socket of an earlier broker, but nothing else. */
static KsmListenResult remove_stale(const char *path, GError **errp)
{
    struct stat status;

    if (lstat(path, &status) != 0) {
        return errno == ENOENT ? KSM_LISTEN_OK : fail(errp, "looking at", path);
    }
    if (!S_ISSOCK(status.st_mode)) {
        errno = EEXIST;
        return fail(errp, "no socket lies at", path);
    }
    return unlink(path) == 0 ? KSM_LISTEN_OK : fail(errp, "removing", path);
}

static KsmListenResult bind_socket(KsmListener *listener, int type, mode_t mode,
                                   gid_t group, GError **errp)
{
    const char *path = listener->path;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    mode_t before;
    int bound;

    strcpy(address.sun_path, path);
    listener->fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0) {
        return fail(errp, "making a socket for", path);
    }
    before = umask(0177);
    bound = bind(listener->fd, (struct sockaddr *)&address, sizeof(address));
    umask(before);
    if (bound != 0) {
        return fail(errp, "binding", path);
    }
    if ((group != (gid_t)-1 && chown(path, (uid_t)-1, group) != 0) ||
        chmod(path, mode) != 0) {
        return fail(errp, "setting group and mode of", path);
    }
    return listen(listener->fd, BACKLOG) == 0 ?
               KSM_LISTEN_OK :
               fail(errp, "listening on", path);
}

KsmListenResult ksm_listener_open(KsmListener *listener, const char *path,
                                  int type, mode_t mode, gid_t group,
                                  GError **errp)
{
    struct sockaddr_un address;
    KsmListenResult result;

    *listener = (KsmListener) { -1, -1, g_strdup(path) };
    if (strlen(listener->path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return fail(errp,
                    "a socket path has at most 107 bytes:", listener->path);
    }
    result = take_lock(listener, errp);
    if (result == KSM_LISTEN_OK) {
        result = remove_stale(listener->path, errp);
    }
    if (result == KSM_LISTEN_OK) {
        result = bind_socket(listener, type, mode, group, errp);
    }
    return result;
}

void ksm_listener_unlink(KsmListener *listener)
{
    if (listener->path != NULL) {
        unlink(listener->path);
    }
}

void ksm_listener_close(KsmListener *listener)
{
    if (listener->fd >= 0) {
        close(listener->fd);
    }
    if (listener->lock_fd >= 0) {
        close(listener->lock_fd);
    }
    g_free(listener->path);
    *listener = (KsmListener) { -1, -1, NULL };
}
