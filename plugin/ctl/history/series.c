/* SPDX-License-Identifier: GPL-2.0-or-later */
/* series.c: what the broker remembers of the last hours. */
#include "history/series.h"

#include <math.h>

#define GAP_INTERVALS 3

static const char *const names[KSM_SERIES_FIELDS] = {
    [KSM_SERIES_SHARED] = "pages_shared",
    [KSM_SERIES_SHARING] = "pages_sharing",
    [KSM_SERIES_ZERO] = "zero_pages",
    [KSM_SERIES_BROKEN] = "pages_broken",
    [KSM_SERIES_SAVED] = "saved_pages",
    [KSM_SERIES_CPU] = "cpu_percent",
};

void ksm_series_free(KsmSeries *self)
{
    g_free(self->title);
    g_array_unref(self->samples);
    g_free(self);
}

const KsmSample *ksm_series_get(const KsmSeries *self, guint index)
{
    return &g_array_index(self->samples, KsmSample, index);
}

gboolean ksm_series_is_gap(const KsmSeries *self, guint index)
{
    return index > 0 && ksm_series_get(self, index)->time_s -
                                ksm_series_get(self, index - 1)->time_s >
                            GAP_INTERVALS * self->interval_s;
}

static JsonArray *array_of(JsonNode *node)
{
    return node != NULL && JSON_NODE_HOLDS_ARRAY(node) ?
               json_node_get_array(node) :
               NULL;
}

/* Where in a sample a field stands; -1: nowhere. */
static int find_field(JsonArray *fields, const char *name)
{
    guint i;

    for (i = 0; i < json_array_get_length(fields); i++) {
        JsonNode *node = json_array_get_element(fields, i);

        if (JSON_NODE_HOLDS_VALUE(node) &&
            g_strcmp0(json_node_get_string(node), name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static gboolean get_number(JsonArray *values, int at, double *number)
{
    JsonNode *node;

    if (at < 0 || (guint)at >= json_array_get_length(values)) {
        return FALSE;
    }
    node = json_array_get_element(values, (guint)at);
    if (!JSON_NODE_HOLDS_VALUE(node) ||
        json_node_get_value_type(node) == G_TYPE_STRING) {
        return FALSE;
    }
    *number = json_node_get_double(node);
    return isfinite(*number) && fabs(*number) < 1e15;
}

static gboolean read_sample(JsonArray *fields, JsonNode *node,
                            KsmSample *sample)
{
    JsonArray *values = array_of(node);
    double time_s = 0;
    guint i;

    if (values == NULL ||
        !get_number(values, find_field(fields, "time_s"), &time_s)) {
        return FALSE;
    }
    sample->time_s = (gint64)time_s;
    for (i = 0; i < KSM_SERIES_FIELDS; i++) {
        if (!get_number(values, find_field(fields, names[i]),
                        &sample->values[i])) {
            return FALSE;
        }
    }
    return TRUE;
}

static gint compare_times(gconstpointer a, gconstpointer b)
{
    const KsmSample *one = a, *other = b;

    return (one->time_s > other->time_s) - (one->time_s < other->time_s);
}

static KsmSeries *series_new(JsonObject *reply, const char *group)
{
    KsmSeries *self = g_new0(KsmSeries, 1);

    self->title = group != NULL ? g_strdup_printf("group %s", group) :
                                  g_strdup("all groups");
    self->interval_s = MAX(1, ksm_reply_int(reply, "interval_s"));
    self->samples = g_array_new(FALSE, FALSE, sizeof(KsmSample));
    return self;
}

KsmSeries *ksm_series_of_reply(JsonObject *reply, const char *group,
                               GError **errp)
{
    g_autoptr(KsmSeries) self = series_new(reply, group);
    JsonArray *fields = array_of(json_object_get_member(reply, "fields"));
    JsonArray *samples = array_of(json_object_get_member(reply, "samples"));
    guint i;

    for (i = 0; samples != NULL && i < json_array_get_length(samples); i++) {
        KsmSample sample;

        if (fields == NULL ||
            !read_sample(fields, json_array_get_element(samples, i), &sample)) {
            g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                        "sample %u of the broker's history makes no sense", i);
            return NULL;
        }
        g_array_append_val(self->samples, sample);
    }
    /* The clock may have been put back meanwhile. */
    g_array_sort(self->samples, compare_times);
    return g_steal_pointer(&self);
}

double ksm_series_step(double span, guint count)
{
    static const double rounds[] = { 1, 2, 5, 10 };
    double rough = MAX(span, 1e-9) / count;
    double power = pow(10, floor(log10(rough)));
    guint i = 0;

    while (i < G_N_ELEMENTS(rounds) - 1 && rounds[i] * power < rough) {
        i++;
    }
    return rounds[i] * power;
}

char *ksm_series_clock(const KsmSeries *self, gint64 time_s)
{
    const KsmSample *first = ksm_series_get(self, 0);
    const KsmSample *last = ksm_series_get(self, self->samples->len - 1);
    g_autoptr(GDateTime) start = g_date_time_new_from_unix_local(first->time_s);
    g_autoptr(GDateTime) end = g_date_time_new_from_unix_local(last->time_s);
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(time_s);

    if (start == NULL || end == NULL || time == NULL) {
        return g_strdup("?");
    }
    return g_date_time_format(time, g_date_time_get_day_of_year(start) !=
                                            g_date_time_get_day_of_year(end) ?
                                        "%d %b %H:%M" :
                                    last->time_s - first->time_s < 600 ?
                                        "%H:%M:%S" :
                                        "%H:%M");
}
