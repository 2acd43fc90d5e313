/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fd-watch.h: what is waited for on a descriptor. */
#ifndef KSM_FD_WATCH_H
#define KSM_FD_WATCH_H

#include <glib-unix.h>

/** Lies in what it is about; all zero: nothing is waited for. */
typedef struct KsmFdWatch {
    GUnixFDSourceFunc function; /* NULL: nothing is */
    gpointer opaque;
    int fd;
    GIOCondition condition;
} KsmFdWatch;

/**
 * Calls @function in the main loop when @condition holds on @fd, instead of
 * what was waited for before, until it returns FALSE.  A watch for nothing
 * still tells of the peer's end.  FALSE, with errno: the kernel has no room for
 * another descriptor; a watch that is set can always be set to something else.
 */
gboolean ksm_fd_watch_set(KsmFdWatch *watch, int fd, GIOCondition condition,
                       GUnixFDSourceFunc function, gpointer opaque);

/** To be called before the descriptor is closed, or @watch freed. */
void ksm_fd_watch_clear(KsmFdWatch *watch);

gboolean ksm_fd_watch_is_set(const KsmFdWatch *watch);

#endif /* KSM_FD_WATCH_H */
