/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fd-watch.h: waits for events on descriptors in the main loop. */
#ifndef KSM_FD_WATCH_H
#define KSM_FD_WATCH_H

#include <glib-unix.h>

/** Embedded in the object that owns the descriptor; all zero: not set. */
typedef struct KsmFdWatch {
    GUnixFDSourceFunc function; /* NULL: not set */
    gpointer opaque;
    int fd;
    GIOCondition condition;
} KsmFdWatch;

/**
 * Calls @function in the main loop whenever @condition holds on @fd, until it
 * returns FALSE.  Replaces the previous condition and function of @watch.  Even
 * if @condition is 0, @function is called when the peer closes.  FALSE with
 * errno set: the kernel cannot watch another descriptor.  Changing a watch that
 * is set cannot fail.
 */
gboolean ksm_fd_watch_set(KsmFdWatch *watch, int fd, GIOCondition condition,
                          GUnixFDSourceFunc function, gpointer opaque);

/** Must be called before the descriptor is closed or @watch is freed. */
void ksm_fd_watch_clear(KsmFdWatch *watch);

gboolean ksm_fd_watch_is_set(const KsmFdWatch *watch);

#endif /* KSM_FD_WATCH_H */
