/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * top-model.c: what `top` shows: a row for each VM, with rates, sorted.
 *
 * Numbers are sorted the largest first, words by the alphabet.
 */
#include "top/top-model.h"

#include "base/units.h"
#include "base/vms.h"

#define NUMBER_COLUMN(field) \
    static gint compare_##field(const KsmTopRow *a, const KsmTopRow *b) \
    { \
        return (a->field < b->field) - (a->field > b->field); \
    }
#define PAGES_COLUMN(field) \
    NUMBER_COLUMN(field) \
    static char *format_##field(const KsmTopRow *row) \
    { \
        return ksm_units_mib_of_pages(row->field); \
    }
#define WORD_COLUMN(field) \
    static gint compare_##field(const KsmTopRow *a, const KsmTopRow *b) \
    { \
        return g_strcmp0(a->field, b->field); \
    } \
    static char *format_##field(const KsmTopRow *row) \
    { \
        return g_strdup(row->field); \
    }

WORD_COLUMN(name)
WORD_COLUMN(group)
WORD_COLUMN(state)
PAGES_COLUMN(total)
PAGES_COLUMN(own)
PAGES_COLUMN(shared)
PAGES_COLUMN(zero)
PAGES_COLUMN(broken)
PAGES_COLUMN(saved)
NUMBER_COLUMN(cpu_percent)
NUMBER_COLUMN(merges_rate)
NUMBER_COLUMN(breaks_rate)

static char *format_cpu_percent(const KsmTopRow *row)
{
    return g_strdup_printf("%.2f", row->cpu_percent);
}

static char *format_merges_rate(const KsmTopRow *row)
{
    return g_strdup_printf("%.0f", row->merges_rate);
}

static char *format_breaks_rate(const KsmTopRow *row)
{
    return g_strdup_printf("%.0f", row->breaks_rate);
}

const KsmTopColumn ksm_top_columns[] = {
    { "VM", "vm", 'v', -14, 0, format_name, compare_name },
    { "GROUP", "group", 'g', -10, 100, format_group, compare_group },
    { "MEMORY", "memory", 'm', 8, 0, format_total, compare_total },
    { "PRIVATE", "private", 'p', 8, 130, format_own, compare_own },
    { "SHARED", "shared", 's', 8, 130, format_shared, compare_shared },
    { "ZERO", "zero", 'z', 8, 130, format_zero, compare_zero },
    { "BROKEN", "broken", 'b', 8, 130, format_broken, compare_broken },
    { "SAVED", "saved", 'a', 8, 0, format_saved, compare_saved },
    { "CPU%", "cpu", 'c', 6, 0, format_cpu_percent, compare_cpu_percent },
    { "MERGE/s", "merges", 'e', 7, 0, format_merges_rate, compare_merges_rate },
    { "BREAK/s", "breaks", 'k', 7, 0, format_breaks_rate, compare_breaks_rate },
    { "STATE", "state", 't', -12, 100, format_state, compare_state },
    { NULL, NULL, '\0', 0, 0, NULL, NULL },
};

static void row_free(gpointer data)
{
    KsmTopRow *row = data;

    g_free(row->name);
    g_free(row->group);
    g_free(row->state);
    g_free(row);
}

KsmTop *ksm_top_new(guint sort, const char *target)
{
    KsmTop *self = g_new0(KsmTop, 1);

    self->target = g_strdup(target);
    self->rows = g_ptr_array_new_with_free_func(row_free);
    self->sort = sort;
    return self;
}

void ksm_top_free(KsmTop *self)
{
    g_ptr_array_unref(self->rows);
    if (self->status != NULL) {
        json_object_unref(self->status);
    }
    g_free(self->target);
    g_free(self->trouble);
    g_free(self);
}

gboolean ksm_top_find_column(const char *name, guint *column)
{
    guint i;

    for (i = 0; ksm_top_columns[i].heading != NULL; i++) {
        if (g_ascii_strcasecmp(ksm_top_columns[i].name, name) == 0) {
            *column = i;
            return TRUE;
        }
    }
    return FALSE;
}

static const KsmTopRow *find_row(const GPtrArray *rows, const KsmTopRow *row)
{
    guint i;

    for (i = 0; i < rows->len; i++) {
        const KsmTopRow *other = g_ptr_array_index(rows, i);

        if (other->pid == row->pid && g_strcmp0(other->name, row->name) == 0) {
            return other;
        }
    }
    return NULL;
}

/* What came since the row before, over the time between the two questions. */
static void set_rates(KsmTopRow *row, const KsmTopRow *before, double seconds)
{
    if (before != NULL && seconds > 0) {
        row->merges_rate = (double)MAX(0, row->merges - before->merges) /
                           seconds;
        row->breaks_rate = (double)MAX(0, row->breaks - before->breaks) /
                           seconds;
    }
}

static KsmTopRow *row_new(const KsmVm *vm)
{
    KsmTopRow *row = g_new0(KsmTopRow, 1);

    row->name = g_strdup(vm->name);
    row->group = g_strdup(vm->group);
    row->state = g_strdup(ksm_vm_string(vm, "state"));
    row->pid = vm->pid;
    row->total = ksm_vm_sum(vm, "pages_total");
    row->untouched = ksm_vm_sum(vm, "pages_untouched");
    row->own = ksm_vm_sum(vm, "pages_volatile") +
               ksm_vm_sum(vm, "pages_unshared") +
               ksm_vm_sum(vm, "pages_excluded");
    row->shared = ksm_vm_sum(vm, "pages_sharing");
    row->zero = ksm_vm_sum(vm, "zero_pages");
    row->broken = ksm_vm_sum(vm, "pages_broken");
    row->saved = ksm_vm_sum(vm, "saved_pages");
    row->cpu_percent = ksm_vm_sum_double(vm, "cpu_percent");
    row->merges = ksm_vm_sum(vm, "merges") + ksm_vm_sum(vm, "zero_merges");
    row->breaks = ksm_vm_sum(vm, "breaks");
    return row;
}

static void take(KsmTop *self, JsonObject *status, const GPtrArray *vms)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func(row_free);
    gint64 now_us = g_get_monotonic_time();
    double seconds = (double)(now_us - self->asked_us) / G_USEC_PER_SEC;
    guint i;

    for (i = 0; i < vms->len; i++) {
        KsmTopRow *row = row_new(g_ptr_array_index(vms, i));

        set_rates(row, find_row(self->rows, row), seconds);
        g_ptr_array_add(rows, row);
    }
    g_ptr_array_unref(self->rows);
    self->rows = rows;
    if (self->status != NULL) {
        json_object_unref(self->status);
    }
    self->status = json_object_ref(status);
    self->asked_us = now_us;
    ksm_top_sort(self);
}

gboolean ksm_top_ask(KsmTop *self, KsmClient *client, GError **errp)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) vms = NULL;
    g_autoptr(JsonObject) status = ksm_client_ask(client, &error, "status",
                                                  NULL);

    if (status != NULL) {
        vms = ksm_vms_ask(client, self->target, &error);
    }
    g_clear_pointer(&self->trouble, g_free);
    if (vms == NULL) {
        self->trouble = g_strdup(error->message);
        g_propagate_error(errp, g_steal_pointer(&error));
        return FALSE;
    }
    take(self, status, vms);
    return TRUE;
}

static gint compare_rows(gconstpointer a, gconstpointer b, gpointer opaque)
{
    const KsmTop *self = opaque;
    const KsmTopRow *one = *(KsmTopRow *const *)a;
    const KsmTopRow *other = *(KsmTopRow *const *)b;
    gint order = ksm_top_columns[self->sort].compare(one, other);

    if (self->reverse) {
        order = -order;
    }
    if (order == 0) {
        order = g_strcmp0(one->name, other->name);
    }
    return order != 0 ? order :
                        (one->pid > other->pid) - (one->pid < other->pid);
}

void ksm_top_sort(KsmTop *self)
{
    g_ptr_array_sort_with_data(self->rows, compare_rows, self);
}

void ksm_top_sum(const KsmTop *self, KsmTopRow *sum)
{
    guint i;

    *sum = (KsmTopRow) { 0 };
    for (i = 0; i < self->rows->len; i++) {
        const KsmTopRow *row = g_ptr_array_index(self->rows, i);

        sum->total += row->total;
        sum->untouched += row->untouched;
        sum->own += row->own;
        sum->shared += row->shared;
        sum->zero += row->zero;
        sum->broken += row->broken;
        sum->saved += row->saved;
    }
}
