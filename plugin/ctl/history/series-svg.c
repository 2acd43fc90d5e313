/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * series-svg.c: savings over time, as an SVG file.
 *
 * Memory above, CPU time below, over the same time.  Lines are broken where
 * the broker took no samples.
 */
#include <math.h>

#include "history/series.h"

#define WIDTH 960
#define HEIGHT 480
#define LEFT 80
#define RIGHT 24
#define PLOT_WIDTH (WIDTH - LEFT - RIGHT)
#define TIME_MARKS 6
#define PAGES_PER_MIB 256.0

/* A panel: where it lies, and the values at its edges. */
typedef struct Panel {
    double top, height;
    double low, high, step;
} Panel;

typedef struct Line {
    KsmSeriesField field;
    const char *label;
    guint32 rgb;
    gboolean filled;
} Line;

static const Line memory_lines[] = {
    { KSM_SERIES_SAVED, "saved", 0x3f9b45, TRUE },
    { KSM_SERIES_SHARING, "shared", 0x2a6f9e, FALSE },
    { KSM_SERIES_ZERO, "zero", 0xd0a800, FALSE },
    { KSM_SERIES_SHARED, "store", 0x6f6f6f, FALSE },
    { KSM_SERIES_BROKEN, "broken", 0xd9413d, FALSE },
};

static const Line cpu_line = {
    KSM_SERIES_CPU,
    "% of one CPU for scanning",
    0xa35fa0,
    FALSE,
};

/* Numbers with a point, whatever the locale. */
static void add_number(GString *svg, double value)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];

    g_string_append(svg, g_ascii_formatd(text, sizeof(text), "%.1f", value));
}

static void add_point(GString *svg, double x, double y)
{
    add_number(svg, x);
    g_string_append_c(svg, ',');
    add_number(svg, y);
    g_string_append_c(svg, ' ');
}

static double value_of(const KsmSample *sample, KsmSeriesField field)
{
    return field == KSM_SERIES_CPU ? sample->values[field] :
                                     sample->values[field] / PAGES_PER_MIB;
}

static double x_of(const KsmSeries *self, gint64 time_s)
{
    gint64 start_s = ksm_series_get(self, 0)->time_s;
    gint64 end_s = ksm_series_get(self, self->samples->len - 1)->time_s;

    return LEFT + PLOT_WIDTH * (double)(time_s - start_s) /
                      (double)MAX(1, end_s - start_s);
}

static double y_of(const Panel *panel, double value)
{
    return panel->top +
           panel->height * (panel->high - value) / (panel->high - panel->low);
}

static void set_scale(const KsmSeries *self, Panel *panel, const Line *lines,
                      gsize count, guint marks)
{
    double low = 0, high = 1;
    gsize i;
    guint j;

    for (i = 0; i < count; i++) {
        for (j = 0; j < self->samples->len; j++) {
            double value = value_of(ksm_series_get(self, j), lines[i].field);

            low = MIN(low, value);
            high = MAX(high, value);
        }
    }
    panel->step = ksm_series_step(high - low, marks);
    panel->low = floor(low / panel->step) * panel->step;
    panel->high = ceil(high / panel->step) * panel->step;
}

static void add_text(GString *svg, double x, double y, const char *anchor,
                     const char *text)
{
    g_autofree char *escaped = g_markup_escape_text(text, -1);

    g_string_append(svg, "<text x=\"");
    add_number(svg, x);
    g_string_append(svg, "\" y=\"");
    add_number(svg, y);
    g_string_append_printf(svg, "\" text-anchor=\"%s\">%s</text>\n", anchor,
                           escaped);
}

static void add_rule(GString *svg, double x1, double y1, double x2, double y2)
{
    g_string_append(svg, "<polyline class=\"rule\" fill=\"none\" points=\"");
    add_point(svg, x1, y1);
    add_point(svg, x2, y2);
    g_string_append(svg, "\"/>\n");
}

static void add_axis(GString *svg, const Panel *panel)
{
    guint count = (guint)lrint((panel->high - panel->low) / panel->step);
    guint i;

    for (i = 0; i <= count; i++) {
        double value = panel->low + i * panel->step;
        g_autofree char *label =
            g_strdup_printf("%.*f", panel->step < 1 ? 1 : 0, value);
        double y = y_of(panel, value);

        add_rule(svg, LEFT, y, WIDTH - RIGHT, y);
        add_text(svg, LEFT - 8, y + 4, "end", label);
    }
}

static void add_times(const KsmSeries *self, GString *svg, double y)
{
    gint64 start_s = ksm_series_get(self, 0)->time_s;
    gint64 span_s = ksm_series_get(self, self->samples->len - 1)->time_s -
                    start_s;
    guint i;

    for (i = 0; i <= TIME_MARKS && (i == 0 || span_s > 0); i++) {
        gint64 time_s = start_s + span_s * i / TIME_MARKS;
        g_autofree char *label = ksm_series_clock(self, time_s);

        add_text(svg, x_of(self, time_s), y,
                 i == 0          ? "start" :
                 i == TIME_MARKS ? "end" :
                                   "middle",
                 label);
    }
}

/* The samples from @first on that have no gap between them. */
static guint stretch_end(const KsmSeries *self, guint first)
{
    guint end = first + 1;

    while (end < self->samples->len && !ksm_series_is_gap(self, end)) {
        end++;
    }
    return end;
}

static void add_stretch(const KsmSeries *self, GString *svg, const Panel *panel,
                        const Line *line, guint first, guint end)
{
    double base = y_of(panel, MAX(0, panel->low));
    g_autofree char *colour = g_strdup_printf("#%06x", line->rgb);
    guint i;

    g_string_append_printf(svg,
                           "<%s class=\"%s\" stroke=\"%s\" "
                           "fill=\"%s\" points=\"",
                           line->filled ? "polygon" : "polyline", line->label,
                           colour, line->filled ? colour : "none");
    if (line->filled) {
        add_point(svg, x_of(self, ksm_series_get(self, first)->time_s), base);
    }
    for (i = first; i < end; i++) {
        const KsmSample *sample = ksm_series_get(self, i);

        add_point(svg, x_of(self, sample->time_s),
                  y_of(panel, value_of(sample, line->field)));
    }
    if (line->filled) {
        add_point(svg, x_of(self, ksm_series_get(self, end - 1)->time_s), base);
    }
    g_string_append(svg, "\"/>\n");
}

static void add_lines(const KsmSeries *self, GString *svg, const Panel *panel,
                      const Line *lines, gsize count)
{
    gsize i;
    guint first, end;

    for (i = 0; i < count; i++) {
        for (first = 0; first < self->samples->len; first = end) {
            end = stretch_end(self, first);
            add_stretch(self, svg, panel, &lines[i], first, end);
        }
    }
}

static void add_legend(GString *svg)
{
    double x = LEFT;
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(memory_lines); i++) {
        g_string_append(svg, "<rect x=\"");
        add_number(svg, x);
        g_string_append_printf(svg,
                               "\" y=\"40\" width=\"12\" height=\"12\" "
                               "fill=\"#%06x\"/>\n",
                               memory_lines[i].rgb);
        add_text(svg, x + 18, 50, "start", memory_lines[i].label);
        x += 160;
    }
}

char *ksm_series_svg(const KsmSeries *self)
{
    GString *svg = g_string_new("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    Panel memory = { .top = 68, .height = 264 };
    Panel cpu = { .top = 376, .height = 64 };
    g_autofree char *title = g_strdup_printf("Memory saved by %s, in MiB",
                                             self->title);

    g_string_append_printf(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" "
        "width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
        "font-family=\"sans-serif\" font-size=\"13\">\n"
        "<style>.rule { stroke: #d8d8d8; } polygon { fill-opacity: 0.3; } "
        "text { fill: #202020; }</style>\n"
        "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    add_text(svg, LEFT, 26, "start", title);
    if (self->samples->len > 0) {
        set_scale(self, &memory, memory_lines, G_N_ELEMENTS(memory_lines), 6);
        set_scale(self, &cpu, &cpu_line, 1, 2);
        add_legend(svg);
        add_axis(svg, &memory);
        add_axis(svg, &cpu);
        add_lines(self, svg, &memory, memory_lines, G_N_ELEMENTS(memory_lines));
        add_lines(self, svg, &cpu, &cpu_line, 1);
        add_text(svg, LEFT, cpu.top - 10, "start", cpu_line.label);
        add_times(self, svg, HEIGHT - 16);
    } else {
        add_text(svg, LEFT, 80, "start", "no samples yet");
    }
    g_string_append(svg, "</svg>\n");
    return g_string_free(svg, FALSE);
}
