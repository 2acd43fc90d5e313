/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * series-plot.c: savings over time, as lines for a terminal.
 *
 * A column is the mean of the samples in its part of the time; one without
 * samples stays empty.  With blocks a character has eight steps of height,
 * else one.
 */
#include <math.h>
#include <string.h>

#include "history/series.h"
#include "base/units.h"

#define ROWS 12u
#define LABEL_COLUMNS 11u
#define MIN_COLUMNS 10u
#define STEPS 8u
#define PAGES_PER_MIB 256.0

typedef struct Plot {
    guint columns;
    double *means;         /* MiB saved; NAN: no sample */
    double floor, ceiling; /* MiB */
    double step;           /* between two rows */
} Plot;

static guint column_of(const KsmSeries *self, guint columns, gint64 time_s)
{
    gint64 start_s = ksm_series_get(self, 0)->time_s;
    gint64 end_s = ksm_series_get(self, self->samples->len - 1)->time_s;
    double part = (double)(time_s - start_s) / (double)MAX(1, end_s - start_s);

    return MIN(columns - 1, (guint)(part * columns));
}

static void set_means(const KsmSeries *self, Plot *plot)
{
    g_autofree guint *counts = g_new0(guint, plot->columns);
    guint i;

    for (i = 0; i < self->samples->len; i++) {
        const KsmSample *sample = ksm_series_get(self, i);
        guint column = column_of(self, plot->columns, sample->time_s);

        plot->means[column] += sample->values[KSM_SERIES_SAVED] / PAGES_PER_MIB;
        counts[column]++;
    }
    for (i = 0; i < plot->columns; i++) {
        plot->means[i] = counts[i] > 0 ? plot->means[i] / counts[i] : NAN;
    }
}

/* Fewer samples than columns: what lies between two is a line. */
static void fill_between(const KsmSeries *self, Plot *plot)
{
    guint i, column;

    for (i = 1; i < self->samples->len; i++) {
        guint first = column_of(self, plot->columns,
                                ksm_series_get(self, i - 1)->time_s);
        guint last = column_of(self, plot->columns,
                               ksm_series_get(self, i)->time_s);

        for (column = first + 1; column < last && !ksm_series_is_gap(self, i);
             column++) {
            plot->means[column] = plot->means[first] +
                                  (plot->means[last] - plot->means[first]) *
                                      (column - first) / (last - first);
        }
    }
}

static void set_scale(Plot *plot)
{
    double most = 0;
    guint i;

    plot->floor = 0;
    for (i = 0; i < plot->columns; i++) {
        if (!isnan(plot->means[i])) {
            most = MAX(most, plot->means[i]);
            plot->floor = MIN(plot->floor, plot->means[i]);
        }
    }
    plot->step = ksm_series_step(MAX(most - plot->floor, 1), ROWS - 1);
    plot->floor = floor(plot->floor / plot->step) * plot->step;
    plot->ceiling = plot->floor + plot->step * ROWS;
}

/* How full of @steps the row is that begins at @bottom. */
static guint fullness(double value, double bottom, double step, guint steps)
{
    double part = (value - bottom) / step * steps;

    return isnan(value) ? 0 : (guint)CLAMP(lrint(part), 0, (long)steps);
}

static void add_row(const Plot *plot, GString *text, guint row, gboolean blocks)
{
    double bottom = plot->floor + plot->step * row;
    guint i;

    if (row % 3 == 0) {
        g_string_append_printf(text, "%*.*f %s", (int)LABEL_COLUMNS - 2,
                               plot->step < 1 ? 1 : 0, bottom,
                               blocks ? "\u2524" : "+");
    } else {
        g_string_append_printf(text, "%*s %s", (int)LABEL_COLUMNS - 2, "",
                               blocks ? "\u2502" : "|");
    }
    for (i = 0; i < plot->columns; i++) {
        guint full = fullness(plot->means[i], bottom, plot->step,
                              blocks ? STEPS : 1);

        if (full > 0 && blocks) {
            g_string_append_unichar(text, 0x2580 + full); /* 1/8 to 8/8 */
        } else {
            g_string_append_c(text, full > 0 ? '#' : ' ');
        }
    }
    while (text->str[text->len - 1] == ' ') {
        g_string_truncate(text, text->len - 1);
    }
    g_string_append_c(text, '\n');
}

static void add_times(const KsmSeries *self, const Plot *plot, GString *text)
{
    gint64 start_s = ksm_series_get(self, 0)->time_s;
    gint64 end_s = ksm_series_get(self, self->samples->len - 1)->time_s;
    g_autofree char *start = ksm_series_clock(self, start_s);
    g_autofree char *middle = ksm_series_clock(self, (start_s + end_s) / 2);
    g_autofree char *end = ksm_series_clock(self, end_s);
    int room = (int)plot->columns - (int)(strlen(start) + strlen(end));
    int before = (room - (int)strlen(middle)) / 2;

    if (before < 1) {
        g_string_append_printf(text, "%*s%s%*s\n", (int)LABEL_COLUMNS, "",
                               start, MAX(1, room) + (int)strlen(end), end);
        return;
    }
    g_string_append_printf(text, "%*s%s%*s%s%*s\n", (int)LABEL_COLUMNS, "",
                           start, before, "", middle,
                           room - before - (int)strlen(middle) +
                               (int)strlen(end),
                           end);
}

static void add_title(const KsmSeries *self, GString *text)
{
    const KsmSample *last = ksm_series_get(self, self->samples->len - 1);
    double least = last->values[KSM_SERIES_SAVED], most = least;
    g_autofree char *now = NULL, *low = NULL, *high = NULL;
    guint i;

    for (i = 0; i < self->samples->len; i++) {
        double value = ksm_series_get(self, i)->values[KSM_SERIES_SAVED];

        least = MIN(least, value);
        most = MAX(most, value);
    }
    now = ksm_units_mib_of_pages((gint64)last->values[KSM_SERIES_SAVED]);
    low = ksm_units_mib_of_pages((gint64)least);
    high = ksm_units_mib_of_pages((gint64)most);
    g_string_append_printf(text,
                           "MiB saved by %s: %s now, %s at least, %s "
                           "at most\n",
                           self->title, now, low, high);
}

char *ksm_series_plot(const KsmSeries *self, guint columns, gboolean blocks)
{
    GString *text = g_string_new(NULL);
    Plot plot = { 0 };
    guint row;

    if (self->samples->len == 0) {
        g_string_append_printf(text,
                               "no sample of %s yet: the broker takes "
                               "one every %" G_GINT64_FORMAT " s\n",
                               self->title, self->interval_s);
        return g_string_free(text, FALSE);
    }
    plot.columns = MAX(MIN_COLUMNS, columns - MIN(columns, LABEL_COLUMNS));
    plot.means = g_new0(double, plot.columns);
    set_means(self, &plot);
    fill_between(self, &plot);
    set_scale(&plot);
    add_title(self, text);
    for (row = ROWS; row-- > 0;) {
        add_row(&plot, text, row, blocks);
    }
    add_times(self, &plot, text);
    g_free(plot.means);
    return g_string_free(text, FALSE);
}
