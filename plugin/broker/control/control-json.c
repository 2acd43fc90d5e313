/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control-json.c: writes JSON into a string, without a tree of values. */
#include "control/control-json.h"

static void begin(KsmJson *self, const char *name)
{
    if (self->comma) {
        g_string_append_c(self->text, ',');
    }
    self->comma = TRUE;
    if (name != NULL) {
        g_string_append_c(self->text, '"');
        g_string_append(self->text, name);
        g_string_append(self->text, "\":");
    }
}

void ksm_json_open(KsmJson *self, const char *name, char bracket)
{
    begin(self, name);
    g_string_append_c(self->text, bracket);
    self->comma = FALSE;
}

void ksm_json_close(KsmJson *self, char bracket)
{
    g_string_append_c(self->text, bracket);
    self->comma = TRUE;
}

void ksm_json_uint(KsmJson *self, const char *name, guint64 value)
{
    begin(self, name);
    g_string_append_printf(self->text, "%" G_GUINT64_FORMAT, value);
}

void ksm_json_int(KsmJson *self, const char *name, gint64 value)
{
    begin(self, name);
    g_string_append_printf(self->text, "%" G_GINT64_FORMAT, value);
}

void ksm_json_bool(KsmJson *self, const char *name, gboolean value)
{
    begin(self, name);
    g_string_append(self->text, value ? "true" : "false");
}

void ksm_json_centi(KsmJson *self, const char *name, guint64 value)
{
    begin(self, name);
    g_string_append_printf(self->text, "%" G_GUINT64_FORMAT ".%02u",
                           value / 100, (guint)(value % 100));
}

void ksm_json_string(KsmJson *self, const char *name, const char *value)
{
    begin(self, name);
    if (value == NULL) {
        g_string_append(self->text, "null");
        return;
    }
    g_string_append_c(self->text, '"');
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\') {
            g_string_append_c(self->text, '\\');
        }
        g_string_append_c(self->text, g_ascii_isprint(*value) ? *value : '?');
    }
    g_string_append_c(self->text, '"');
}
