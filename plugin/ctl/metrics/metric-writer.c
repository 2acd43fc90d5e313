/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metric-writer.c: writes OpenMetrics text, version 1.0.0. */
#include "metrics/metric-writer.h"

#include <math.h>

#define EXACT_MAX 9007199254740992.0 /* 2^53 */

void ksm_metrics_family(KsmMetrics *self, const char *name, const char *type,
                        const char *unit, const char *help)
{
    self->family = name;
    g_string_append_printf(self->text, "# TYPE %s %s\n", name, type);
    if (unit != NULL) {
        g_string_append_printf(self->text, "# UNIT %s %s\n", name, unit);
    }
    g_string_append_printf(self->text, "# HELP %s %s\n", name, help);
}

static void add_value(GString *text, double value)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    if (value == floor(value) && fabs(value) < EXACT_MAX) {
        g_string_append_printf(text, "%" G_GINT64_FORMAT, (gint64)value);
    } else {
        g_string_append(text, g_ascii_formatd(number, sizeof(number), "%.12g",
                                              value));
    }
}

void ksm_metrics_sample(KsmMetrics *self, const char *suffix,
                        const char *labels, double value)
{
    g_string_append_printf(self->text, "%s%s", self->family, suffix);
    if (labels != NULL && *labels != '\0') {
        g_string_append_printf(self->text, "{%s}", labels);
    }
    g_string_append_c(self->text, ' ');
    add_value(self->text, value);
    g_string_append_c(self->text, '\n');
}

void ksm_metrics_add_label(GString *labels, const char *name, const char *value)
{
    g_string_append_printf(labels, "%s%s=\"", labels->len > 0 ? "," : "", name);
    for (; value != NULL && *value != '\0'; value++) {
        if (*value == '\n') {
            g_string_append(labels, "\\n");
            continue;
        }
        if (*value == '"' || *value == '\\') {
            g_string_append_c(labels, '\\');
        }
        g_string_append_c(labels, *value);
    }
    g_string_append_c(labels, '"');
}

void ksm_metrics_add_number(GString *labels, const char *name, gint64 value)
{
    g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, value);

    ksm_metrics_add_label(labels, name, text);
}

void ksm_metrics_end(KsmMetrics *self)
{
    g_string_append(self->text, "# EOF\n");
    self->family = NULL;
}
