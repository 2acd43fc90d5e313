/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metrics-vm.c: metrics of the VMs, each of their backends by itself. */
#include "base/client.h"
#include "map/page-kind.h"
#include "metrics/metric-writer.h"
#include "metrics/metrics.h"

#define PAGE_BYTES 4096.0

/* Fields of a session; those of one family stand together. */
typedef struct Field {
    const char *name;           /* of the family */
    const char *type, *unit;
    const char *label, *value;  /* one more label, or NULL */
    const char *field;
    double scale;
    const char *help;
} Field;

#define GAUGE(name, unit, field, scale, help) \
    { "guest_ksm_vm_" name, "gauge", unit, NULL, NULL, field, scale, help }
#define COUNTER(name, unit, field, scale, help) \
    { "guest_ksm_vm_" name, "counter", unit, NULL, NULL, field, scale, help }
#define REFUSED(reason, help) \
    { "guest_ksm_vm_refused_pages", "counter", NULL, "reason", reason, \
      "refused_" reason, 1, help }

static const Field fields[] = {
    GAUGE("saved_bytes", "bytes", "saved_pages", PAGE_BYTES,
          "Its part of the memory that its group saves."),
    GAUGE("worst_case_bytes", "bytes", "worst_case_pages", PAGE_BYTES,
          "Memory needed more if all it shares were written at once."),
    GAUGE("profit_bytes", "bytes", "general_profit_bytes", 1,
          "Saved memory less metadata, as the engine reckons it."),
    GAUGE("metadata_bytes", "bytes", "metadata_bytes", 1,
          "The engine's own memory."),
    COUNTER("cpu_seconds", "seconds", "cpu_ns", 1e-9,
            "CPU time of the scanner."),
    GAUGE("scan_cpu_limit_ratio", "ratio", "scan_cpu_percent", 1e-2,
          "Maximum CPU time of the scanner, as a fraction of one CPU."),
    GAUGE("scan_interval_seconds", "seconds", "interval_ms", 1e-3,
          "Time between two rounds, back-off included."),
    GAUGE("round_seconds", "seconds", "round_ns", 1e-9,
          "Duration of the last round."),
    COUNTER("full_scans", NULL, "full_scans", 1, "Rounds over all memory."),
    COUNTER("merged_pages", NULL, "merges", 1, "Pages that became shared."),
    COUNTER("zeroed_pages", NULL, "zero_merges", 1,
            "Zero pages that were given back."),
    COUNTER("broken_pages", NULL, "breaks", 1,
            "Shared pages that were written (copy-on-write)."),
    COUNTER("given_back_pages", NULL, "given_back", 1,
            "Broken pages that became ordinary memory again."),
    COUNTER("rollbacks", NULL, "rollbacks", 1,
            "Windows that were undone."),
    REFUSED("pinned", "Pages left private, by reason."),
    REFUSED("budget", NULL), REFUSED("torn", NULL), REFUSED("broker", NULL),
    REFUSED("error", NULL), REFUSED("held", NULL),
    GAUGE("failed_memory_bytes", "bytes", "pages_hwpoison", PAGE_BYTES,
          "Guest memory that has failed in the host."),
    GAUGE("kept_huge_bytes", "bytes", "pages_kept_huge", PAGE_BYTES,
          "Duplicates left unshared to keep huge pages (keep-huge)."),
    GAUGE("resting_bytes", "bytes", "pages_resting", PAGE_BYTES,
          "Huge pages written all the time, left alone (keep-huge)."),
    COUNTER("collapsed_blocks", NULL, "collapses", 1,
            "Blocks of 2 MiB made huge pages again (keep-huge)."),
    COUNTER("fingerprinted_pages", NULL, "fingerprints", 1, "Pages read."),
    COUNTER("looked_up_pages", NULL, "lookups", 1,
            "Pages looked up at the broker."),
    COUNTER("published_pages", NULL, "publishes", 1,
            "Pages copied to the broker."),
    COUNTER("hints", NULL, "hints", 1,
            "Pages that the broker said another VM has, too."),
    COUNTER("broker_requests", NULL, "broker_requests", 1,
            "Requests to the broker."),
    COUNTER("broker_losses", NULL, "broker_losses", 1,
            "Connections to the broker that were lost."),
    GAUGE("mappings", NULL, "mappings", 1, "Kernel mappings in use."),
    GAUGE("mappings_limit", NULL, "max_mappings", 1,
          "Kernel mappings that it may use."),
    GAUGE("shared_runs", NULL, "runs", 1, "Mappings of the store."),
    GAUGE("window_longest_seconds", "seconds", "window_ns_max", 1e-9,
          "The longest time that pages were kept from the guest."),
};

static const char *const states[] = {
    "starting", "running", "degraded", "paused", "unmerging", "unmerged",
    "stood-aside", "disconnected",
};

/* A backend, and the labels that no other has. */
typedef struct Subject {
    JsonObject *session;
    char *labels;
} Subject;

static void subject_free(gpointer data)
{
    Subject *subject = data;

    g_free(subject->labels);
    g_free(subject);
}

static Subject *subject_new(JsonObject *session, GHashTable *seen)
{
    static const char *const names[] = { "group", "vm", "backend" };
    Subject *self = g_new0(Subject, 1);
    GString *labels = g_string_new(NULL);
    gint64 node;
    guint i, copies;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        ksm_metrics_add_label(labels, names[i],
                              ksm_reply_string(session, names[i]));
    }
    ksm_metrics_add_number(labels, "uid", ksm_reply_int(session, "uid"));
    ksm_metrics_add_number(labels, "pid", ksm_reply_int(session, "pid"));
    if (ksm_reply_node(session, &node)) {
        ksm_metrics_add_number(labels, "node", node);
    }
    /* A process may give two sessions one name; a series must be unique. */
    copies = GPOINTER_TO_UINT(g_hash_table_lookup(seen, labels->str)) + 1;
    g_hash_table_replace(seen, g_strdup(labels->str),
                         GUINT_TO_POINTER(copies));
    if (copies > 1) {
        ksm_metrics_add_number(labels, "copy", copies);
    }
    self->session = session;
    self->labels = g_string_free(labels, FALSE);
    return self;
}

static void add_labelled(KsmMetrics *metrics, const Subject *subject,
                         const char *suffix, const char *label,
                         const char *value, double sample)
{
    g_autoptr(GString) labels = g_string_new(subject->labels);

    if (label != NULL) {
        ksm_metrics_add_label(labels, label, value);
    }
    ksm_metrics_sample(metrics, suffix, labels->str, sample);
}

static void add_memory(KsmMetrics *metrics, GPtrArray *subjects)
{
    guint i, j;

    ksm_metrics_family(metrics, "guest_ksm_vm_memory_bytes", "gauge", "bytes",
                       "Guest memory by state.");
    for (i = 0; i < subjects->len; i++) {
        const Subject *subject = g_ptr_array_index(subjects, i);

        for (j = 0; j < KSM_KIND_NO_MEMORY; j++) {
            const KsmPageKind *kind = &ksm_page_kinds[j];

            add_labelled(metrics, subject, "", "state", kind->name,
                         PAGE_BYTES * (double)ksm_reply_int(subject->session,
                                                            kind->field));
        }
    }
}

static void add_states(KsmMetrics *metrics, GPtrArray *subjects)
{
    guint i, j;

    ksm_metrics_family(metrics, "guest_ksm_vm_state", "stateset", NULL,
                       "What the engine does.");
    for (i = 0; i < subjects->len; i++) {
        const Subject *subject = g_ptr_array_index(subjects, i);
        const char *state = ksm_reply_string(subject->session, "state");

        for (j = 0; j < G_N_ELEMENTS(states); j++) {
            add_labelled(metrics, subject, "", "guest_ksm_vm_state",
                         states[j], g_strcmp0(state, states[j]) == 0);
        }
    }
}

static void add_field(KsmMetrics *metrics, const Field *field,
                      GPtrArray *subjects)
{
    const char *suffix = g_str_equal(field->type, "counter") ? "_total" : "";
    guint i;

    for (i = 0; i < subjects->len; i++) {
        const Subject *subject = g_ptr_array_index(subjects, i);

        /* Older libraries do not tell all of them. */
        if (!json_object_has_member(subject->session, field->field)) {
            continue;
        }
        add_labelled(metrics, subject, suffix, field->label, field->value,
                     field->scale * (double)ksm_reply_int(subject->session,
                                                          field->field));
    }
}

/* Bucket i counts 2^i to 2^(i+1) us; the last has no upper end. */
static void add_histogram(KsmMetrics *metrics, const Subject *subject)
{
    JsonNode *node = json_object_get_member(subject->session,
                                            "window_us_histogram");
    JsonArray *buckets = node != NULL && JSON_NODE_HOLDS_ARRAY(node)
        ? json_node_get_array(node) : NULL;
    guint count = buckets != NULL ? json_array_get_length(buckets) : 0;
    double sum = 0;
    guint i;

    for (i = 0; i < count; i++) {
        char bound[G_ASCII_DTOSTR_BUF_SIZE];

        sum += (double)json_array_get_int_element(buckets, i);
        g_ascii_formatd(bound, sizeof(bound), "%g",
                        (double)(G_GUINT64_CONSTANT(2) << MIN(i, 60)) * 1e-6);
        if (i + 1 < count) {
            add_labelled(metrics, subject, "_bucket", "le", bound, sum);
        }
    }
    add_labelled(metrics, subject, "_bucket", "le", "+Inf", sum);
    add_labelled(metrics, subject, "_count", NULL, NULL, sum);
    add_labelled(metrics, subject, "_sum", NULL, NULL, 1e-9 *
        (double)ksm_reply_int(subject->session, "window_ns_total"));
}

void ksm_metrics_add_sessions(KsmMetrics *metrics, JsonObject *reply)
{
    g_autoptr(GPtrArray) sessions = ksm_reply_objects(reply, "sessions");
    g_autoptr(GPtrArray) subjects =
        g_ptr_array_new_with_free_func(subject_free);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash,
        g_str_equal, g_free, NULL);
    guint i;

    for (i = 0; i < sessions->len; i++) {
        g_ptr_array_add(subjects, subject_new(g_ptr_array_index(sessions, i),
                                              seen));
    }
    add_memory(metrics, subjects);
    add_states(metrics, subjects);
    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (fields[i].help != NULL) {
            ksm_metrics_family(metrics, fields[i].name, fields[i].type,
                               fields[i].unit, fields[i].help);
        }
        add_field(metrics, &fields[i], subjects);
    }
    ksm_metrics_family(metrics, "guest_ksm_vm_window_seconds", "histogram",
                       "seconds", "How long pages were kept from the guest.");
    for (i = 0; i < subjects->len; i++) {
        add_histogram(metrics, g_ptr_array_index(subjects, i));
    }
}
