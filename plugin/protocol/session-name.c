/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* session-name.c: names of VMs and memory backends, fit for the wire. */
#include "session-name.h"

#include <string.h>

#define CUT "..."

/*
 * Counts characters, whatever their size; an invalid UTF-8 byte counts as one.
 */
char *ksm_session_name_part(const char *name, gsize most)
{
    GString *part = g_string_new(NULL);

    while (*name != '\0') {
        gunichar c = g_utf8_get_char_validated(name, -1);
        gboolean valid = c != (gunichar)-1 && c != (gunichar)-2;

        g_string_append_c(part, valid && c < 0x80 && g_ascii_isprint((char)c) ?
                                    (char)c :
                                    '?');
        name = valid ? g_utf8_next_char(name) : name + 1;
    }
    if (part->len > most) {
        g_string_truncate(part, most - strlen(CUT));
        g_string_append(part, CUT);
    }
    return g_string_free(part, FALSE);
}

char *ksm_session_name(const char *name, gsize vm_most, gsize backend_most)
{
    const char *slash = strrchr(name, '/');
    g_autofree char *vm = NULL, *first = NULL, *backend = NULL;

    if (slash == NULL || slash == name) {
        return ksm_session_name_part(name, vm_most);
    }
    first = g_strndup(name, (gsize)(slash - name));
    vm = ksm_session_name_part(first, vm_most);
    backend = ksm_session_name_part(slash + 1, backend_most);
    return g_strconcat(vm, "/", backend, NULL);
}
