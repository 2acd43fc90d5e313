/* SPDX-License-Identifier: GPL-2.0-or-later */
/* listener.h: the broker's listening sockets, and the lock file beside them. */
#ifndef KSM_LISTENER_H
#define KSM_LISTENER_H

#include <glib.h>
#include <sys/types.h>

typedef struct KsmListener {
    int fd;
    int lock_fd; /* the lock file; with socket activation the
                                   mark's file (grace.h), or -1 */
    char *path;  /* NULL with socket activation */
} KsmListener;

typedef enum KsmListenResult {
    KSM_LISTEN_OK,
    KSM_LISTEN_BUSY, /* another broker has the socket */
    KSM_LISTEN_FAILED,
} KsmListenResult;

/** Number of descriptors passed by the service manager, from 3 on. */
guint ksm_listener_passed(void);

/**
 * Takes the sockets passed by the service manager: one SOCK_SEQPACKET socket
 * for sessions, and optionally one SOCK_STREAM socket for control (otherwise
 * control->fd is -1), in any order.
 */
KsmListenResult ksm_listener_take(KsmListener *listener, KsmListener *control,
                                  GError **errp);

/** Default path of the session socket; creates its directory if missing. */
char *ksm_listener_default_path(GError **errp);

/**
 * Creates a socket of @type (SOCK_*) at @path with that mode and group;
 * (gid_t)-1: the default group.
 */
KsmListenResult ksm_listener_open(KsmListener *listener, const char *path,
                                  int type, mode_t mode, gid_t group,
                                  GError **errp);

/** Cleans up a socket after ksm_listener_open() failed halfway. */
void ksm_listener_close(KsmListener *listener);

/** Removes the socket's path; connections stay. */
void ksm_listener_unlink(KsmListener *listener);

#endif /* KSM_LISTENER_H */
