/* SPDX-License-Identifier: GPL-2.0-or-later */
/* headroom.h: whether there is room below the limits on the broker's memory. */
#ifndef KSM_HEADROOM_H
#define KSM_HEADROOM_H

#include <glib.h>

/**
 * Whether enough is left below RLIMIT_AS, RLIMIT_DATA and the limit of the control
 * group that whatever is small and cannot fail goes on to be had.  Asked before
 * each thing that is not, or that a client can have more of.  2 us, and what
 * ksm_cgroup_room_bytes() takes.
 */
gboolean ksm_headroom_left(void);

/**
 * The same for much that is small: @bytes, which are not more than 1 MiB.  It
 * asks once for each MiB, and when there was none a thousand times a second.
 */
gboolean ksm_headroom_take(guint64 bytes);

/** Which limit leaves less than that and so much for files; NULL: none. */
const char *ksm_headroom_lack(guint64 file_bytes);

/** What files in memory, which only the last of these is for, may take more. */
guint64 ksm_headroom_file_bytes(void);

/** The same as an error, KSM_ERROR_LIMIT, that says what there is none for. */
gboolean ksm_headroom_check(const char *what, GError **errp);

#endif /* KSM_HEADROOM_H */
