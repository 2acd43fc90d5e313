/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fd-reaper.h: gets rid of descriptors that clients sent. */
#ifndef KSM_FD_REAPER_H
#define KSM_FD_REAPER_H

#include <glib.h>
#include <sys/types.h>

#define KSM_STRAY_THREADS 4

/** Starts the threads; without them no descriptor may be taken. */
gboolean ksm_fd_reaper_start(GError **errp);

/** Whether a descriptor may be taken from that user at present. */
gboolean ksm_fd_reaper_may_take(uid_t uid);

/** Closes a descriptor that was taken from that user; never blocks. */
void ksm_fd_reaper_close(int fd, uid_t uid);

#endif /* KSM_FD_REAPER_H */
