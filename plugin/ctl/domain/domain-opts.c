/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-opts.c: an argument of QEMU's like "type,key=value,...". */
#include "domain/domain-opts.h"

#include <string.h>

KsmOpts *ksm_opts_parse(const char *text)
{
    KsmOpts *opts = g_ptr_array_new_with_free_func(g_free);
    GString *part = g_string_new(NULL);

    for (; *text != '\0'; text++) {
        if (text[0] == ',' && text[1] != ',') {
            g_ptr_array_add(opts, g_strdup(part->str));
            g_string_truncate(part, 0);
        } else {
            text += text[0] == ',';
            g_string_append_c(part, *text);
        }
    }
    g_ptr_array_add(opts, g_string_free(part, FALSE));
    return opts;
}

char *ksm_opts_format(const KsmOpts *opts)
{
    GString *text = g_string_new(NULL);
    guint i;

    for (i = 0; i < opts->len; i++) {
        const char *at = g_ptr_array_index(opts, i);

        if (i > 0) {
            g_string_append_c(text, ',');
        }
        for (; *at != '\0'; at++) {
            g_string_append(text, *at == ',' ? "," : "");
            g_string_append_c(text, *at);
        }
    }
    return g_string_free(text, FALSE);
}

/* Where the part with that key is; opts->len when nowhere. */
static guint find(const KsmOpts *opts, const char *key)
{
    gsize length = strlen(key);
    guint i;

    for (i = 0; i < opts->len; i++) {
        const char *part = g_ptr_array_index(opts, i);

        if (strncmp(part, key, length) == 0 && part[length] == '=') {
            break;
        }
    }
    return i;
}

const char *ksm_opts_get(const KsmOpts *opts, const char *key)
{
    guint i = find(opts, key);

    return i < opts->len ?
               (const char *)g_ptr_array_index(opts, i) + strlen(key) + 1 :
               NULL;
}

void ksm_opts_set(KsmOpts *opts, const char *key, const char *value)
{
    guint i = find(opts, key);
    char *part = g_strdup_printf("%s=%s", key, value);

    if (i < opts->len) {
        g_free(g_ptr_array_index(opts, i));
        g_ptr_array_index(opts, i) = part;
    } else {
        g_ptr_array_add(opts, part);
    }
}

void ksm_opts_remove(KsmOpts *opts, const char *key)
{
    guint i = find(opts, key);

    if (i < opts->len) {
        g_ptr_array_remove_index(opts, i);
    }
}
