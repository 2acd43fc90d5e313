/* SPDX-License-Identifier: GPL-2.0-or-later */
/* listener.h: the socket the broker listens on, and the lock beside it. */
#ifndef KSM_LISTENER_H
#define KSM_LISTENER_H

#include <glib.h>
#include <sys/types.h>

typedef struct KsmListener {
    int fd;
    int lock_fd;                /* -1 with socket activation */
    char *path;                 /* NULL with socket activation */
} KsmListener;

typedef enum KsmListenResult {
    KSM_LISTEN_OK,
    KSM_LISTEN_BUSY,            /* another broker has the socket */
    KSM_LISTEN_FAILED,
} KsmListenResult;

/** Descriptors that the service manager passed; at most one is used. */
gboolean ksm_listener_was_activated(void);

/** Takes the socket from the service manager. */
KsmListenResult ksm_listener_take(KsmListener *listener, GError **errp);

/**
 * Makes a socket at @path (NULL: the default one, with its directory) with
 * that mode; group (gid_t)-1: leave it.
 */
KsmListenResult ksm_listener_open(KsmListener *listener, const char *path,
                                  mode_t mode, gid_t group, GError **errp);

/** Takes the socket's name away; connections stay. */
void ksm_listener_unlink(KsmListener *listener);

#endif /* KSM_LISTENER_H */
