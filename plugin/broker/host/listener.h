/* SPDX-License-Identifier: GPL-2.0-or-later */
/* listener.h: the socket the broker listens on, and the lock beside it. */
#ifndef KSM_LISTENER_H
#define KSM_LISTENER_H

#include <glib.h>
#include <sys/types.h>

typedef struct KsmListener {
    int fd;
    int lock_fd;                /* with socket activation the mark's, or -1 */
    char *path;                 /* NULL with socket activation */
} KsmListener;

typedef enum KsmListenResult {
    KSM_LISTEN_OK,
    KSM_LISTEN_BUSY,            /* another broker has the socket */
    KSM_LISTEN_FAILED,
} KsmListenResult;

/** How many descriptors the service manager passed; they begin at 3. */
guint ksm_listener_passed(void);

/**
 * Takes the sockets from the service manager: one for sessions, of sequential
 * packets, and maybe one for control, a stream (else control->fd is -1).
 * They are told apart by their types, in whichever order they come.
 */
KsmListenResult ksm_listener_take(KsmListener *listener, KsmListener *control,
                                  GError **errp);

/** The default path for sessions, in a directory that is made if missing. */
char *ksm_listener_default_path(GError **errp);

/**
 * Makes a socket of @type (SOCK_*) at @path with that mode; group (gid_t)-1:
 * leave it.
 */
KsmListenResult ksm_listener_open(KsmListener *listener, const char *path,
                                  int type, mode_t mode, gid_t group,
                                  GError **errp);

/** Gives up a socket that was not opened whole. */
void ksm_listener_close(KsmListener *listener);

/** Takes the socket's name away; connections stay. */
void ksm_listener_unlink(KsmListener *listener);

#endif /* KSM_LISTENER_H */
