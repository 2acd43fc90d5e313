/* SPDX-License-Identifier: GPL-2.0-or-later */
/* table.c: columns in a terminal. */
#include "base/table.h"

#include <string.h>

struct KsmTable {
    const char *const *headings;
    guint columns;
    GPtrArray *cells; /* char *, row by row */
};

KsmTable *ksm_table_new(const char *const *headings)
{
    KsmTable *self = g_new0(KsmTable, 1);

    self->headings = headings;
    self->columns = g_strv_length((char **)headings);
    self->cells = g_ptr_array_new_with_free_func(g_free);
    return self;
}

void ksm_table_free(KsmTable *self)
{
    g_ptr_array_unref(self->cells);
    g_free(self);
}

void ksm_table_take(KsmTable *self, char *text)
{
    g_ptr_array_add(self->cells, text);
}

void ksm_table_add(KsmTable *self, const char *text)
{
    ksm_table_take(self, g_strdup(text != NULL ? text : "-"));
}

static const char *heading(const KsmTable *self, guint column)
{
    const char *text = self->headings[column];

    return text[0] == '<' ? text + 1 : text;
}

static void widen(const KsmTable *self, gsize *widths)
{
    guint i;

    for (i = 0; i < self->columns; i++) {
        widths[i] = strlen(heading(self, i));
    }
    for (i = 0; i < self->cells->len; i++) {
        const char *cell = g_ptr_array_index(self->cells, i);
        gsize *width = &widths[i % self->columns];

        *width = MAX(*width, strlen(cell));
    }
}

static void add_cell(const KsmTable *self, GString *text, guint column,
                     gsize width, const char *cell)
{
    gboolean left = self->headings[column][0] == '<';
    gboolean last = column + 1 == self->columns;

    if (left && last) {
        g_string_append_printf(text, "%s\n", cell);
    } else {
        g_string_append_printf(text, left ? "%-*s%s" : "%*s%s", (int)width,
                               cell, last ? "\n" : "  ");
    }
}

char *ksm_table_format(const KsmTable *self)
{
    g_autofree gsize *widths = g_new0(gsize, self->columns);
    GString *text = g_string_new(NULL);
    guint i;

    widen(self, widths);
    for (i = 0; i < self->columns; i++) {
        add_cell(self, text, i, widths[i], heading(self, i));
    }
    for (i = 0; i < self->cells->len; i++) {
        guint column = i % self->columns;

        add_cell(self, text, column, widths[column],
                 g_ptr_array_index(self->cells, i));
    }
    return g_string_free(text, FALSE);
}
