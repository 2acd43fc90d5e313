/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metrics-vm.c: metrics of the VMs, each of their backends by itself. */
#include "base/client.h"
#include "metrics/metric-writer.h"
#include "metrics/metrics.h"
#include "stats-list.h"

#define PAGE_BYTES 4096.0

/* Fields of a session; those of one family stand together. */
typedef struct Field {
    const char *name;          /* of the family */
    const char *label, *value; /* one more label, or NULL */
    const char *field;
    guint kind, unit; /* KsmStatKind, KsmStatUnit or UNIT_ */
    const char *help;
} Field;

/* Besides KsmStatUnit, for what is not in the list. */
#define UNIT_MS (KSM_STAT_NUMBER + 1)
#define UNIT_PERCENT (KSM_STAT_NUMBER + 2)

static const struct {
    const char *name;
    double scale;
} units[] = {
    [KSM_STAT_PAGES] = { "bytes", PAGE_BYTES },
    [KSM_STAT_BYTES] = { "bytes", 1 },
    [KSM_STAT_NS] = { "seconds", 1e-9 },
    [KSM_STAT_NUMBER] = { NULL, 1 },
    [UNIT_MS] = { "seconds", 1e-3 },
    [UNIT_PERCENT] = { "ratio", 1e-2 },
};

/* What the list says of each. */
#define KIND_AND_UNIT(name, kind, unit) \
    KIND_##name = KSM_STAT_##kind, UNIT_##name = KSM_STAT_##unit,
enum { KSM_STATS_FIELDS(KIND_AND_UNIT) };

#define STATISTIC(name, field, help) \
    { \
        "guest_ksm_vm_" name, NULL, NULL, #field, KIND_##field, UNIT_##field, \
            help \
    }
#define REFUSED(reason, help) \
    { \
        "guest_ksm_vm_refused_pages", "reason", #reason, "refused_" #reason, \
            KIND_refused_##reason, UNIT_refused_##reason, help \
    }
/* What is not in the list. */
#define GAUGE(name, field, unit, help) \
    { \
        "guest_ksm_vm_" name, NULL, NULL, field, KSM_STAT_GAUGE, unit, help \
    }

/* The states and the windows have families of their own below. */
static const Field fields[] = {
    GAUGE("saved_bytes", "saved_pages", KSM_STAT_PAGES,
          "Its part of the memory that its group saves."),
    GAUGE("worst_case_bytes", "worst_case_pages", KSM_STAT_PAGES,
          "More memory needed if all shared pages were written at once."),
    GAUGE("profit_bytes", "general_profit_bytes", KSM_STAT_BYTES,
          "Saved memory less metadata, as the engine computes it."),
    STATISTIC("metadata_bytes", metadata_bytes, "The engine's own memory."),
    STATISTIC("cpu_seconds", cpu_ns, "CPU time of the scanner."),
    GAUGE("scan_cpu_limit_ratio", "scan_cpu_percent", UNIT_PERCENT,
          "Maximum CPU time of the scanner, as a fraction of one CPU."),
    GAUGE("scan_interval_seconds", "interval_ms", UNIT_MS,
          "Time between two rounds, back-off included."),
    STATISTIC("round_seconds", round_ns, "Duration of the last round."),
    STATISTIC("full_scans", full_scans, "Rounds over all memory."),
    STATISTIC("merged_pages", merges, "Pages that became shared."),
    STATISTIC("zeroed_pages", zero_merges, "Zero pages that were given back."),
    STATISTIC("broken_pages", breaks,
              "Shared pages that were written (copy-on-write)."),
    STATISTIC("given_back_pages", given_back,
              "Broken pages that became ordinary memory again."),
    STATISTIC("rollbacks", rollbacks, "Windows that were undone."),
    REFUSED(pinned, "Pages left private, by reason."),
    REFUSED(budget, NULL),
    REFUSED(torn, NULL),
    REFUSED(broker, NULL),
    REFUSED(error, NULL),
    REFUSED(dma, NULL),
    STATISTIC("failed_memory_bytes", pages_hwpoison,
              "Guest memory that has failed in the host."),
    STATISTIC("kept_huge_bytes", pages_kept_huge,
              "Duplicates left unshared to keep huge pages (keep-huge)."),
    STATISTIC("resting_bytes", pages_parked,
              "Huge pages written all the time, parked (keep-huge)."),
    STATISTIC("collapsed_blocks", collapses,
              "Blocks of 2 MiB made huge pages again (keep-huge)."),
    STATISTIC("fingerprinted_pages", fingerprints, "Pages read."),
    STATISTIC("looked_up_pages", lookups, "Pages looked up at the broker."),
    STATISTIC("published_pages", publishes, "Pages copied to the broker."),
    STATISTIC("deferred_results", deferred_results,
              "Replies that came later, for pages listed earlier."),
    STATISTIC("broker_requests", broker_requests, "Requests to the broker."),
    STATISTIC("broker_losses", broker_losses,
              "Connections to the broker that were lost."),
    STATISTIC("mappings", mappings, "Kernel mappings in use."),
    STATISTIC("mappings_limit", max_mappings,
              "Kernel mappings that it may use."),
    STATISTIC("shared_runs", runs, "Mappings of the store."),
    STATISTIC("window_longest_seconds", window_ns_max,
              "The longest time that pages were inaccessible to the guest."),
};

static const char *const states[] = {
    "starting",  "running",  "degraded",    "paused",
    "unmerging", "unmerged", "stood-aside", "disconnected",
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
    g_hash_table_replace(seen, g_strdup(labels->str), GUINT_TO_POINTER(copies));
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
    guint i;

    ksm_metrics_family(metrics, "guest_ksm_vm_memory_bytes", "gauge", "bytes",
                       "Guest memory by state.");
    for (i = 0; i < subjects->len; i++) {
        const Subject *subject = g_ptr_array_index(subjects, i);

        ksm_metrics_add_memory(metrics, subject->session, subject->labels);
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
            add_labelled(metrics, subject, "", "guest_ksm_vm_state", states[j],
                         g_strcmp0(state, states[j]) == 0);
        }
    }
}

static void add_field(KsmMetrics *metrics, const Field *field,
                      GPtrArray *subjects)
{
    gboolean counter = field->kind == KSM_STAT_COUNTER;
    guint i;

    if (field->help != NULL) {
        ksm_metrics_family(metrics, field->name, counter ? "counter" : "gauge",
                           units[field->unit].name, field->help);
    }
    for (i = 0; i < subjects->len; i++) {
        const Subject *subject = g_ptr_array_index(subjects, i);

        /* Older libraries do not report all of them. */
        if (!json_object_has_member(subject->session, field->field)) {
            continue;
        }
        add_labelled(metrics, subject, counter ? "_total" : "", field->label,
                     field->value,
                     units[field->unit].scale *
                         (double)ksm_reply_int(subject->session, field->field));
    }
}

/* Bucket i counts 2^i to 2^(i+1) us; the last has no upper end. */
static void add_histogram(KsmMetrics *metrics, const Subject *subject)
{
    JsonNode *node = json_object_get_member(subject->session,
                                            "window_us_histogram");
    JsonArray *buckets = node != NULL && JSON_NODE_HOLDS_ARRAY(node) ?
                             json_node_get_array(node) :
                             NULL;
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
    add_labelled(metrics, subject, "_sum", NULL, NULL,
                 1e-9 * (double)ksm_reply_int(subject->session,
                                              "window_ns_total"));
}

void ksm_metrics_add_sessions(KsmMetrics *metrics, JsonObject *reply)
{
    g_autoptr(GPtrArray) sessions = ksm_reply_objects(reply, "sessions");
    g_autoptr(GPtrArray) subjects =
        g_ptr_array_new_with_free_func(subject_free);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                       g_free, NULL);
    guint i;

    for (i = 0; i < sessions->len; i++) {
        g_ptr_array_add(subjects,
                        subject_new(g_ptr_array_index(sessions, i), seen));
    }
    add_memory(metrics, subjects);
    add_states(metrics, subjects);
    for (i = 0; i < G_N_ELEMENTS(fields); i++) {
        add_field(metrics, &fields[i], subjects);
    }
    ksm_metrics_family(metrics, "guest_ksm_vm_window_seconds", "histogram",
                       "seconds", "How long guest pages were inaccessible.");
    for (i = 0; i < subjects->len; i++) {
        add_histogram(metrics, g_ptr_array_index(subjects, i));
    }
}
