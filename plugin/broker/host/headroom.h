/* SPDX-License-Identifier: GPL-2.0-or-later */
/* headroom.h: whether memory is left below the limits of the broker. */
#ifndef KSM_HEADROOM_H
#define KSM_HEADROOM_H

#include <glib.h>

/**
 * Whether enough memory is left below RLIMIT_AS, RLIMIT_DATA and the control
 * group's limit for the small allocations that must not fail.  Call it before
 * each large allocation, and before each one that a client can repeat.  Takes
 * 2 us plus ksm_cgroup_room_bytes().
 */
gboolean ksm_headroom_left(void);

/**
 * The same for many small allocations of @bytes each, at most 1 MiB.  It only
 * checks once for each MiB; after a failure, at most a thousand times a second.
 */
gboolean ksm_headroom_take(guint64 bytes);

/**
 * The name of a limit that does not leave that memory, plus @file_bytes for
 * files in memory; NULL: enough is left.
 */
const char *ksm_headroom_lack(guint64 file_bytes);

/** Bytes left for files in memory, which only the control group limits. */
guint64 ksm_headroom_file_bytes(void);

/** Like ksm_headroom_left(); sets KSM_ERROR_LIMIT, which mentions @what. */
gboolean ksm_headroom_check(const char *what, GError **errp);

#endif /* KSM_HEADROOM_H */
