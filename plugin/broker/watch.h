/* SPDX-License-Identifier: GPL-2.0-or-later */
/* watch.h: what is waited for on a client's socket. */
#ifndef KSM_WATCH_H
#define KSM_WATCH_H

#include <glib-unix.h>

typedef struct KsmWatch {
    GSource *source;            /* NULL: nothing yet */
    GIOCondition condition;
} KsmWatch;

/**
 * Calls @function when @condition holds on @fd, instead of what it waited for
 * before.  A watch for nothing still tells of the peer's end.
 */
void ksm_watch_set(KsmWatch *watch, int fd, GIOCondition condition,
                   GUnixFDSourceFunc function, gpointer opaque);

void ksm_watch_clear(KsmWatch *watch);

#endif /* KSM_WATCH_H */
