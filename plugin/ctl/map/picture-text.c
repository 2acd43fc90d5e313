/* SPDX-License-Identifier: GPL-2.0-or-later */
/* picture-text.c: a VM's memory by state, as lines for a terminal. */
#include "base/client.h"
#include "base/units.h"
#include "map/page-picture.h"

#define LABEL_COLUMNS 12u /* "  1234 MiB  " */
#define MIN_COLUMNS 16u
#define MAX_ROWS 24u
#define RESET "\033[0m"

/* So many characters a line that lines begin at round addresses. */
static guint choose_width(guint columns)
{
    guint width = MIN_COLUMNS;

    while (width * 2 + LABEL_COLUMNS <= columns) {
        width *= 2;
    }
    return width;
}

static void add_colour(GString *text, const KsmPageKind *kind)
{
    g_string_append_printf(text, "\033[%dm",
                           kind->colour < 8 ? 30 + kind->colour :
                                              90 + kind->colour - 8);
}

/* One character, @last being the kind of the one before it. */
static void add_cell(GString *text, const KsmPageKind *kind,
                     const KsmPageKind *last, gboolean coloured,
                     gboolean blocks)
{
    if (coloured && kind != last) {
        add_colour(text, kind);
    }
    if (coloured && blocks && kind->letter != ' ') {
        g_string_append(text, "\u2588");
    } else {
        g_string_append_c(text, kind->letter);
    }
}

static void add_row(const KsmPicture *self, GString *text, guint first,
                    guint width, guint cells_each, gboolean coloured,
                    gboolean blocks)
{
    g_autofree char *offset =
        ksm_units_mib_of_pages((gint64)first * self->pages_per_cell);
    const KsmPageKind *last = NULL;
    guint i;

    g_string_append_printf(text, "%*s  ", (int)LABEL_COLUMNS - 2, offset);
    for (i = 0; i < width && first + i * cells_each < self->count; i++) {
        const KsmPageKind *kind =
            &ksm_page_kinds[ksm_picture_kind(self, first + i * cells_each,
                                             cells_each, NULL)];

        add_cell(text, kind, last, coloured, blocks);
        last = kind;
    }
    g_string_append_printf(text, "%s\n", coloured ? RESET : "");
}

static void add_legend(const KsmPicture *self, GString *text, gboolean coloured,
                       gboolean blocks)
{
    guint i;

    for (i = 0; i < KSM_KIND_NO_MEMORY; i++) {
        const KsmPageKind *kind = &ksm_page_kinds[i];
        g_autofree char *mib =
            ksm_units_mib_of_pages(ksm_reply_int(self->session, kind->field));

        g_string_append_printf(text, "%*s", (int)LABEL_COLUMNS, "");
        add_cell(text, kind, NULL, coloured, blocks);
        g_string_append_printf(text, "%s %-10s %10s MiB\n",
                               coloured ? RESET : "", kind->name, mib);
    }
}

void ksm_picture_add_text(const KsmPicture *self, GString *text, guint columns,
                          gboolean coloured, gboolean blocks)
{
    guint width = choose_width(columns);
    guint cells_each = 1;
    g_autofree char *all = ksm_units_mib_of_pages(self->pages);
    g_autofree char *each = NULL;
    guint first;

    while (self->count > (guint64)width * MAX_ROWS * cells_each) {
        cells_each *= 2;
    }
    each = ksm_picture_size(self->pages_per_cell * cells_each);
    g_string_append_printf(text,
                           "%s: %s MiB of guest memory, %s a character,"
                           " by what most of it is\n",
                           self->name, all, each);
    for (first = 0; first < self->count; first += width * cells_each) {
        add_row(self, text, first, width, cells_each, coloured, blocks);
    }
    add_legend(self, text, coloured, blocks);
}
