/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * line-diff.c: two texts compared line by line.
 *
 * By the table of longest common subsequences, which takes lines times lines:
 * for configuration files.
 */
#include "domain/line-diff.h"

#include <string.h>

#define AROUND 3

typedef struct Line {
    char mark; /* ' ', '-' or '+' */
    const char *text;
    guint before, after; /* numbers of the next lines, from 0 */
} Line;

/* Lines without what ends them; the last one may be empty: dropped. */
static GStrv split(const char *text, guint *count)
{
    GStrv lines = g_strsplit(text, "\n", -1);

    *count = g_strv_length(lines);
    if (*count > 0 && *lines[*count - 1] == '\0') {
        g_clear_pointer(&lines[--*count], g_free);
    }
    return lines;
}

/* lengths[i * (columns + 1) + j]: what a from i and b from j have in common. */
static guint *common_lengths(GStrv a, guint rows, GStrv b, guint columns)
{
    guint *lengths = g_new0(guint, (gsize)(rows + 1) * (columns + 1));
    guint width = columns + 1, i, j;

    for (i = rows; i-- > 0;) {
        for (j = columns; j-- > 0;) {
            guint *cell = lengths + (gsize)i * width + j;

            *cell = strcmp(a[i], b[j]) == 0 ? cell[width + 1] + 1 :
                                              MAX(cell[width], cell[1]);
        }
    }
    return lengths;
}

/* Every line of both, marked; of Line. */
static GArray *compare(GStrv a, guint rows, GStrv b, guint columns)
{
    g_autofree guint *lengths = common_lengths(a, rows, b, columns);
    GArray *lines = g_array_new(FALSE, FALSE, sizeof(Line));
    guint width = columns + 1, i = 0, j = 0;

    while (i < rows || j < columns) {
        const guint *cell = lengths + (gsize)i * width + j;
        Line line = { ' ', NULL, i, j };

        if (i < rows && j < columns && strcmp(a[i], b[j]) == 0) {
            line.text = a[i++];
            j++;
        } else if (j == columns || (i < rows && cell[width] >= cell[1])) {
            line.mark = '-';
            line.text = a[i++];
        } else {
            line.mark = '+';
            line.text = b[j++];
        }
        g_array_append_val(lines, line);
    }
    return lines;
}

/* Prints lines [from, to) with their heading. */
static void print_hunk(GString *out, const Line *lines, guint from, guint to)
{
    guint before = 0, after = 0, i;

    for (i = from; i < to; i++) {
        before += lines[i].mark != '+';
        after += lines[i].mark != '-';
    }
    g_string_append_printf(out, "@@ -%u,%u +%u,%u @@\n", lines[from].before + 1,
                           before, lines[from].after + 1, after);
    for (i = from; i < to; i++) {
        g_string_append_printf(out, "%c%s\n", lines[i].mark, lines[i].text);
    }
}

char *ksm_line_diff(const char *before, const char *after)
{
    guint rows, columns, i, from = 0, to = 0;
    g_auto(GStrv) a = split(before, &rows);
    g_auto(GStrv) b = split(after, &columns);
    g_autoptr(GArray) lines = compare(a, rows, b, columns);
    GString *out = g_string_new(NULL);

    for (i = 0; i < lines->len; i++) {
        if (g_array_index(lines, Line, i).mark == ' ') {
            continue;
        }
        if (to == 0 || i > to + AROUND) {
            if (to != 0) {
                print_hunk(out, (Line *)(void *)lines->data, from, to);
            }
            from = i > AROUND ? i - AROUND : 0;
        }
        to = MIN(i + 1 + AROUND, lines->len);
    }
    if (to != 0) {
        print_hunk(out, (Line *)(void *)lines->data, from, to);
    }
    return g_string_free(out, FALSE);
}
