/* SPDX-License-Identifier: GPL-2.0-or-later */
/* headroom.h: whether there is room below the limits on the broker's memory. */
#ifndef KSM_HEADROOM_H
#define KSM_HEADROOM_H

#include <glib.h>

/**
 * Whether enough is left below RLIMIT_AS and RLIMIT_DATA that whatever is small
 * and cannot fail goes on to be had.  Asked before each thing that is not, or
 * that a client can have more of.  2 us.
 */
gboolean ksm_headroom_left(void);

/** The same as an error, KSM_ERROR_LIMIT, that says what there is none for. */
gboolean ksm_headroom_check(const char *what, GError **errp);

#endif /* KSM_HEADROOM_H */
