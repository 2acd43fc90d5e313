/* SPDX-License-Identifier: GPL-2.0-or-later */
/* line-diff.h: two texts compared line by line. */
#ifndef KSM_CTL_LINE_DIFF_H
#define KSM_CTL_LINE_DIFF_H

#include <glib.h>

/**
 * A unified diff with three lines around each change, without its two lines
 * of names; "" when they are equal.  Free with g_free().
 */
char *ksm_line_diff(const char *before, const char *after);

#endif /* KSM_CTL_LINE_DIFF_H */
