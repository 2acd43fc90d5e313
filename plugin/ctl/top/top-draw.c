/* SPDX-License-Identifier: GPL-2.0-or-later */
/* top-draw.c: what `top` puts on the screen. */
#include <curses.h>
#include <string.h>

#include "base/client.h"
#include "base/units.h"
#include "map/page-kind.h"
#include "top/top-model.h"
#include "top/top-screen.h"

#define HEAD_LINES 6 /* above the first VM */
#define FOOT_LINES 1
#define MIN_BAR 8

guint ksm_screen_rows(void)
{
    return (guint)MAX(0, LINES - HEAD_LINES - FOOT_LINES);
}

/* Up to the screen's edge: longer lines would go on in the next. */
static void add_text(const char *text)
{
    addnstr(text, MAX(0, COLS - getcurx(stdscr)));
}

static void G_GNUC_PRINTF(2, 3) line(int y, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    move(y, 0);
    add_text(text);
}

static void draw_broker(const KsmTop *top)
{
    JsonObject *broker = ksm_reply_object(top->status, "broker");
    JsonObject *total = ksm_reply_object(top->status, "total");
    g_autofree char *age = NULL, *clock = NULL;
    g_autoptr(GDateTime) now = g_date_time_new_now_local();

    clock = g_date_time_format(now, "%H:%M:%S");
    age = ksm_units_age_of_ms(
        broker != NULL ? ksm_reply_int(broker, "uptime_ms") : 0);
    line(0,
         "guest-ksmctl %s  %u VMs  broker up for %s  scanners %.2f %% of "
         "one CPU",
         clock, top->rows->len, age,
         total != NULL ? ksm_reply_double(total, "cpu_percent") : 0);
}

static void draw_memory(const KsmTop *top)
{
    JsonObject *host = ksm_reply_object(top->status, "host");
    JsonObject *total = ksm_reply_object(top->status, "total");
    gint64 available = 0, worst = 0;
    g_autofree char *saved = NULL, *store = NULL, *need = NULL, *have = NULL;

    if (host == NULL || total == NULL) {
        return;
    }
    available = ksm_reply_int(host, "available_bytes");
    worst = ksm_reply_int(total, "worst_case_pages") * 4096;
    saved = ksm_units_mib_of_pages(ksm_reply_int(total, "saved_pages"));
    store = ksm_units_mib_of_pages(ksm_reply_int(total, "pages_shared"));
    need = ksm_units_mib_of_bytes(worst);
    have = ksm_units_mib_of_bytes(available);
    line(1, "saved %s MiB  store %s MiB  worst case %s of %s MiB available",
         saved, store, need, have);
    if (worst > available) {
        attron(A_REVERSE);
        add_text("  DOES NOT FIT");
        attroff(A_REVERSE);
    }
}

static void draw_trouble(const KsmTop *top)
{
    if (top->trouble != NULL) {
        attron(A_REVERSE);
        line(2, "%s", top->trouble);
        attroff(A_REVERSE);
    }
}

/* The part of a bar up to the end of @upto pages; letters say which is what. */
static int draw_part(KsmPageKindId kind, gint64 upto, gint64 total, int width,
                     int drawn)
{
    int end = total > 0 ? (int)((upto * width + total / 2) / total) : 0;
    const chtype cell = (chtype)ksm_page_kinds[kind].letter |
                        (chtype)COLOR_PAIR(kind + 1) |
                        (kind == KSM_KIND_UNTOUCHED ? A_DIM : A_REVERSE);

    for (; drawn < end; drawn++) {
        addch(cell);
    }
    return drawn;
}

static void draw_bar(const KsmTopRow *row, int width)
{
    const struct {
        KsmPageKindId kind;
        gint64 pages;
    } parts[] = {
        { KSM_KIND_PRIVATE, row->own },
        { KSM_KIND_BROKEN, row->broken },
        { KSM_KIND_SHARED, row->shared },
        { KSM_KIND_ZERO, row->zero },
        { KSM_KIND_UNTOUCHED, row->untouched },
    };
    gint64 upto = 0;
    int drawn = 0;
    guint i;

    for (i = 0; i < G_N_ELEMENTS(parts); i++) {
        upto += parts[i].pages;
        drawn = draw_part(parts[i].kind, MIN(upto, row->total), row->total,
                          width, drawn);
    }
}

static gboolean is_shown(const KsmTopColumn *column)
{
    return COLS >= column->from_columns;
}

/* What the columns leave of the line. */
static int bar_width(void)
{
    int used = 1;
    guint i;

    for (i = 0; ksm_top_columns[i].heading != NULL; i++) {
        if (is_shown(&ksm_top_columns[i])) {
            used += ABS(ksm_top_columns[i].width) + 1;
        }
    }
    return COLS - used;
}

static void draw_cell(const KsmTopColumn *column, const char *text)
{
    g_autofree char *cell = g_strdup_printf("%*.*s", column->width,
                                            ABS(column->width), text);

    add_text(cell);
    add_text(" ");
}

static void draw_headings(const KsmTop *top, int y)
{
    guint i;

    move(y, 0);
    attron(A_BOLD);
    for (i = 0; ksm_top_columns[i].heading != NULL; i++) {
        if (!is_shown(&ksm_top_columns[i])) {
            continue;
        }
        if (i == top->sort) {
            attron(A_REVERSE);
        }
        draw_cell(&ksm_top_columns[i], ksm_top_columns[i].heading);
        attroff(A_REVERSE);
    }
    attroff(A_BOLD);
}

static void draw_row(const KsmTopRow *row, int y)
{
    guint i;

    move(y, 0);
    for (i = 0; ksm_top_columns[i].heading != NULL; i++) {
        if (is_shown(&ksm_top_columns[i])) {
            g_autofree char *text = ksm_top_columns[i].format(row);

            draw_cell(&ksm_top_columns[i], text);
        }
    }
    if (bar_width() >= MIN_BAR) {
        draw_bar(row, bar_width());
    }
}

/* The bar of all VMs together, which also says what the letters mean. */
static void draw_sum(const KsmTop *top, int y)
{
    static const KsmPageKindId kinds[] = {
        KSM_KIND_PRIVATE,
        KSM_KIND_BROKEN,
        KSM_KIND_SHARED,
        KSM_KIND_ZERO,
    };
    KsmTopRow sum;
    guint i;

    ksm_top_sum(top, &sum);
    move(y, 0);
    for (i = 0; i < G_N_ELEMENTS(kinds); i++) {
        const KsmPageKind *kind = &ksm_page_kinds[kinds[i]];
        chtype cell = (chtype)kind->letter | (chtype)COLOR_PAIR(kinds[i] + 1) |
                      A_REVERSE;

        if (getcurx(stdscr) < COLS - 1) {
            addch(cell);
        }
        add_text(" ");
        add_text(kind->name);
        add_text("  ");
    }
    if (COLS - getcurx(stdscr) > MIN_BAR) {
        draw_bar(&sum, COLS - getcurx(stdscr) - 1);
    }
}

void ksm_screen_draw(const KsmTop *top, guint *first)
{
    guint rows = ksm_screen_rows();
    guint i;

    *first = MIN(*first, top->rows->len > rows ? top->rows->len - rows : 0);
    erase();
    draw_broker(top);
    draw_memory(top);
    draw_trouble(top);
    draw_sum(top, 3);
    draw_headings(top, HEAD_LINES - 1);
    for (i = 0; i < rows && *first + i < top->rows->len; i++) {
        draw_row(g_ptr_array_index(top->rows, *first + i), HEAD_LINES + (int)i);
    }
    attron(A_DIM);
    line(LINES - 1, "q quit  left/right, or a letter: sort column  r reverse"
                    "  up/down scroll  space now");
    attroff(A_DIM);
    refresh();
}
