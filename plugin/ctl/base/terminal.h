/* SPDX-License-Identifier: GPL-2.0-or-later */
/* terminal.h: what the standard output can show. */
#ifndef KSM_CTL_TERMINAL_H
#define KSM_CTL_TERMINAL_H

#include <glib.h>

/** Characters a line: the terminal's, else COLUMNS, else 80. */
guint ksm_terminal_columns(void);

/** Whether the locale has more than ASCII. */
gboolean ksm_terminal_is_utf8(void);

/**
 * Whether to print colours: @when is "always", "never", or "auto" (also NULL):
 * on a terminal that is not dumb, unless NO_COLOR is set.  FALSE and an error
 * for other words.
 */
gboolean ksm_terminal_colours(const char *when, gboolean *coloured,
                              GError **errp);

#endif /* KSM_CTL_TERMINAL_H */
