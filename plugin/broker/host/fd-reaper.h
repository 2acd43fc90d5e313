/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fd-reaper.h: closes descriptors that clients sent, without blocking. */
#ifndef KSM_FD_REAPER_H
#define KSM_FD_REAPER_H

#include <glib.h>
#include <sys/types.h>

#define KSM_STRAY_THREADS 4

/** Starts the threads; must succeed before any descriptor is received. */
gboolean ksm_fd_reaper_start(GError **errp);

/** Whether a descriptor may be received from that user at present. */
gboolean ksm_fd_reaper_may_take(uid_t uid);

/** Closes a descriptor that was received from that user; never blocks. */
void ksm_fd_reaper_close(int fd, uid_t uid);

#endif /* KSM_FD_REAPER_H */
