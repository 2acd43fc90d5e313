/* SPDX-License-Identifier: GPL-2.0-or-later */
/* terminal.c: what the standard output can show. */
#include "base/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/command.h"

#define COLUMNS_OTHERWISE 80
#define COLUMNS_MAX 10000

guint ksm_terminal_columns(void)
{
    const char *text = g_getenv("COLUMNS");
    struct winsize size = { 0 };
    guint64 columns = 0;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    if (text != NULL &&
        g_ascii_string_to_unsigned(text, 10, 1, COLUMNS_MAX, &columns, NULL)) {
        return (guint)columns;
    }
    return COLUMNS_OTHERWISE;
}

gboolean ksm_terminal_is_utf8(void)
{
    return g_get_charset(NULL);
}

gboolean ksm_terminal_colours(const char *when, gboolean *coloured,
                              GError **errp)
{
    const char *none = g_getenv("NO_COLOR");

    if (when == NULL || g_str_equal(when, "auto")) {
        const char *term = g_getenv("TERM");

        *coloured = isatty(STDOUT_FILENO) && (none == NULL || !*none) &&
                    term != NULL && !g_str_equal(term, "dumb");
        return TRUE;
    }
    *coloured = g_str_equal(when, "always");
    if (!*coloured && !g_str_equal(when, "never")) {
        return ksm_command_usage(errp,
                                 "--color %s: use always, never or "
                                 "auto",
                                 when);
    }
    return TRUE;
}
